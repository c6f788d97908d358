import { FakeClock, settle } from '@mural/core/testing';
import {
  digestOf,
  MEDIA_TYPES,
  packArtifact,
  type PackedArtifact,
  pushArtifact,
  RegistryClient,
} from '@mural/oci';
import { type FakeRegistry, startFakeRegistry } from '@mural/oci/testing';
import { systemClock } from '@mural/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UsedArtifact } from './fleet.ts';
import { RegistryPair } from './registries.ts';

const FROM = 'mural/workloads';
const TO = 'fleet/workloads';
const FORWARD = { to: 'to', onlyMissing: false } as const;
const { signal } = new AbortController();

let from: FakeRegistry;
let to: FakeRegistry;
let clients: { from: RegistryClient; to: RegistryClient };
let pair: RegistryPair;
let artifact: PackedArtifact;

beforeEach(async () => {
  [from, to] = await Promise.all([startFakeRegistry(), startFakeRegistry()]);
  const client = (registry: FakeRegistry) =>
    new RegistryClient({ registry: registry.host, insecure: true, random: () => 0 });
  clients = { from: client(from), to: client(to) };
  pair = open();
  artifact = await packArtifact({ files: [{ path: 'a.yaml', content: 'a: 1\n' }] });
  await pushArtifact(clients.from, FROM, artifact, { tags: ['default.a-1'] });
});
afterEach(async () => {
  await Promise.all([clients.from.close(), clients.to.close(), from.close(), to.close()]);
});

function open(putsPerSecond?: number, clock = systemClock): RegistryPair {
  return new RegistryPair({
    from: { client: clients.from, repository: FROM },
    to: { client: clients.to, repository: TO, putsPerSecond },
    ...{ clock, random: () => 0 },
  });
}

function used(changes: Partial<UsedArtifact> = {}): UsedArtifact {
  const base = {
    reference: artifact.digest,
    tags: ['default.a-1'],
    use: 'required',
    user: 'workload a',
  } as const;
  return { ...base, ...changes };
}

