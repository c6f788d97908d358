import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@mural/core/testing';
import {
  type Cache,
  CONFIG_MAPS,
  createCache,
  OCI_REPOSITORIES,
  type OCIRepository,
  parsePublishedRoot,
  PUBLISHED_ROOT_ANNOTATION,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import { pullArtifact, unpackLayer } from '@mural/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  EXTERNAL_REPOSITORY,
  readerOf,
  type RegistryProcess,
  restartExternalRegistry,
  startExternalRegistry,
  valuesFor,
} from './support/external-registry.ts';
import {
  cleanUp,
  condition,
  deploymentReady,
  type Hub,
  restartSpoke,
  startHub,
  startSpoke,
  type SpokeProcess,
} from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from './support/objects.ts';
import { seededRandom } from './support/random.ts';
import { blobFile, flipBit } from './support/tamper.ts';

const random = seededRandom();

async function value(spoke: SpokeProcess, name: string): Promise<string | undefined> {
  const object = await spoke.client.find<UnstructuredObject>(CONFIG_MAPS, { name, namespace: 'default' });
  return (object?.data as { value?: string } | undefined)?.value;
}

describe(`a registry in a process of its own (seed ${random.seed})`, () => {
  let registry: RegistryProcess;
  let hub: Hub;
  let spokes: SpokeProcess[];
  /** Every digest that the hub said was published, in the status of a deployment or as the root of a spoke. */
  const published = new Set<string>();
  let caches: readonly { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    registry = await startExternalRegistry();
    hub = await startHub({ args: ['--values', await valuesFor(registry), '--registry-ca', registry.ca] });
    caches = collectPublished(hub, published);
    spokes = await Promise.all(['edge-1', 'edge-2'].map(async (name) => startSpoke(hub, name)));
    await apply(hub.client, environment('edges', { tier: 'edge' }));
  }, 120_000);
  afterAll(async () => {
    await Promise.all(caches.map(async (cache) => cache.stop()));
    await cleanUp();
  });

  async function everywhere(name: string, wanted: string, timeoutMs = 60_000): Promise<void> {
    await eventually(async () => {
      const values = await Promise.all(spokes.map(async (spoke) => value(spoke, name)));
      return values.every((found) => found === wanted);
    }, timeoutMs);
  }

  it('is killed at random moments of rollouts: all converges, and all that was published is there', async () => {
    const names = ['a', 'b', 'c'];
    const rounds = 6;
    for (let round = 1; round <= rounds; round += 1) {
      for (const name of names) {
        await apply(
          hub.client,
          manifestsProfile(name, configMap(name, { value: String(round) })),
          deployment(name, name, 'edges', { interval: '2s' }),
        );
      }
      await delay(random() * 250);
      await registry.kill();
      await delay(random() * 500);
      registry = await restartExternalRegistry(registry);
    }
    for (const name of names) {
      const ready = await deploymentReady(hub, name, { timeoutMs: 90_000 });
      expect(ready.status?.summary).toBe('2/2');
      await everywhere(name, String(rounds));
    }
    const reader = await readerOf(registry, 'edge-1');
    try {
      expect(published.size).toBeGreaterThanOrEqual(names.length + spokes.length);
      for (const digest of published) {
        const artifact = await pullArtifact(reader, EXTERNAL_REPOSITORY, digest);
        expect((await unpackLayer(artifact.layer)).size).toBeGreaterThan(0);
        await reader.getBlob(EXTERNAL_REPOSITORY, artifact.manifest.config);
      }
    } finally {
      await reader.close();
    }
  }, 180_000);

  it('is away: spokes keep what they have, correct drift and survive a kill, and the hub says so', async () => {
    await apply(
      hub.client,
      manifestsProfile(
        'app',
        [configMap('app', { value: '1' }), configMap('other', { value: '1' })].join('---\n'),
      ),
      deployment('app', 'app', 'edges', { interval: '2s' }),
    );
    await deploymentReady(hub, 'app');
    await registry.kill();
    const [first, second] = spokes;
    if (first === undefined || second === undefined) throw new Error('two spokes are needed');
    await first.client.delete(CONFIG_MAPS, { name: 'app', namespace: 'default' });
    const drift = { data: { value: 'drift' } };
    await second.client.patch(CONFIG_MAPS, { name: 'other', namespace: 'default' }, 'merge', drift);
    await everywhere('app', '1');
    await everywhere('other', '1');

    await first.kill();
    const restarted = await restartSpoke(first.name, first.data);
    spokes = [restarted, second];
    await restarted.client.delete(CONFIG_MAPS, { name: 'app', namespace: 'default' });
    await restarted.client.patch(CONFIG_MAPS, { name: 'other', namespace: 'default' }, 'merge', drift);
    await everywhere('app', '1');
    await everywhere('other', '1');

    await apply(hub.client, manifestsProfile('app', configMap('app', { value: '2' })));
    const told = await eventually(async () => {
      const now = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, {
        name: 'app',
        namespace: 'default',
      });
      const ready = condition(now, 'Ready');
      return ready?.status === 'False' && ready.reason === 'PushFailed' && ready.message;
    }, 30_000);
    expect(told).toContain(registry.host);
    expect(await value(restarted, 'app')).toBe('1');

    registry = await restartExternalRegistry(registry);
    await everywhere('app', '2', 90_000);
    expect((await deploymentReady(hub, 'app', { timeoutMs: 90_000 })).status?.summary).toBe('2/2');
    await eventually(async () => (await value(second, 'other')) === undefined);
  }, 240_000);

  it('is away when the hub starts: the hub serves, and delivers when it is back', async () => {
    await registry.kill();
    await hub.kill();
    const port = (url: string) => Number(new URL(url).port);
    hub = await startHub({
      data: hub.data,
      apiPort: port(hub.ready.api),
      args: ['--values', await valuesFor(registry), '--registry-ca', registry.ca],
    });
    await apply(hub.client, manifestsProfile('app', configMap('app', { value: '3' })));
    await delay(random() * 1000);
    registry = await restartExternalRegistry(registry);
    await everywhere('app', '3', 90_000);
    expect((await deploymentReady(hub, 'app', { timeoutMs: 90_000 })).status?.summary).toBe('2/2');
  }, 240_000);

  it('had a blob altered on its disk: it is not applied, the source says why, and a new push heals it', async () => {
    const [first, second] = spokes;
    if (first === undefined || second === undefined) throw new Error('two spokes are needed');
    await first.kill();
    await apply(hub.client, manifestsProfile('app', configMap('app', { value: '4' })));
    await eventually(async () => (await value(second, 'app')) === '4', 60_000);
    const layer = await layerOf(registry, hub, 'app');
    await registry.kill();
    await flipBit(blobFile(registry.data, layer));
    registry = await restartExternalRegistry(registry);

    const restarted = await restartSpoke(first.name, first.data);
    spokes = [restarted, second];
    const message = await eventually(async () => {
      const ref = { name: 'default.app', namespace: 'mural-system' };
      const source = await restarted.client.get<OCIRepository>(OCI_REPOSITORIES, ref);
      const ready = source.status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'False' && ready.reason === 'OCIArtifactPullFailed' && ready.message;
    }, 30_000);
    expect(message).toContain(layer);
    expect(await value(restarted, 'app')).toBe('3');

    await hub.client.patch(WORKLOAD_DEPLOYMENTS, { name: 'app', namespace: 'default' }, 'merge', {
      metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': 'heal' } },
    });
    await everywhere('app', '4');
    expect((await deploymentReady(hub, 'app')).status?.summary).toBe('2/2');
  }, 120_000);
});

