import { FakeClock, settle } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { KubeError } from '../errors.ts';
import type { UnstructuredObject } from '../objects.ts';
import { CONFIG_MAPS } from '../resources.ts';
import { createFakeKubeApi, type FakeKubeApi } from '../testing/fake-api.ts';
import { type Cache, createCache } from './cache.ts';

const caches: Cache<UnstructuredObject>[] = [];
afterEach(async () => {
  await Promise.all(caches.splice(0).map(async (cache) => cache.stop()));
});

function configMap(name: string, data: Record<string, string> = {}): UnstructuredObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'ns' }, data };
}

function setUp(...names: readonly string[]): {
  api: FakeKubeApi;
  clock: FakeClock;
  cache: Cache<UnstructuredObject>;
  seen: string[];
} {
  const clock = new FakeClock();
  const api = createFakeKubeApi({ clock, objects: names.map((name) => configMap(name)) });
  const cache = createCache<UnstructuredObject>({
    client: api,
    resource: CONFIG_MAPS,
    clock,
    random: () => 1,
  });
  caches.push(cache);
  const seen: string[] = [];
  cache.onChange((key, now, before) => {
    seen.push(`${key} ${before === undefined ? 'added' : now === undefined ? 'deleted' : 'changed'}`);
  });
  cache.start();
  return { api, clock, cache, seen };
}

describe('createCache', () => {
  it('lists, then follows', async () => {
    const { api, cache, seen } = setUp('a');
    await cache.synced();
    expect(cache.get('ns/a')).toMatchObject({ kind: 'ConfigMap' });
    await settle();
    await api.create(CONFIG_MAPS, configMap('b'));
    await api.patch(CONFIG_MAPS, { name: 'a', namespace: 'ns' }, 'merge', { data: { x: '1' } });
    await api.delete(CONFIG_MAPS, { name: 'b', namespace: 'ns' });
    await settle();
    expect(seen).toEqual(['ns/a added', 'ns/b added', 'ns/a changed', 'ns/b deleted']);
    expect(cache.list().map(({ metadata }) => metadata.name)).toEqual(['a']);
  });

  it('tells a late listener what is there', async () => {
    const { cache } = setUp('a', 'b');
    await cache.synced();
    const seen: string[] = [];
    const end = cache.onChange((key) => seen.push(key));
    end();
    expect(seen).toEqual(['ns/a', 'ns/b']);
  });

  it('lists anew when its version has expired, and tells the difference', async () => {
    const { api, cache, clock, seen } = setUp('a', 'b');
    await cache.synced();
    await settle();
    api.endWatches();
    await api.delete(CONFIG_MAPS, { name: 'a', namespace: 'ns' });
    await api.create(CONFIG_MAPS, configMap('c'));
    api.expireHistory();
    await clock.advance(2000);
    expect(seen.slice(2).sort()).toEqual(['ns/a deleted', 'ns/c added']);
  });

  it('goes on where it was when the server ends the watch', async () => {
    const { api, cache, clock, seen } = setUp('a');
    await cache.synced();
    await clock.advance(400_000);
    api.endWatches();
    await settle();
    await api.create(CONFIG_MAPS, configMap('b'));
    await settle();
    expect(seen).toEqual(['ns/a added', 'ns/b added']);
    expect(api.calls.filter(({ verb }) => verb === 'list')).toHaveLength(1);
  });

  it('never gives up, and waits longer each time', async () => {
    const { api, cache, clock, seen } = setUp();
    await cache.synced();
    await settle();
    api.intercept = ({ verb }) => {
      if (verb === 'watch' || verb === 'list') throw new KubeError('Forbidden', 'no');
    };
    const before = api.calls.length;
    api.endWatches();
    // The watch ended within its first second, which counts as a failure; then 1, 2, 4 … s, at most 30.
    await clock.advance(500 + 1000 + 2000 + 4000);
    expect(api.calls.length - before).toBe(4);
    await clock.advance(600_000);
    expect(api.calls.length - before).toBeGreaterThan(15);
    expect(api.calls.length - before).toBeLessThan(30);
    api.intercept = undefined;
    await api.create(CONFIG_MAPS, configMap('a'));
    await clock.advance(30_000);
    expect(seen).toEqual(['ns/a added']);
  });

  it('survives a listener that throws', async () => {
    const { api, cache, seen } = setUp('a');
    await cache.synced();
    cache.onChange(() => {
      throw new Error('listener');
    });
    await settle();
    await api.create(CONFIG_MAPS, configMap('b'));
    await settle();
    expect(seen).toContain('ns/b added');
  });

  it('stops at once, while it watches or waits, and lets go who waits for it', async () => {
    const { api, cache } = setUp();
    await cache.synced();
    await cache.stop();
    const calls = api.calls.length;
    await settle();
    expect(api.calls.length).toBe(calls);
    const never = setUp();
    never.api.intercept = () => {
      throw new KubeError('Unreachable', 'no');
    };
    await settle();
    await never.cache.stop();
    await never.cache.synced();
  });
});
