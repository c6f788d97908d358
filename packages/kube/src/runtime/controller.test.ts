import { FakeClock, settle } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { SPOKES, type Spoke } from '../mural.ts';
import type { UnstructuredObject } from '../objects.ts';
import { CONFIG_MAPS } from '../resources.ts';
import { createFakeKubeApi, type FakeKubeApi } from '../testing/fake-api.ts';
import { type Cache, createCache } from './cache.ts';
import { type Controller, type ControllerOptions, createController, watching } from './controller.ts';
import { ReconcileError } from './reconcile-error.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

interface Bench {
  readonly api: FakeKubeApi;
  readonly clock: FakeClock;
  readonly controller: Controller;
  readonly configMaps: Cache<UnstructuredObject>;
}

async function setUp(
  reconcile: (key: string, signal: AbortSignal) => Promise<{ requeueAfterMs?: number } | undefined>,
  more: (bench: Pick<Bench, 'configMaps'>) => Partial<ControllerOptions<Spoke>> = () => ({}),
): Promise<Bench> {
  const clock = new FakeClock();
  const spoke = { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 's' } };
  const api = createFakeKubeApi({ clock, objects: [spoke] });
  const primary = createCache<Spoke>({ client: api, resource: SPOKES, clock });
  const configMaps = createCache<UnstructuredObject>({ client: api, resource: CONFIG_MAPS, clock });
  const controller = createController<Spoke>({
    name: 'test',
    primary,
    reconcile,
    clock,
    random: () => 1,
    ...more({ configMaps }),
  });
  primary.start();
  configMaps.start();
  controller.start();
  ends.push(async () => {
    await controller.stop();
    await primary.stop();
    await configMaps.stop();
  });
  await settle();
  return { api, clock, controller, configMaps };
}

describe('createController', () => {
  it('reconciles what is there and what changes, but not after its own status writes', async () => {
    const keys: string[] = [];
    const { api } = await setUp(async (key) => {
      keys.push(key);
      return undefined;
    });
    expect(keys).toEqual(['s']);
    await api.patch(
      SPOKES,
      { name: 's' },
      'merge',
      { status: { agentVersion: '1' } },
      { subresource: 'status' },
    );
    await settle();
    expect(keys).toEqual(['s']);
    await api.patch(SPOKES, { name: 's' }, 'merge', { metadata: { annotations: { nudge: '1' } } });
    await settle();
    await api.delete(SPOKES, { name: 's' });
    await settle();
    expect(keys).toEqual(['s', 's', 's']);
  });

  it('without a primary reconciles what it is told, and nothing else', async () => {
    const keys: string[] = [];
    const { controller } = await setUp(
      async (key) => {
        keys.push(key);
        return undefined;
      },
      () => ({ primary: undefined }),
    );
    expect(keys).toEqual([]);
    controller.enqueue('told');
    await settle();
    expect(keys).toEqual(['told']);
  });

  it('reconciles what a watched object concerns', async () => {
    const keys: string[] = [];
    const { api } = await setUp(
      async (key) => {
        keys.push(key);
        return undefined;
      },
      ({ configMaps }) => ({
        watches: [watching(configMaps, ({ metadata }) => [metadata.labels?.['spoke'] ?? 'none'])],
      }),
    );
    const metadata = { name: 'c', namespace: 'ns', labels: { spoke: 'one' } };
    await api.create(CONFIG_MAPS, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    await settle();
    await api.patch(CONFIG_MAPS, { name: 'c', namespace: 'ns' }, 'merge', {
      metadata: { labels: { spoke: 'two' } },
    });
    await settle();
    // A change concerns those of the old and of the new object.
    expect(keys).toEqual(['s', 'one', 'one', 'two']);
  });

  it('never runs a key twice at a time, and runs it again when it came during a run', async () => {
    let running = 0;
    let most = 0;
    let runs = 0;
    const gate = Promise.withResolvers<undefined>();
    const { controller } = await setUp(async () => {
      running += 1;
      runs += 1;
      most = Math.max(most, running);
      await gate.promise;
      running -= 1;
      return undefined;
    });
    for (let turn = 0; turn < 5; turn += 1) controller.enqueue('s');
    await settle();
    gate.resolve(undefined);
    await settle();
    expect({ runs, most }).toEqual({ runs: 2, most: 1 });
  });

  it('works on several keys at a time, up to its concurrency', async () => {
    let most = 0;
    let running = 0;
    const gate = Promise.withResolvers<undefined>();
    const { controller } = await setUp(
      async () => {
        running += 1;
        most = Math.max(most, running);
        await gate.promise;
        running -= 1;
        return undefined;
      },
      () => ({ concurrency: 3 }),
    );
    for (let turn = 0; turn < 10; turn += 1) controller.enqueue(`k${turn}`);
    await settle();
    expect(most).toBe(3);
    gate.resolve(undefined);
    await settle();
  });

  it('comes back when asked to', async () => {
    let runs = 0;
    const { clock } = await setUp(async () => {
      runs += 1;
      return { requeueAfterMs: 60_000 };
    });
    await clock.advance(59_999);
    expect(runs).toBe(1);
    await clock.advance(1);
    expect(runs).toBe(2);
  });

  it('backs off after failures, whatever is thrown, and forgets them after success', async () => {
    let runs = 0;
    let works = false;
    const { clock, controller } = await setUp(async () => {
      runs += 1;
      if (!works) throw runs % 2 === 0 ? new TypeError('bug') : (undefined as unknown as Error);
      return undefined;
    });
    const at: number[] = [];
    for (let ms = 0; ms <= 6000; ms += 250) {
      const before = runs;
      await clock.advance(250);
      if (runs > before) at.push(ms + 250);
    }
    expect(at).toEqual([750, 750 + 1500, 750 + 1500 + 3000]);
    works = true;
    await clock.advance(60_000);
    works = false;
    const before = runs;
    controller.enqueue('s');
    await clock.advance(750);
    expect(runs - before).toBe(2);
  });

  it('caps the back-off', async () => {
    let runs = 0;
    const { clock } = await setUp(
      async () => {
        runs += 1;
        throw new Error('no');
      },
      () => ({ backoff: { baseMs: 1000, capMs: 2000 } }),
    );
    await clock.advance(101_000);
    expect(runs).toBe(52);
  });

  it('leaves a stalled object until it changes, and waits as told', async () => {
    let runs = 0;
    let error = new ReconcileError('stalling', 'URLInvalid', 'no');
    const { api, clock } = await setUp(async () => {
      runs += 1;
      throw error;
    });
    await clock.advance(3_600_000);
    expect(runs).toBe(1);
    error = new ReconcileError('waiting', 'DependencyNotReady', 'not yet', { requeueAfterMs: 30_000 });
    await api.patch(SPOKES, { name: 's' }, 'merge', { spec: { suspend: true } });
    await settle();
    expect(runs).toBe(2);
    await clock.advance(90_000);
    expect(runs).toBe(5);
  });

  it('stops: aborts what runs, waits for it, starts nothing more', async () => {
    const log: string[] = [];
    const { controller, clock } = await setUp(async (_key, signal) => {
      log.push('begin');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      log.push('end');
      return { requeueAfterMs: 1 };
    });
    await controller.stop();
    controller.enqueue('s');
    await clock.advance(1000);
    expect(log).toEqual(['begin', 'end']);
  });
});
