import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  copyArtifact,
  digestOf,
  MEDIA_TYPES,
  packArtifact,
  type PackedArtifact,
  pullArtifact,
  pushArtifact,
  RegistryClient,
  unpackLayer,
} from './index.ts';
import { type FakeRegistry, startFakeRegistry } from './testing.ts';

const REPO = 'mural/workloads';

let registry: FakeRegistry;
let client: RegistryClient;
let artifact: PackedArtifact;

beforeEach(async () => {
  registry = await startFakeRegistry();
  client = new RegistryClient({ registry: registry.host, insecure: true, random: () => 0 });
  artifact = await packArtifact({ files: [{ path: 'a.yaml', content: 'a: 1\n' }], revision: 'r1' });
});
afterEach(async () => {
  await client.close();
  await registry.close();
});

function asked(): string[] {
  return registry.requests.map(
    ({ method, path }) => `${method} ${path.replace(/^\/v2\/mural\/workloads\//, '').replace(/\?.*/, '')}`,
  );
}

describe('pushArtifact', () => {
  it('sends blobs, then the manifest by its digest, tags last, and nothing but HEAD, POST and PUT', async () => {
    const result = await pushArtifact(client, REPO, artifact, { tags: ['v1', 'latest'] });
    const [layer] = artifact.layers;
    expect(result).toEqual({
      digest: artifact.digest,
      pushed: true,
      bytes: artifact.config.size + (layer?.size ?? 0) + 3 * artifact.manifest.length,
    });
    expect(registry.tags(REPO)).toEqual({ v1: artifact.digest, latest: artifact.digest });
    expect(asked()).toEqual([
      'HEAD manifests/v1',
      'HEAD manifests/latest',
      `HEAD manifests/${artifact.digest}`,
      `HEAD blobs/${artifact.config.digest}`,
      'POST blobs/uploads/',
      'PUT blobs/uploads/1',
      `HEAD blobs/${layer?.digest ?? ''}`,
      'POST blobs/uploads/',
      'PUT blobs/uploads/2',
      `PUT manifests/${artifact.digest}`,
      'PUT manifests/v1',
      'PUT manifests/latest',
    ]);
  });

  it('writes nothing when the tags hold it already, as registries with immutable tags need', async () => {
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    registry.requests.length = 0;
    expect(await pushArtifact(client, REPO, artifact, { tags: ['v1'] })).toEqual({
      digest: artifact.digest,
      pushed: false,
      bytes: 0,
    });
    expect(asked()).toEqual(['HEAD manifests/v1']);
    await pushArtifact(client, REPO, artifact, { tags: ['v2'] });
    expect(asked().slice(1)).toEqual([
      'HEAD manifests/v2',
      `HEAD manifests/${artifact.digest}`,
      'PUT manifests/v2',
    ]);
  });

  it('puts one manifest where a tag is enough, and asks its caller before each', async () => {
    let puts = 0;
    const options = { byTag: true, beforeManifest: async () => void (puts += 1) };
    await pushArtifact(client, REPO, artifact, { ...options, tags: ['v1'] });
    expect(asked().filter((line) => line.startsWith('PUT manifests'))).toEqual(['PUT manifests/v1']);
    expect(puts).toBe(1);
    await pushArtifact(client, REPO, artifact, { ...options, tags: ['v1'] });
    expect(puts).toBe(1);
    const other = await packArtifact({ files: [], revision: 'r2' });
    await pushArtifact(client, REPO, other, options);
    expect(registry.manifest(REPO, other.digest)).toBeDefined();
    expect(puts).toBe(2);
  });

  it('sends the blobs that a registry lost under a manifest it still has, where that is asked for', async () => {
    const [layer] = artifact.layers;
    const lost = { method: 'HEAD', path: new RegExp(`blobs/${layer?.digest ?? ''}`) };
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    registry.requests.length = 0;
    const complete = { tags: ['v1'], complete: true };
    expect(await pushArtifact(client, REPO, artifact, complete)).toMatchObject({ pushed: false, bytes: 0 });
    registry.fail({ ...lost, fault: { kind: 'answer', status: 404 } });
    registry.requests.length = 0;
    expect(await pushArtifact(client, REPO, artifact, complete)).toMatchObject({
      pushed: true,
      bytes: layer?.size,
    });
    expect(asked()).toEqual([
      'HEAD manifests/v1',
      `HEAD blobs/${artifact.config.digest}`,
      `HEAD blobs/${layer?.digest ?? ''}`,
      'POST blobs/uploads/',
      expect.stringMatching(/^PUT blobs\/uploads\//),
    ]);
  });

  it('takes a refused tag for a success when another pusher has put the same there', async () => {
    const refuse = {
      fault: { kind: 'answer', status: 400, body: '{"errors":[{"code":"TAG_INVALID"}]}' },
    } as const;
    registry.fail({
      method: 'HEAD',
      path: /manifests\/v1$/,
      times: 1,
      fault: { kind: 'answer', status: 404 },
    });
    registry.fail({ method: 'PUT', path: /manifests\/v1$/, ...refuse });
    registry.addManifest(REPO, artifact.manifest, 'v1');
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    const other = await packArtifact({ files: [], revision: 'r2' });
    await expect(pushArtifact(client, REPO, other, { tags: ['v1'] })).rejects.toMatchObject({
      code: 'RequestRefused',
      facts: { registryCode: 'TAG_INVALID' },
    });
  });

  it('moves no tag when a blob could not be sent', async () => {
    registry.fail({ method: 'PUT', path: /blobs/, fault: { kind: 'answer', status: 403 } });
    await expect(pushArtifact(client, REPO, artifact, { tags: ['v1'] })).rejects.toMatchObject({
      code: 'AccessDenied',
    });
    expect(registry.tags(REPO)).toEqual({});
  });
});

describe('pullArtifact', () => {
  it('brings the first layer, or the one of a given type', async () => {
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    const pulled = await pullArtifact(client, REPO, 'v1');
    expect(pulled.digest).toBe(artifact.digest);
    expect(pulled.annotations['org.opencontainers.image.revision']).toBe('r1');
    expect((await unpackLayer(pulled.layer)).get('a.yaml')?.content).toEqual(Buffer.from('a: 1\n'));
    const layerSelector = { mediaType: MEDIA_TYPES.fluxContent };
    expect((await pullArtifact(client, REPO, artifact.digest, { layerSelector })).layer).toEqual(
      pulled.layer,
    );
    const other = pullArtifact(client, REPO, 'v1', { layerSelector: { mediaType: 'a/b' } });
    await expect(other).rejects.toMatchObject({ code: 'ManifestInvalid' });
    await expect(pullArtifact(client, REPO, 'v1', { maxBytes: 10 })).rejects.toMatchObject({
      code: 'TooLarge',
    });
    await expect(pullArtifact(client, REPO, 'v2')).rejects.toMatchObject({ code: 'ManifestUnknown' });
  });

  it('refuses a layer that is not what the manifest says', async () => {
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    registry.fail({ method: 'GET', path: /blobs/, fault: { kind: 'tamper' } });
    await expect(pullArtifact(client, REPO, 'v1')).rejects.toMatchObject({ code: 'DigestMismatch' });
  });
});

describe('copyArtifact', () => {
  it('copies an index with all below it and what refers to it, once', async () => {
    const layer = Buffer.alloc(200_000, 'layer');
    registry.addBlob(REPO, layer);
    registry.addBlob(REPO, '{}');
    const describeBytes = (bytes: Uint8Array | string, mediaType: string): Record<string, unknown> => ({
      mediaType,
      digest: digestOf(bytes),
      size: Buffer.from(bytes).length,
    });
    const image = (name: string, more: Record<string, unknown> = {}): string =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.imageManifest,
        config: describeBytes('{}', MEDIA_TYPES.emptyJson),
        layers: [describeBytes(layer, 'a/layer')],
        annotations: { name },
        ...more,
      });
    const [one, two] = [image('one'), image('two')];
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageIndex,
      manifests: [one, two].map((bytes) => describeBytes(bytes, MEDIA_TYPES.imageManifest)),
    });
    registry.addManifest(REPO, one);
    registry.addManifest(REPO, two);
    const digest = registry.addManifest(REPO, index, 'v1', MEDIA_TYPES.imageIndex);
    const signature = image('signature', { subject: describeBytes(two, MEDIA_TYPES.imageManifest) });
    registry.addManifest(REPO, signature);

    const other = await startFakeRegistry();
    const target = new RegistryClient({ registry: other.host, insecure: true });
    try {
      const from = { client, repository: REPO, reference: 'v1' };
      const to = { client: target, repository: 'copy/here', reference: 'v1' };
      expect(await copyArtifact(from, to)).toEqual({
        digest,
        manifests: 3,
        blobs: 2,
        bytes: layer.length + 2,
      });
      expect(other.tags('copy/here')).toEqual({ v1: digest });
      expect(other.blob('copy/here', digestOf(layer))).toEqual(layer);
      expect(other.manifest('copy/here', digestOf(signature))).toBeUndefined();
      expect(await copyArtifact(from, to, { referrers: true })).toMatchObject({ manifests: 4, blobs: 0 });
      expect(other.manifest('copy/here', digestOf(signature))?.toString()).toBe(signature);
    } finally {
      await target.close();
      await other.close();
    }
  });

  it('leaves no manifest behind when a blob is not what it should be', async () => {
    await pushArtifact(client, REPO, artifact, { tags: ['v1'] });
    registry.fail({ method: 'GET', path: /blobs/, fault: { kind: 'tamper' } });
    const other = await startFakeRegistry();
    const target = new RegistryClient({ registry: other.host, insecure: true });
    try {
      const copying = copyArtifact(
        { client, repository: REPO, reference: 'v1' },
        { client: target, repository: REPO },
      );
      await expect(copying).rejects.toMatchObject({ code: 'DigestMismatch' });
      expect(other.manifest(REPO, artifact.digest)).toBeUndefined();
    } finally {
      await target.close();
      await other.close();
    }
  });
});
