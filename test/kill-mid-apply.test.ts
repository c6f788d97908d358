import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@mural/core/testing';
import { CONFIG_MAPS, type UnstructuredObject, WORKLOAD_DEPLOYMENTS } from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  restartSpoke,
  startHub,
  startSpoke,
  type SpokeProcess,
} from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from './support/objects.ts';
import { seededRandom } from './support/random.ts';

const random = seededRandom();
const COUNT = 300;

/** The objects of one generation of the workload: those whose number leaves this rest. */
function manifests(generation: number, keep: (index: number) => boolean): string {
  const numbers = Array.from({ length: COUNT }, (_, index) => index).filter(keep);
  return numbers.map((index) => configMap(nameOf(generation, index), { value: 'x' })).join('---\n');
}

function nameOf(generation: number, index: number): string {
  return `part-${generation}-${String(index).padStart(3, '0')}`;
}

describe(`a spoke that is killed while it applies ${COUNT} objects (seed ${random.seed})`, () => {
  let hub: Hub;
  let edge: SpokeProcess;

  beforeAll(async () => {
    hub = await startHub();
    edge = await startSpoke(hub, 'edge-1', { labels: { tier: 'edge' } });
    await apply(hub.client, environment('edges', { tier: 'edge' }));
  }, 120_000);
  afterAll(cleanUp);

  async function parts(): Promise<string[]> {
    const found = await edge.client.list<UnstructuredObject>(CONFIG_MAPS, { namespace: 'default' });
    return found.items.map(({ metadata }) => metadata.name ?? '').filter((name) => name.startsWith('part-'));
  }

  /** Kills the spoke when it has applied some of a generation of the workload, and not all. */
  async function killWithin(generation: number): Promise<number> {
    const enough = 10 + Math.floor(random() * 150);
    const applied = await eventually(
      async () => {
        const names = (await parts()).filter((name) => name.startsWith(`part-${generation}-`));
        return names.length >= enough && names.length;
      },
      60_000,
      5,
    );
    await edge.kill();
    return applied;
  }

  it.each([1, 2, 3])(
    'leaves no orphan when half of them are gone after its restart (round %i)',
    async (round) => {
      await apply(
        hub.client,
        manifestsProfile(
          'many',
          manifests(round, () => true),
        ),
        deployment('many', 'many', 'edges', { interval: '5s' }),
      );
      const applied = await killWithin(round);
      expect(applied).toBeLessThanOrEqual(COUNT);
      const keep = (index: number): boolean => index % 2 === round % 2;
      await apply(hub.client, manifestsProfile('many', manifests(round, keep)));
      await delay(random() * 1000);
      edge = await restartSpoke(edge.name, edge.data);
      const wanted = Array.from({ length: COUNT }, (_, index) => index)
        .filter(keep)
        .map((index) => nameOf(round, index));
      await deploymentReady(hub, 'many', { timeoutMs: 60_000 });
      expect(await parts()).toEqual(wanted);
    },
    120_000,
  );

  it('leaves nothing when the whole workload is gone after its restart', async () => {
    await apply(
      hub.client,
      manifestsProfile(
        'many',
        manifests(4, () => true),
      ),
    );
    await killWithin(4);
    await hub.client.delete(WORKLOAD_DEPLOYMENTS, { name: 'many', namespace: 'default' });
    edge = await restartSpoke(edge.name, edge.data);
    await eventually(async () => (await parts()).length === 0, 60_000);
  }, 120_000);
});
