import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  inventoryEntry,
  mergeInventories,
  objectOfEntry,
  parseInventoryId,
  staleEntries,
} from './inventory.ts';

describe('inventory ids', () => {
  it('are those of Flux', () => {
    const object = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop' },
    };
    expect(inventoryEntry(object)).toEqual({ id: 'shop_web_apps_Deployment', v: 'v1' });
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'a:b' },
    };
    expect(inventoryEntry(role).id).toBe('_a__b_rbac.authorization.k8s.io_ClusterRole');
  });

  it('give back the object they were made from', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/);
    const name = fc.oneof(
      word,
      fc.tuple(word, word).map(([a, b]) => `${a}:${b}`),
    );
    const apiVersion = fc.constantFrom('v1', 'apps/v1', 'a.example.org/v1beta1');
    const namespace = fc.option(word, { nil: undefined });
    fc.assert(
      fc.property(name, namespace, apiVersion, (called, within, version) => {
        const metadata = { name: called, ...(within === undefined ? {} : { namespace: within }) };
        const object = { apiVersion: version, kind: 'Thing', metadata };
        expect(objectOfEntry(inventoryEntry(object))).toEqual(object);
      }),
    );
  });

  it.each(['', 'a', 'a_b', 'a_b_c'])('%j is none', (id) => {
    expect(parseInventoryId(id)).toBeUndefined();
  });
});

describe('two inventories', () => {
  const before = [
    { id: '_b__Namespace', v: 'v1' },
    { id: 'x_a_apps_Deployment', v: 'v1beta1' },
  ];
  const next = [{ id: 'x_a_apps_Deployment', v: 'v1' }];

  it('merged hold everything once, sorted, in the newer version', () => {
    expect(mergeInventories(next, before)).toEqual([before[0], next[0]]);
  });

  it('differ by what left', () => {
    expect(staleEntries(next, before)).toEqual([before[0]]);
  });
});
