import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@mural/core/testing';
import { CONFIG_MAPS, isKubeError, type KubeClient, type UnstructuredObject } from '@mural/kube';
import { afterAll, describe, expect, it } from 'vitest';
import { clientFor, cleanUp, type Hub, startHub } from './support/mural.ts';
import { seededRandom } from './support/random.ts';

const random = seededRandom();
const NAMESPACE = 'default';
const WRITERS = 8;
const ROUNDS = 6;

/** What the API said it has: the version and value of each object, and which objects are gone. */
interface Acknowledged {
  readonly written: Map<string, { readonly version: number; readonly value: number }>;
  readonly deleted: Set<string>;
}

function version(object: UnstructuredObject): number {
  return Number(object.metadata.resourceVersion);
}

function valueOf(object: UnstructuredObject): number {
  return Number((object.data as { value?: string } | undefined)?.value);
}

/** Creates, changes, applies and deletes as fast as it can, until a write fails; notes what was acknowledged. */
async function writeUntilItFails(client: KubeClient, prefix: string, told: Acknowledged): Promise<void> {
  const counter = `${prefix}-counter`;
  const object = (name: string, value: number): UnstructuredObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: NAMESPACE, labels: { written: 'fast' } },
    data: { value: String(value) },
  });
  const note = (stored: UnstructuredObject): void => {
    told.written.set(stored.metadata.name ?? '', { version: version(stored), value: valueOf(stored) });
  };
  try {
    for (let turn = 1; ; turn += 1) {
      note(await client.create(CONFIG_MAPS, object(`${prefix}-${turn}`, turn)));
      note(await client.apply(CONFIG_MAPS, object(counter, turn), { fieldManager: 'test' }));
      const patch = { data: { value: String(turn + 0.5) } };
      note(await client.patch(CONFIG_MAPS, { name: counter, namespace: NAMESPACE }, 'merge', patch));
      if (turn % 3 !== 0) continue;
      const name = `${prefix}-${turn - 1}`;
      // Not acknowledged yet, and may be done all the same: nothing is claimed of it until the answer.
      told.written.delete(name);
      await client.delete(CONFIG_MAPS, { name, namespace: NAMESPACE });
      told.deleted.add(name);
    }
  } catch {
    // The process was killed.
  }
}

/** Follows the objects as a client does: list, watch, on from what was seen last, and anew when that expired. */
class Follower {
  readonly state = new Map<string, number>();
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  #seen: string | undefined;
  #running: Promise<void> | undefined;
  /** Events that told of something older than what was known. */
  outOfOrder = 0;
  lists = 0;
  resumed = 0;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('enough'));
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#follow();
      } catch (error) {
        if (isKubeError(error, 'Expired')) this.#seen = undefined;
        else await delay(50);
      }
    }
  }

  async #follow(): Promise<void> {
    const selection = { namespace: NAMESPACE, labelSelector: 'written=fast', signal: this.#stop.signal };
    if (this.#seen === undefined) {
      const list = await this.#client.list<UnstructuredObject>(CONFIG_MAPS, selection);
      this.lists += 1;
      this.state.clear();
      for (const item of list.items) this.state.set(item.metadata.name ?? '', version(item));
      this.#seen = list.metadata.resourceVersion ?? '';
    } else {
      this.resumed += 1;
    }
    const from = { ...selection, resourceVersion: this.#seen };
    for await (const { type, object } of this.#client.watch<UnstructuredObject>(CONFIG_MAPS, from)) {
      if (type !== 'BOOKMARK' && version(object) <= Number(this.#seen)) this.outOfOrder += 1;
      this.#seen = object.metadata.resourceVersion ?? this.#seen;
      if (type === 'DELETED') this.state.delete(object.metadata.name ?? '');
      else if (type !== 'BOOKMARK') this.state.set(object.metadata.name ?? '', version(object));
    }
  }
}

async function restart(hub: Hub): Promise<Hub> {
  const port = (url: string) => Number(new URL(url).port);
  return startHub({ data: hub.data, apiPort: port(hub.ready.api), registryPort: port(hub.ready.registry) });
}

describe(`writes to the embedded API (seed ${random.seed})`, () => {
  afterAll(cleanUp);

  it('that were acknowledged survive every kill, and a watch that goes on misses none of them', async () => {
    let hub = await startHub();
    const told: Acknowledged = { written: new Map(), deleted: new Set() };
    const follower = new Follower(await clientFor(hub.ready.kubeconfig));
    follower.start();
    let highest = 0;
    for (let round = 1; round <= ROUNDS; round += 1) {
      const before = told.written.size;
      const writers = Array.from({ length: WRITERS }, async (_, index) =>
        writeUntilItFails(hub.client, `r${round}-w${index}`, told),
      );
      await eventually(() => told.written.size > before, 20_000);
      await delay(random() * 600);
      await hub.kill();
      await Promise.all(writers);
      hub = await restart(hub);

      const list = await hub.client.list<UnstructuredObject>(CONFIG_MAPS, { namespace: NAMESPACE });
      const stored = new Map(list.items.map((object) => [object.metadata.name ?? '', object]));
      for (const [name, wanted] of told.written) {
        const found = stored.get(name);
        if (found === undefined) throw new Error(`${name} was acknowledged in round ${round} and is gone`);
        expect(version(found)).toBeGreaterThanOrEqual(wanted.version);
        expect(valueOf(found)).toBeGreaterThanOrEqual(wanted.value);
      }
      for (const name of told.deleted) expect(stored.has(name)).toBe(false);
      const acknowledged = Math.max(...[...told.written.values()].map((one) => one.version));
      expect(Number(list.metadata.resourceVersion)).toBeGreaterThanOrEqual(acknowledged);
      expect(acknowledged).toBeGreaterThan(highest);
      highest = acknowledged;
    }
    expect(told.written.size).toBeGreaterThan(ROUNDS * WRITERS);
    const last = await hub.client.list<UnstructuredObject>(CONFIG_MAPS, {
      namespace: NAMESPACE,
      labelSelector: 'written=fast',
    });
    const wanted = new Map(last.items.map((object) => [object.metadata.name ?? '', version(object)]));
    await eventually(() => follower.state.size === wanted.size && sameState(follower.state, wanted), 20_000);
    expect(follower.lists + follower.resumed).toBeGreaterThan(ROUNDS);
    expect(follower.outOfOrder).toBe(0);
    await follower.stop();
  }, 180_000);
});

function sameState(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return [...b].every(([name, one]) => a.get(name) === one);
}