describe('copy', () => {
  it('brings content, referrers and tags, reads the manifest back and asks for each blob', async () => {
    const signature = Buffer.from(
      JSON.stringify({
        ...{ schemaVersion: 2, mediaType: MEDIA_TYPES.imageManifest, artifactType: 'application/x.sig' },
        config: { mediaType: MEDIA_TYPES.emptyJson, digest: from.addBlob(FROM, '{}'), size: 2 },
        layers: [],
        subject: {
          mediaType: MEDIA_TYPES.imageManifest,
          digest: artifact.digest,
          size: artifact.manifest.length,
        },
      }),
    );
    from.addManifest(FROM, signature);
    const { found, bytes } = await pair.copy(used(), FORWARD, signal);
    expect(found).toBe(true);
    expect(bytes).toBeGreaterThan(artifact.layers[0]?.size ?? 0);
    expect(to.tags(TO)).toEqual({ 'default.a-1': artifact.digest });
    expect(to.manifest(TO, digestOf(signature))).toEqual(signature);
    for (const { digest } of [artifact.config, ...artifact.layers]) expect(to.blob(TO, digest)).toBeDefined();
    const after = to.requests.findLastIndex(
      ({ method, path }) => method === 'PUT' && path.includes('manifests/sha256'),
    );
    const proof = to.requests.slice(after).map(({ method, path }) => `${method} ${path}`);
    expect(proof).toContain(`GET /v2/${TO}/manifests/${artifact.digest}`);
    expect(proof).toContain(`HEAD /v2/${TO}/blobs/${artifact.config.digest}`);
  });

  it('sends nothing again, and says so', async () => {
    await pair.copy(used(), FORWARD, signal);
    to.requests.length = 0;
    expect(await pair.copy(used(), FORWARD, signal)).toEqual({ found: true, bytes: 0 });
    expect(to.requests.filter(({ method }) => !['GET', 'HEAD'].includes(method))).toEqual([]);
  });

  it('sends a blob that is missing under a manifest that is there', async () => {
    to.addManifest(TO, artifact.manifest);
    const { bytes } = await pair.copy(used(), FORWARD, signal);
    expect(bytes).toBe(artifact.config.size + (artifact.layers[0]?.size ?? 0));
    expect(to.blob(TO, artifact.config.digest)).toBeDefined();
  });

  it('does not believe a target that took a blob and does not have it', async () => {
    to.addManifest(TO, artifact.manifest);
    const { digest } = artifact.config;
    to.fail({ method: 'HEAD', path: new RegExp(digest), fault: { kind: 'answer', status: 404 } });
    await expect(pair.copy(used(), FORWARD, signal)).rejects.toMatchObject({ code: 'CopyIncomplete' });
  });

  it('does not believe a target that holds other bytes under the digest', async () => {
    to.fail({ method: 'GET', path: /manifests/, fault: { kind: 'tamper' } });
    await expect(pair.copy(used(), FORWARD, signal)).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('does not copy what the source holds damaged', async () => {
    const layer = artifact.layers[0]?.digest ?? '';
    from.fail({ method: 'GET', path: new RegExp(layer), fault: { kind: 'tamper' } });
    await expect(pair.copy(used(), FORWARD, signal)).rejects.toThrow();
    expect(to.manifest(TO, artifact.digest)).toBeUndefined();
  });

  it('says when neither has it, and is content when only the target does', async () => {
    const gone = digestOf(Buffer.from('gone'));
    expect(await pair.copy(used({ reference: gone, tags: [] }), FORWARD, signal)).toEqual({
      found: false,
      bytes: 0,
    });
    const other = await packArtifact({ files: [{ path: 'b.yaml', content: 'b: 1\n' }] });
    await pushArtifact(clients.to, TO, other, { tags: [] });
    expect(await pair.copy(used({ reference: other.digest, tags: [] }), FORWARD, signal)).toEqual({
      found: true,
      bytes: 0,
    });
  });

  it('asks a source that has failed for nothing that the target holds whole', async () => {
    await pair.copy(used(), FORWARD, signal);
    from.fail({ fault: { kind: 'reset' } });
    const way = { to: 'to', onlyMissing: true } as const;
    expect(await pair.copy(used(), way, signal)).toEqual({ found: true, bytes: 0 });
  });

  it('leaves a tag of the target alone that names something else; for input of hue that is an error', async () => {
    const other = await packArtifact({ files: [{ path: 'b.yaml', content: 'b: 1\n' }] });
    await pushArtifact(clients.to, TO, other, { tags: ['default.a-1'] });
    expect((await pair.copy(used(), FORWARD, signal)).found).toBe(true);
    expect(to.tags(TO)).toEqual({ 'default.a-1': other.digest });
    const input = used({
      reference: 'default.a-1',
      use: 'input',
      user: 'component app of profile default/p',
    });
    await expect(pair.copy(input, FORWARD, signal)).rejects.toMatchObject({ code: 'TagTaken' });
  });

  it('waits for a registry that throttles longer than the client does', async () => {
    const clock = new FakeClock();
    const slow = new RegistryClient({ registry: to.host, insecure: true, clock, random: () => 0 });
    pair = new RegistryPair({
      from: { client: clients.from, repository: FROM },
      to: { client: slow, repository: TO },
      ...{ clock, random: () => 0 },
    });
    const times = 10;
    to.fail({ method: 'POST', times, fault: { kind: 'answer', status: 429 } });
    const copied = pair.copy(used(), FORWARD, signal);
    let done = false as boolean;
    copied.then(
      () => (done = true),
      () => (done = true),
    );
    while (!done) {
      await settle();
      await clock.advance(500);
    }
    expect((await copied).found).toBe(true);
    await slow.close();
  });

  it('puts no more manifests in a second than the registry allows', async () => {
    const clock = new FakeClock();
    pair = open(2, clock);
    const more = await Promise.all(
      [1, 2, 3].map(async (index) => packArtifact({ files: [{ path: 'x.yaml', content: `x: ${index}\n` }] })),
    );
    for (const one of more) await pushArtifact(clients.from, FROM, one, { tags: [] });
    const copies = Promise.all(
      more.map(async ({ digest }) => pair.copy(used({ reference: digest, tags: [] }), FORWARD, signal)),
    );
    const puts = () =>
      to.requests.filter(({ method, path }) => method === 'PUT' && path.includes('manifests')).length;
    const started = clock.now();
    while (puts() < 3) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (clock.sleeping > 0) await clock.advance(100);
      expect(puts()).toBeLessThanOrEqual(1 + Math.floor((clock.now() - started) / 500));
    }
    await copies;
  });
});

describe('estimate and probe', () => {
  it('counts the bytes that the target lacks', async () => {
    const layer = artifact.layers[0];
    expect(await pair.estimate(used(), 'to', signal)).toEqual({
      ...{ found: true, present: false, bytes: artifact.config.size + (layer?.size ?? 0) },
    });
    await pair.copy(used(), FORWARD, signal);
    expect(await pair.estimate(used(), 'to', signal)).toEqual({ found: true, present: true, bytes: 0 });
    const gone = used({ reference: digestOf(Buffer.from('gone')) });
    expect(await pair.estimate(gone, 'to', signal)).toEqual({ found: false, present: false, bytes: 0 });
  });

  it('tells whether a registry can be read and written', async () => {
    await pair.probe('to', true, signal);
    expect(to.tags(TO)).toEqual({});
    to.fail({ method: 'POST', fault: { kind: 'answer', status: 403 } });
    await expect(pair.probe('to', true, signal)).rejects.toMatchObject({ code: 'AccessDenied' });
    await pair.probe('to', false, signal);
  });
});
