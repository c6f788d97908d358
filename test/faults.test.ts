import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@mural/core/testing';
import { CONFIG_MAPS, type UnstructuredObject } from '@mural/kube';
import { afterAll, describe, expect, it } from 'vitest';
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

function port(url: string): number {
  return Number(new URL(url).port);
}

/** Kills the hub and starts it again on the same folder and ports. */
async function restartHub(hub: Hub): Promise<Hub> {
  await hub.kill();
  return startHub({ data: hub.data, apiPort: port(hub.ready.api), registryPort: port(hub.ready.registry) });
}

async function value(spoke: SpokeProcess, name: string): Promise<string | undefined> {
  const object = await spoke.client.find<UnstructuredObject>(CONFIG_MAPS, { name, namespace: 'default' });
  return (object?.data as { value?: string } | undefined)?.value;
}

describe(`kills at random moments (seed ${random.seed})`, () => {
  afterAll(cleanUp);

  it('of the hub and of a spoke, during rollouts, lose nothing and converge', async () => {
    let hub = await startHub();
    let spokes = await Promise.all(
      ['edge-1', 'edge-2'].map(async (name) => startSpoke(hub, name, { labels: { tier: 'edge' } })),
    );
    await apply(hub.client, environment('edges', { tier: 'edge' }));
    const names = ['a', 'b', 'c'];
    for (let round = 1; round <= 6; round += 1) {
      for (const name of names) {
        await apply(
          hub.client,
          manifestsProfile(name, configMap(name, { value: String(round) })),
          deployment(name, name, 'edges'),
        );
      }
      await delay(random() * 400);
      if (round % 2 === 1) {
        hub = await restartHub(hub);
      } else {
        const [victim, ...others] = spokes;
        if (victim === undefined) throw new Error('no spoke');
        await victim.kill();
        spokes = [...others, await restartSpoke(victim.name, victim.data)];
      }
    }
    for (const name of names) {
      await deploymentReady(hub, name, { timeoutMs: 90_000 });
      for (const spoke of spokes) {
        await eventually(async () => (await value(spoke, name)) === '6', 60_000);
      }
    }
  }, 300_000);
});

describe('while the registry and the hub are away', () => {
  afterAll(cleanUp);

  it('a spoke keeps what it has, corrects drift, survives a kill, and goes on when they are back', async () => {
    const hub = await startHub();
    const edge = await startSpoke(hub, 'edge-1', { labels: { tier: 'edge' } });
    await apply(
      hub.client,
      environment('edges', { tier: 'edge' }),
      manifestsProfile('app', configMap('app', { value: '1' })),
      deployment('app', 'app', 'edges', { interval: '2s' }),
    );
    await deploymentReady(hub, 'app');
    await hub.kill();

    await edge.client.delete(CONFIG_MAPS, { name: 'app', namespace: 'default' });
    await eventually(async () => (await value(edge, 'app')) === '1', 30_000);

    await edge.kill();
    const again = await restartSpoke(edge.name, edge.data);
    await again.client.patch(CONFIG_MAPS, { name: 'app', namespace: 'default' }, 'merge', {
      data: { value: 'drift' },
    });
    await eventually(async () => (await value(again, 'app')) === '1', 30_000);

    const back = await startHub({
      data: hub.data,
      apiPort: port(hub.ready.api),
      registryPort: port(hub.ready.registry),
    });
    await apply(back.client, manifestsProfile('app', configMap('app', { value: '2' })));
    await eventually(async () => (await value(again, 'app')) === '2', 90_000);
    expect((await deploymentReady(back, 'app')).status?.summary).toBe('1/1');
  }, 240_000);
});
