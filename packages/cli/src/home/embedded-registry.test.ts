import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@mural/core/testing';
import { packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import type { CollectionReport } from '@mural/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistryAdministration } from '../registry-administration.ts';
import { readRegistryConfig, type RegistryConfig } from '../registry-config/read.ts';
import { ensureCertificates } from './certificates.ts';
import type { ContentInUse } from './content-in-use.ts';
import { EmbeddedRegistry, type ServingRegistry } from './embedded-registry.ts';
import { createFolders, layoutOf } from './layout.ts';
import { type Logs, openLogs } from './logs.ts';

const REPOSITORY = 'mural/workloads';
const EVERYTHING_GOES = `
maintenance:
  grace: 0s
  collectEvery: 0s
  scrubEvery: 0s
  retention: [{ repositories: '**', tags: [{ tags: '*', keepNewest: 0 }], untagged: remove }]
`;

describe('the embedded registry of a hub', () => {
  let folder: string;
  let clock: FakeClock;
  let logs: Logs;
  let embedded: EmbeddedRegistry | undefined;
  const closing: (() => Promise<void> | void)[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-embedded-'));
    clock = new FakeClock(Date.now());
    await createFolders(layoutOf(folder), ['tls', 'secrets', 'registry', 'logs']);
    logs = await openLogs(layoutOf(folder).logs, { level: 'silent', echo: () => undefined }, clock);
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
    await embedded?.stop();
    await logs.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function settings(text: string): Promise<RegistryConfig> {
    await writeFile(join(folder, 'registry.yaml'), text);
    const read = async (path: string): Promise<string> => readFile(path, 'utf8');
    return await readRegistryConfig({
      ...{ file: 'registry.yaml', cwd: folder, ofHub: true, read },
      tell: () => undefined,
    });
  }

  async function open(text: string, inUse: Partial<ContentInUse> = {}): Promise<EmbeddedRegistry> {
    const certificates = await ensureCertificates(layoutOf(folder).tls, ['127.0.0.1'], clock);
    embedded = new EmbeddedRegistry({
      ...{ layout: layoutOf(folder), listen: '127.0.0.1', advertised: '127.0.0.1', port: 0 },
      ...{ certificates, logs, clock, settings: await settings(text) },
      inUse: () => Promise.resolve({ digests: new Set(), tags: new Set(), urls: new Set(), ...inUse }),
    });
    return embedded;
  }

  /** Pushes an artifact for each tag. @returns their digests */
  async function push({ host, ca, hub }: ServingRegistry, ...tags: readonly string[]): Promise<string[]> {
    const client = new RegistryClient({ registry: host, credentials: hub, ca });
    closing.push(async () => client.close());
    const digests: string[] = [];
    for (const tag of tags) {
      const artifact = await packArtifact({ files: [{ path: 'a.yaml', content: tag }] });
      await pushArtifact(client, REPOSITORY, artifact, { tags: [tag] });
      digests.push(artifact.digest);
    }
    return digests;
  }

  function collect({ host, ca, admin }: ServingRegistry, dryRun = false): Promise<CollectionReport> {
    const { signal } = new AbortController();
    const administration = new RegistryAdministration({
      ...{ url: `https://${host}`, credential: admin, ca, env: {}, signal },
    });
    closing.push(() => administration.close());
    return administration.post('collections', { dryRun }) as Promise<CollectionReport>;
  }

  it('keeps what the fleet uses, and the tags that its spokes poll, under any rule', async () => {
    const digests = new Set<string>();
    const serving = await (
      await open(EVERYTHING_GOES, { digests, tags: new Set(['spoke-edge', 'group-1']) })
    ).start([REPOSITORY]);
    const tags = ['spoke-edge', 'group-1', 'default.shop-1', 'default.shop-2'];
    const [, , running = ''] = await push(serving, ...tags);
    digests.add(running);
    await clock.advance(20 * 60_000);
    const report = await collect(serving);
    expect(report).toMatchObject({ tags: 1, manifests: 1 });
    expect(report.findings.find(({ kind }) => kind === 'tag')?.tag).toBe('default.shop-2');
  });

  it('keeps it in a repository that a spoke still reads, too, although the hub writes another', async () => {
    const urls = new Set<string>();
    const registry = await open(EVERYTHING_GOES, { tags: new Set(['spoke-edge']), urls });
    const serving = await registry.start([REPOSITORY]);
    await push(serving, 'spoke-edge');
    await registry.start(['mural/other']);
    await clock.advance(20 * 60_000);
    urls.add(`oci://elsewhere.example/${REPOSITORY}`);
    expect(await collect(serving, true)).toMatchObject({ tags: 1 });
    urls.add(`oci://${serving.host}/${REPOSITORY}`);
    expect(await collect(serving)).toMatchObject({ tags: 0, manifests: 0 });
  });

  it('goes by other rules at once, and by the rest when it is started the next time', async () => {
    const registry = await open('maintenance: { collectEvery: 0s, scrubEvery: 0s }');
    const serving = await registry.start([REPOSITORY]);
    await push(serving, 'v1');
    await clock.advance(20 * 60_000);
    expect(await collect(serving, true)).toMatchObject({ tags: 0 });
    registry.useSettings(await settings(`${EVERYTHING_GOES}metrics: { port: 0 }\n`));
    expect(await collect(serving, true)).toMatchObject({ tags: 1, manifests: 1 });
    expect(registry.metricsUrl).toBeUndefined();
    await registry.stop();
    await registry.start([REPOSITORY]);
    expect((await fetch(`${registry.metricsUrl ?? ''}/readyz`)).status).toBe(200);
  });

  it('refuses a mirror of what the hub writes: at a start, later, and when the hub is to write another', async () => {
    const mirror = (names: string): string => `mirrors:\n  - ${names}\n    upstream: https://a.example\n`;
    const refused = await open(mirror('repositories: "**"'));
    await expect(refused.start([REPOSITORY])).rejects.toThrow(
      /^registry\.yaml:2:5: mirrors\[0\]\.repositories: covers mural\/workloads, which the hub writes/,
    );
    const registry = await open(mirror('repositories: mural/charts'));
    await registry.start([REPOSITORY]);
    await expect(registry.start(['mural/charts'])).rejects.toThrow(
      'mirrors[0].repositories: covers mural/charts',
    );
    const other = await settings(mirror('prefix: mural'));
    expect(() => registry.useSettings(other)).toThrow(/mirrors\[0\]\.prefix: covers mural\/workloads/);
    await registry.start([REPOSITORY]);
  });

  it('names the key of an address that metrics cannot be served on', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    closing.push(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const registry = await open(`metrics: { port: ${port} }`);
    await expect(registry.start([REPOSITORY])).rejects.toMatchObject({
      code: 'AddressInUse',
      message: expect.stringContaining(`port ${port}`) as string,
      hint: expect.stringContaining(`metrics.port of ${join(folder, 'registry.yaml')}`) as string,
    });
  });
});