/** Digest of the layer that the hub published for a deployment. */
async function layerOf(registry: RegistryProcess, hub: Hub, name: string): Promise<string> {
  const { status } = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, {
    name,
    namespace: 'default',
  });
  const reader = await readerOf(registry, 'edge-1');
  try {
    const digest = status?.spokes?.[0]?.digest ?? '';
    return (await pullArtifact(reader, EXTERNAL_REPOSITORY, digest)).layerDescriptor.digest;
  } finally {
    await reader.close();
  }
}

/** Adds to `digests` whatever the hub records as published, as soon as it does. */
function collectPublished(hub: Hub, digests: Set<string>): readonly Cache<never>[] {
  const { client } = hub;
  const deployments = createCache<WorkloadDeployment>({ client, resource: WORKLOAD_DEPLOYMENTS });
  deployments.onChange((_key, now) => {
    for (const { digest } of now?.status?.spokes ?? []) if (digest !== undefined) digests.add(digest);
  });
  const spokes = createCache<Spoke>({ client, resource: SPOKES });
  spokes.onChange((_key, now) => {
    const text = now?.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION];
    if (text === undefined) return;
    const { root, group } = parsePublishedRoot(text);
    for (const digest of [root, group]) if (digest !== undefined) digests.add(digest);
  });
  const caches = [deployments, spokes];
  for (const cache of caches) cache.start();
  return caches as unknown as readonly Cache<never>[];
}
