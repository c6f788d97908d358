import type { KubeObject, UnstructuredObject } from '@mural/kube';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  inventoryEntry,
  inventoryId,
  mergeInventories,
  objectOfEntry,
  parseInventoryId,
  staleEntries,
} from './inventory.ts';
import { compareObjects, describeObject, stagesOf } from './order.ts';

const dns = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,8}[a-z0-9])?$/);
const rbacName = fc.array(dns, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(':'));
const kind = fc.constantFrom(
  'ConfigMap',
  'Widget',
  'ClusterRole',
  'Namespace',
  'Deployment',
  'StorageClass',
  'MutatingWebhookConfiguration',
  'CustomResourceDefinition',
  'Secret',
);
const group = fc.oneof(fc.constant(''), fc.stringMatching(/^[a-z]{1,5}(\.[a-z]{1,5}){0,2}$/));
const object = fc
  .record({
    namespace: fc.option(dns, { nil: undefined }),
    name: rbacName,
    group,
    version: fc.constantFrom('v1', 'v1beta1'),
    kind,
  })
  .map(
    ({ namespace, name, group: of, version, kind: is }): UnstructuredObject => ({
      apiVersion: of === '' ? version : `${of}/${version}`,
      kind: is,
      metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    }),
  );

describe('an inventory entry', () => {
  it('is written as Flux writes it', () => {
    const deployment: KubeObject = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { namespace: 'a', name: 'web' },
    };
    const role: KubeObject = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'system:x' },
    };
    expect(inventoryEntry(deployment)).toEqual({ id: 'a_web_apps_Deployment', v: 'v1' });
    expect(inventoryId(role)).toBe('_system__x_rbac.authorization.k8s.io_ClusterRole');
  });

  it('stands for the object that it was made of', () => {
    fc.assert(
      fc.property(object, (made) => {
        expect(objectOfEntry(inventoryEntry(made))).toEqual(made);
      }),
    );
  });

  it('that is none is passed over', () => {
    for (const id of ['', 'a', 'a_b', 'a_b_c']) expect(parseInventoryId(id)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (id) => void parseInventoryId(id)));
  });

  it('is either intended, stale or neither, and merging loses none', () => {
    fc.assert(
      fc.property(fc.array(object), fc.array(object), (next, before) => {
        const [now, old] = [next.map(inventoryEntry), before.map(inventoryEntry)];
        const merged = mergeInventories(now, old).map(({ id }) => id);
        expect(merged).toEqual([...new Set([...now, ...old].map(({ id }) => id))].sort());
        const stale = staleEntries(now, old).map(({ id }) => id);
        expect(stale.filter((id) => now.some((entry) => entry.id === id))).toEqual([]);
        expect(new Set([...stale, ...now.map(({ id }) => id)])).toEqual(new Set(merged));
      }),
    );
  });
});

describe('the order of application', () => {
  it('is total and does not depend on the order of the input', () => {
    fc.assert(
      fc.property(fc.uniqueArray(object, { selector: inventoryId }), fc.nat(), (objects, seed) => {
        const shuffled = objects
          .map((one, index) => ({ one, at: (index * 7919 + seed) % 104729 }))
          .sort((a, b) => a.at - b.at)
          .map(({ one }) => one);
        expect(stagesOf(shuffled)).toEqual(stagesOf(objects));
        for (const a of objects.slice(0, 5)) {
          for (const b of objects.slice(0, 5)) {
            expect(Math.sign(compareObjects(a, b))).toBe(0 - Math.sign(compareObjects(b, a)));
            if (a !== b) expect(compareObjects(a, b)).not.toBe(0);
          }
        }
      }),
    );
  });

  it('has every object once', () => {
    fc.assert(
      fc.property(fc.array(object), (objects) => {
        const staged = stagesOf(objects).flatMap((stage) => stage.objects);
        expect(staged.map(describeObject).sort()).toEqual(objects.map(describeObject).sort());
      }),
    );
  });

  it('is definitions, classes, then the rest, with webhooks last', () => {
    const of = (is: string): UnstructuredObject => ({
      apiVersion: 'x/v1',
      kind: is,
      metadata: { name: 'n' },
    });
    const kinds = [
      'ValidatingWebhookConfiguration',
      'Deployment',
      'Widget',
      'StorageClass',
      'Secret',
      'Namespace',
      'ConfigMap',
      'CustomResourceDefinition',
      'ClusterRole',
      'ServiceAccount',
    ];
    expect(stagesOf(kinds.map(of)).map((stage) => stage.objects.map((one) => one.kind))).toEqual([
      ['CustomResourceDefinition', 'Namespace', 'ClusterRole'],
      ['StorageClass'],
      ['ServiceAccount', 'ConfigMap', 'Secret', 'Deployment', 'Widget', 'ValidatingWebhookConfiguration'],
    ]);
  });
});
