import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, digestOf, packArtifact, pullArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { type RunningRegistry, startRegistry } from '@mural/registry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../support/run.ts';

const EVERYTHING = [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] as const }];
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

interface Image {
  readonly digest: Digest;
  readonly size: number;
}

describe("other people's clients through a mirror of our registry", () => {
  let folder: string;
  let upstream: RunningRegistry;
  let mirror: RunningRegistry;
  let pushing: RegistryClient;
  let index: Digest;
  let gone = false;
  let env: NodeJS.ProcessEnv;

  async function pushImage(architecture: string): Promise<Image> {
    const blobs = [Buffer.from(JSON.stringify({ architecture, os: 'linux' })), randomBytes(300_000)].map(
      (bytes) => ({
        ...{ bytes, digest: digestOf(bytes), size: bytes.length },
      }),
    );
    for (const blob of blobs) await pushing.putBlob('team/app', blob);
    const [config, layer] = blobs.map(({ digest, size }) => ({ digest, size }));
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: IMAGE,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }],
      }),
    );
    await pushing.putManifest('team/app', digestOf(manifest), manifest, IMAGE);
    return { digest: digestOf(manifest), size: manifest.length };
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-mirror-'));
    const users = [{ name: 'up', password: 'upstream-secret', policies: EVERYTHING }];
    upstream = await startRegistry({ dataDir: join(folder, 'upstream'), port: 0, users });
    mirror = await startRegistry({
      ...{ dataDir: join(folder, 'mirror'), port: 0, anonymous: 'pull' },
      mirrors: [
        {
          repositories: 'team/**',
          upstream: upstream.url,
          credentials: { username: 'up', password: 'upstream-secret' },
          tagTtlMs: 0,
        },
      ],
    });
    const credentials = { username: 'up', password: 'upstream-secret' };
    pushing = new RegistryClient({ registry: upstream.host, insecure: true, credentials });
    const images = { amd64: await pushImage('amd64'), arm64: await pushImage('arm64') };
    const body = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: INDEX,
        manifests: Object.entries(images).map(([architecture, image]) => ({
          ...{ mediaType: IMAGE, ...image, platform: { architecture, os: 'linux' } },
        })),
      }),
    );
    index = digestOf(body);
    await pushing.putManifest('team/app', 'v1', body, INDEX);
    env = { HOME: folder, DOCKER_CONFIG: folder };
  });
  afterAll(async () => {
    await pushing.close();
    await mirror.close();
    if (!gone) await upstream.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('crane reads an index and an image of it, by tag and by digest', async () => {
    const reference = `${mirror.host}/team/app`;
    expect((await run('crane', ['digest', '--insecure', `${reference}:v1`], { env })).trim()).toBe(index);
    expect((await run('crane', ['digest', '--insecure', `${reference}@${index}`], { env })).trim()).toBe(
      index,
    );
    expect((await run('crane', ['ls', '--insecure', reference], { env })).trim()).toBe('v1');
    const out = join(folder, 'crane');
    await run('crane', ['pull', '--insecure', '--format=oci', `${reference}:v1`, out], { env });
    expect(await readFile(join(out, 'index.json'), 'utf8')).toContain(index);
  });

  it('skopeo copies all of it', async () => {
    const out = join(folder, 'skopeo');
    const source = `docker://${mirror.host}/team/app:v1`;
    const flags = ['--insecure-policy', 'copy', '--all', '--preserve-digests', '--src-tls-verify=false'];
    await run('skopeo', [...flags, source, `oci:${out}:v1`], { env });
    expect(await readFile(join(out, 'index.json'), 'utf8')).toContain(index);
  });

  it('oras copies all of it', async () => {
    const out = join(folder, 'oras');
    await run(
      'oras',
      ['cp', '--from-plain-http', '--to-oci-layout', `${mirror.host}/team/app:v1`, `${out}:v1`],
      { env },
    );
    expect(await readFile(join(out, 'index.json'), 'utf8')).toContain(index);
  });

  it('our own client pulls an artifact through it, and goes on when the upstream is gone', async () => {
    const artifact = await packArtifact({ files: [{ path: 'a.yaml', content: 'a: 1\n' }] });
    const pushed = await pushArtifact(pushing, 'team/artifact', artifact, { tags: ['v1'] });
    const client = new RegistryClient({ registry: mirror.host, insecure: true });
    try {
      const pull = async (): Promise<string> => (await pullArtifact(client, 'team/artifact', 'v1')).digest;
      const digest = await pull();
      expect(digest).toBe(pushed.digest);
      await upstream.close();
      gone = true;
      expect(await pull()).toBe(digest);
      const crane = [
        'pull',
        '--insecure',
        '--format=oci',
        `${mirror.host}/team/app:v1`,
        join(folder, 'away'),
      ];
      await run('crane', crane, { env });
    } finally {
      await client.close();
    }
  });
});
