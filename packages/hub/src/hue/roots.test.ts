import { type Clock, silentLogger, systemClock } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  type Cache,
  type CacheListener,
  type KubeClient,
  type KubeObject,
  objectKey,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  type WorkloadDeployment,
} from '@mural/kube';
import { afterEach, describe, expect, it } from 'vitest';
import { MemoryRegistry } from '../memory-registry.ts';
import { MAX_MEMBERS } from './groups.ts';
import { Registries } from './registries.ts';
import { Roots } from './roots.ts';

const url = 'oci://registry/mural/workloads';

/** A cache that a test writes. */
class Held<T extends KubeObject> implements Cache<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<CacheListener<T>>();
  start(): void {}
  async stop(): Promise<void> {
    await Promise.resolve();
  }
  async synced(): Promise<void> {
    await Promise.resolve();
  }
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }
  list(): T[] {
    return [...this.#objects.values()];
  }
  onChange(listener: CacheListener<T>): () => void {
    this.#listeners.add(listener);
    for (const [key, object] of this.#objects) listener(key, object, undefined);
    return () => this.#listeners.delete(listener);
  }
  set(object: T): void {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    this.#objects.set(key, object);
    for (const listener of this.#listeners) listener(key, object, before);
  }
}

/** Roots over a fleet and a registry in memory. */
class Fleet {
  readonly registry = new MemoryRegistry();
  readonly spokes = new Held<Spoke>();
  readonly deployments = new Held<WorkloadDeployment>();
  /** Names of spokes whose annotations were written. */
  readonly patched: string[] = [];
  roots: Roots;

  constructor(clock: Clock = systemClock) {
    this.roots = this.#make(clock);
  }

  #make(clock: Clock): Roots {
    const patch = async (_resource: unknown, { name }: { name: string }, _type: unknown, body: Spoke) => {
      this.patched.push(name);
      const spoke = this.spokes.get(name);
      if (spoke === undefined) return;
      const annotations = { ...spoke.metadata.annotations, ...body.metadata.annotations };
      this.spokes.set({ ...spoke, metadata: { ...spoke.metadata, annotations } });
      await Promise.resolve();
    };
    return new Roots({
      client: { patch } as unknown as KubeClient,
      deployments: this.deployments,
      spokes: this.spokes,
      registries: new Registries([{ url, client: this.registry.client }], clock, silentLogger),
      spokeRegistry: () => ({ url, interval: '5m', timeout: '60s' }),
      onChange: () => undefined,
      recheckMs: 600_000,
      clock,
      random: Math.random,
      log: silentLogger,
    });
  }

  /** Another process takes over. */
  async restart(): Promise<void> {
    await this.roots.stop();
    this.roots = this.#make(systemClock);
    await this.roots.start();
  }

  addSpokes(count: number): string[] {
    const names = Array.from({ length: count }, (_, index) => `edge-${index}`);
    for (const name of names) {
      this.spokes.set({ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name, uid: name } });
    }
    return names;
  }

  /** Records a deployment as published, as hue does. */
  record(name: string, spokes: readonly string[], digestOf: (spoke: string) => string): void {
    this.deployments.set({
      apiVersion: 'mural.dev/v1alpha1',
      kind: 'WorkloadDeployment',
      metadata: { name, namespace: 'default' },
      spec: { profileRef: { name }, environmentRef: { name: 'all' } },
      status: {
        spokes: spokes.map((spoke) => ({ name: spoke, tag: 't', digest: digestOf(spoke), ready: 'Unknown' })),
      },
    });
  }

  async until(name: string, spokes: readonly string[], digestOf: (spoke: string) => string): Promise<void> {
    const wanted = (spoke: string) =>
      this.roots.publishedDigest(spoke, `default/${name}`) === digestOf(spoke);
    await eventually(() => spokes.every(wanted), 120_000, 100);
  }

  puts(prefix: string): number {
    return this.registry.puts.filter((reference) => reference.startsWith(prefix)).length;
  }

  groups(): Set<string | undefined> {
    return new Set(this.spokes.list().map(({ metadata }) => metadata.annotations?.[ROOT_GROUP_ANNOTATION]));
  }
}

const digest = (fill: string): string => `sha256:${fill.padEnd(64, '0')}`;

describe('what is published for a fleet', () => {
  let fleet: Fleet;
  afterEach(async () => fleet.roots.stop());

  it('of 10000 equal spokes is 40 manifests in a rollout, in seconds', async () => {
    fleet = new Fleet();
    const names = fleet.addSpokes(10_000);
    for (let index = 0; index < 20; index += 1) fleet.record(`app-${index}`, names, () => digest('a'));
    await fleet.roots.start();
    await fleet.until('app-0', names, () => digest('a'));
    expect(fleet.puts('spoke-')).toBe(10_000);
    expect(fleet.puts('group-')).toBe(10_000 / MAX_MEMBERS);
    expect(fleet.groups().size).toBe(10_000 / MAX_MEMBERS);
    fleet.registry.puts.length = 0;
    const started = performance.now();
    fleet.record('app-0', names, () => digest('b'));
    await fleet.until('app-0', names, () => digest('b'));
    // A fraction of this even on a busy machine; it is there to catch work for each spoke and workload.
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(fleet.registry.puts).toHaveLength(10_000 / MAX_MEMBERS);
    expect(fleet.puts('group-')).toBe(10_000 / MAX_MEMBERS);
    // Nobody is connected, so nobody is told.
    expect(fleet.patched).toHaveLength(10_000);
  }, 120_000);

  it('goes on after a restart where it was, and writes nothing', async () => {
    fleet = new Fleet();
    const names = fleet.addSpokes(600);
    fleet.record('app', names, () => digest('a'));
    await fleet.roots.start();
    await fleet.until('app', names, () => digest('a'));
    const tags = new Map(fleet.registry.tags);
    fleet.registry.puts.length = 0;
    fleet.patched.length = 0;
    await fleet.restart();
    await fleet.until('app', names, () => digest('a'));
    expect(fleet.registry.puts).toEqual([]);
    expect(fleet.patched).toEqual([]);
    expect(fleet.registry.tags).toEqual(tags);
  });

  it('of spokes that come to differ stays in their groups, so that no root is written', async () => {
    fleet = new Fleet();
    const names = fleet.addSpokes(300);
    fleet.record('app', names, () => digest('a'));
    await fleet.roots.start();
    await fleet.until('app', names, () => digest('a'));
    fleet.registry.puts.length = 0;
    const mixed = (spoke: string) => digest(spoke.endsWith('7') ? 'c' : 'a');
    fleet.record('app', names, mixed);
    await fleet.until('app', names, mixed);
    expect(fleet.registry.puts.map((reference) => reference.slice(0, 6))).toEqual(['group-', 'group-']);
  });

  it('is split when it becomes too much for one artifact', async () => {
    fleet = new Fleet();
    const names = fleet.addSpokes(100);
    const own = (app: number) => (spoke: string) =>
      `sha256:${`${app}`.padStart(32, '0')}${spoke.slice(5).padStart(32, '0')}`;
    for (let app = 0; app < 60; app += 1) fleet.record(`app-${app}`, names, own(app));
    await fleet.roots.start();
    await fleet.until('app-59', names, own(59));
    await eventually(() => fleet.groups().size === 2);
  }, 60_000);
});
