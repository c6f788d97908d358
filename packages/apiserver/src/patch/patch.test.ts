import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { builtinSchemas, type TypeSchema } from '../schema/index.ts';
import { jsonPatch, mergePatch, PatchError, strategicMergePatch } from './index.ts';

const json = fc.jsonValue({ maxDepth: 3 });

describe('mergePatch', () => {
  /** The examples of RFC 7396, appendix A. */
  const examples: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  it.each(examples)('%j with %j is %j', (doc, patch, result) => {
    expect(mergePatch(doc, patch)).toEqual(result);
  });

  it('is idempotent, and an empty patch changes no object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), fc.dictionary(fc.string(), json), (doc, patch) => {
        const once = mergePatch(doc, patch);
        expect(mergePatch(once, patch)).toEqual(once);
        expect(mergePatch(doc, {})).toEqual(doc);
      }),
    );
  });

  it('keeps a key named __proto__ as a key', () => {
    const patched = mergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}')) as object;
    expect(Object.keys(patched)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('jsonPatch', () => {
  const doc = { a: { 'x/y': 1, 'm~n': 2 }, l: [1, 2, 3] };
  it.each([
    [[{ op: 'add', path: '/a/b', value: 3 }], { a: { 'x/y': 1, 'm~n': 2, b: 3 }, l: [1, 2, 3] }],
    [[{ op: 'replace', path: '/a/x~1y', value: 3 }], { a: { 'x/y': 3, 'm~n': 2 }, l: [1, 2, 3] }],
    [[{ op: 'remove', path: '/a/m~0n' }], { a: { 'x/y': 1 }, l: [1, 2, 3] }],
    [[{ op: 'add', path: '/l/1', value: 9 }], { ...doc, l: [1, 9, 2, 3] }],
    [[{ op: 'add', path: '/l/-', value: 9 }], { ...doc, l: [1, 2, 3, 9] }],
    [[{ op: 'move', from: '/l/0', path: '/l/2' }], { ...doc, l: [2, 3, 1] }],
    [[{ op: 'copy', from: '/l', path: '/c' }], { ...doc, c: [1, 2, 3] }],
    [[{ op: 'test', path: '/l', value: [1, 2, 3] }], doc],
    [[{ op: 'replace', path: '', value: 1 }], 1],
    [[{ op: 'replace', path: '/missing', value: 1 }], { ...doc, missing: 1 }],
    [[{ op: 'remove', path: '/l/-1' }], { ...doc, l: [1, 2] }],
  ])('%j', (ops, result) => {
    expect(jsonPatch(doc, ops)).toEqual(result);
  });

  it.each([
    [[{ op: 'test', path: '/l', value: [1] }]],
    [[{ op: 'remove', path: '/nope' }]],
    [[{ op: 'add', path: '/l/9', value: 1 }]],
    [[{ op: 'add', path: '/a/x~1y/z', value: 1 }]],
    [[{ op: 'add', path: 'a', value: 1 }]],
    [[{ op: 'dance', path: '/a' }]],
    [[{ op: 'move', from: '/a', path: '/a/b' }]],
    [[{ op: 'add', path: '/__proto__/x', value: 1 }]],
    [[{ path: '/a' }]],
  ])('refuses %j in the words of the API', (ops) => {
    expect(() => jsonPatch(doc, ops)).toThrow(
      'the server rejected our request due to an error in our request',
    );
  });

  it('refuses what is no patch', () => {
    expect(() => jsonPatch(doc, {})).toThrow(PatchError);
    expect(() =>
      jsonPatch(
        doc,
        Array.from({ length: 10_001 }, () => ({ op: 'test', path: '', value: doc })),
      ),
    ).toThrow('10000');
  });

  it('limits what copies may add', () => {
    const double = { op: 'copy', from: '/l', path: '/l/-' };
    expect(() =>
      jsonPatch(
        { l: ['x'.repeat(1000)] },
        Array.from({ length: 40 }, () => double),
      ),
    ).toThrow('too large');
  });

  it('leaves the object as it was when a later operation fails', () => {
    const before = structuredClone(doc);
    expect(() =>
      jsonPatch(doc, [
        { op: 'remove', path: '/l' },
        { op: 'test', path: '/a', value: 1 },
      ]),
    ).toThrow(PatchError);
    expect(doc).toEqual(before);
  });
});

describe('strategicMergePatch', () => {
  const schema = builtinSchemas().schemaFor('v1', 'Pod') as TypeSchema;
  const pod = {
    metadata: { finalizers: ['a/a', 'b/b'], labels: { a: '1' } },
    spec: {
      containers: [
        { name: 'a', image: 'a', args: ['1'] },
        { name: 'b', image: 'b' },
      ],
      tolerations: [{ key: 'k' }],
    },
  };
  const names = (object: unknown): string[] =>
    (object as typeof pod).spec.containers.map((container) => container.name);

  it('merges items by key and puts new ones first', () => {
    const patch = {
      spec: {
        containers: [
          { name: 'c', image: 'c' },
          { name: 'a', image: 'a2' },
        ],
      },
    };
    const patched = strategicMergePatch(pod, patch, schema);
    expect(names(patched)).toEqual(['c', 'a', 'b']);
    expect(patched).toHaveProperty('spec.containers.1', { name: 'a', image: 'a2', args: ['1'] });
  });

  it.each([
    ['deletes an item', { containers: [{ name: 'a', $patch: 'delete' }] }, ['b']],
    ['replaces a list', { containers: [{ $patch: 'replace' }, { name: 'q', image: 'q' }] }, ['q']],
    ['orders a list', { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] }, ['b', 'a']],
  ])('%s', (_what, spec, expected) => {
    expect(names(strategicMergePatch(pod, { spec }, schema))).toEqual(expected);
  });

  it('replaces lists without a merge key', () => {
    const patched = strategicMergePatch(pod, { spec: { tolerations: [{ key: 'z' }] } }, schema);
    expect(patched).toHaveProperty('spec.tolerations', [{ key: 'z' }]);
  });

  it('deletes from lists of scalars, and adds what is new first', () => {
    const patch = { metadata: { '$deleteFromPrimitiveList/finalizers': ['a/a'], finalizers: ['c/c'] } };
    expect(strategicMergePatch(pod, patch, schema)).toHaveProperty('metadata.finalizers', ['c/c', 'b/b']);
  });

  it('keeps only the keys of $retainKeys', () => {
    const used = builtinSchemas().schemaFor('apps/v1', 'Deployment') as TypeSchema;
    const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } };
    const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
    expect(strategicMergePatch({ spec: { strategy } }, patch, used)).toEqual({
      spec: { strategy: { type: 'Recreate' } },
    });
  });

  it('says which key an item lacks', () => {
    expect(() => strategicMergePatch(pod, { spec: { containers: [{ image: 'x' }] } }, schema)).toThrow(
      'map: map[image:x] does not contain declared merge key: name',
    );
  });

  it('refuses directives that it does not know', () => {
    expect(() => strategicMergePatch(pod, { spec: { $patch: 'foo' } }, schema)).toThrow(
      'unknown patch type: foo in map: map[$patch:foo]',
    );
  });

  it('without special lists is a merge patch', () => {
    const patches = fc.record({
      metadata: fc.record({ labels: fc.dictionary(fc.constantFrom('a', 'b'), fc.option(fc.string())) }),
    });
    fc.assert(
      fc.property(patches, (patch) => {
        expect(strategicMergePatch(pod, patch, schema)).toEqual(mergePatch(pod, patch));
      }),
    );
  });
});
