import type { UnstructuredObject } from '@mural/kube';
import { describe, expect, it } from 'vitest';
import { applyPatches, jsonPatch, PatchError } from './patches.ts';

const deployment: UnstructuredObject = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop', labels: { tier: 'front' } },
  spec: {
    replicas: 1,
    template: {
      spec: {
        containers: [
          { name: 'app', image: 'app:1', env: [{ name: 'A', value: '1' }], args: ['a', 'b'] },
          { name: 'proxy', image: 'proxy:1' },
        ],
      },
    },
  },
};
const config: UnstructuredObject = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'web' },
  data: { a: '1' },
};

function containers(object: UnstructuredObject | undefined): unknown {
  const { spec } = object as unknown as typeof deployment & {
    spec: { template: { spec: { containers: unknown } } };
  };
  return spec.template.spec.containers;
}

describe('a strategic merge patch', () => {
  it('merges lists of built-in types by their keys, what it names first, and replaces the others', () => {
    const patch = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  template:
    spec:
      containers:
        - name: app
          env: [{ name: B, value: "2" }]
          args: [c]
        - name: extra
          image: extra:1
`;
    const [patched, other] = applyPatches([deployment, config], [{ patch }]);
    expect(containers(patched)).toEqual([
      {
        name: 'app',
        image: 'app:1',
        env: [
          { name: 'B', value: '2' },
          { name: 'A', value: '1' },
        ],
        args: ['c'],
      },
      { name: 'extra', image: 'extra:1' },
      { name: 'proxy', image: 'proxy:1' },
    ]);
    expect(other).toEqual(config);
  });

  it('deletes an item, a field, or the whole object', () => {
    const item = `kind: Deployment\nmetadata: { name: web, namespace: shop }\nspec: { replicas: null, template: { spec: { containers: [{ name: proxy, $patch: delete }] } } }`;
    const [patched] = applyPatches([deployment], [{ patch: item }]);
    expect(containers(patched)).toHaveLength(1);
    expect(patched?.['spec']).not.toHaveProperty('replicas');
    const whole = `kind: ConfigMap\nmetadata: { name: web }\n$patch: delete`;
    expect(applyPatches([deployment, config], [{ patch: whole }])).toEqual([deployment]);
  });

  it('with a target goes to all that match and renames none', () => {
    const patch = `apiVersion: v1\nkind: Any\nmetadata: { name: any, labels: { x: y } }`;
    const target = { kind: 'Deployment|ConfigMap', name: 'w.*' };
    const patched = applyPatches([deployment, config], [{ patch, target }]);
    expect(patched.map(({ kind, metadata }) => [kind, metadata.name, metadata.labels?.['x']])).toEqual([
      ['Deployment', 'web', 'y'],
      ['ConfigMap', 'web', 'y'],
    ]);
  });

  it('that matches nothing is an error, unless a target says what may be missing', () => {
    const patch = `kind: Deployment\nmetadata: { name: nobody }`;
    expect(() => applyPatches([deployment], [{ patch }])).toThrow(/no object matches Deployment nobody/);
    expect(applyPatches([deployment], [{ patch, target: { kind: 'Job' } }])).toEqual([deployment]);
  });

  it('does not change what it was given', () => {
    const before = structuredClone(deployment);
    applyPatches(
      [deployment],
      [{ patch: `kind: Deployment\nmetadata: { name: web, namespace: shop }\nspec: { replicas: 5 }` }],
    );
    expect(deployment).toEqual(before);
  });
});

describe('a target', () => {
  const patch = `[{ op: add, path: /metadata/annotations, value: { hit: "yes" } }]`;
  it.each([
    [{ kind: 'Deployment', group: 'apps', version: 'v1' }, true],
    [{ group: 'batch' }, false],
    [{ name: 'we' }, false],
    [{ namespace: 'shop' }, true],
    [{ labelSelector: 'tier=front' }, true],
    [{ labelSelector: 'tier in (back, front)' }, true],
    [{ labelSelector: 'tier!=front' }, false],
    [{ labelSelector: '!tier' }, false],
    [{ annotationSelector: 'some' }, false],
  ])('%j matches: %s', (target, expected) => {
    const [patched] = applyPatches([deployment], [{ patch, target }]);
    expect(patched?.metadata.annotations?.['hit'] === 'yes').toBe(expected);
  });
});

describe('a JSON patch', () => {
  it.each([
    [[{ op: 'add', path: '/list/1', value: 'x' }], { list: ['a', 'x', 'b'] }],
    [[{ op: 'add', path: '/list/-', value: 'x' }], { list: ['a', 'b', 'x'] }],
    [[{ op: 'remove', path: '/list/0' }], { list: ['b'] }],
    [[{ op: 'replace', path: '/list/0', value: 'x' }], { list: ['x', 'b'] }],
    [[{ op: 'move', from: '/list', path: '/a~1b' }], { 'a/b': ['a', 'b'] }],
    [[{ op: 'copy', from: '/list/0', path: '/first' }], { list: ['a', 'b'], first: 'a' }],
    [[{ op: 'test', path: '/list', value: ['a', 'b'] }], { list: ['a', 'b'] }],
  ])('%j', (operations, expected) => {
    expect(jsonPatch({ list: ['a', 'b'] }, operations, 'test')).toEqual(expected);
  });

  it.each([
    [[{ op: 'remove', path: '/none' }]],
    [[{ op: 'test', path: '/list/0', value: 'z' }]],
    [[{ op: 'add', path: '/list/9', value: 1 }]],
    [[{ op: 'add', path: '/__proto__/polluted', value: 1 }]],
    [[{ op: 'add', path: '/constructor/prototype/polluted', value: 1 }]],
    [[{ op: 'jump', path: '/list' }]],
    [['nothing']],
  ])('refuses %j', (operations) => {
    expect(() => jsonPatch({ list: ['a', 'b'] }, operations, 'test')).toThrow(PatchError);
  });

  it('needs a target', () => {
    expect(() => applyPatches([deployment], [{ patch: '[]' }])).toThrow(/needs a target/);
  });
});
