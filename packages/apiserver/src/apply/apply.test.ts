import { isRecord } from '@mural/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { builtinDefaults, builtinSchemas, compileCrdSchema, type TypeSchema } from '../schema/index.ts';
import {
  ApplyConflictError,
  ApplyInvalidError,
  conflictCause,
  type ObjectFields,
  serverSideApply,
  trackUpdate,
} from './index.ts';
import { omit } from '../schema/types.ts';
import { RECORDED_SCHEMA } from './testing-schema.ts';

const NOW = Date.parse('2030-01-01T00:00:00Z');
const LATER = NOW + 60_000;
const schema = compileCrdSchema(RECORDED_SCHEMA);

function foo(spec: unknown, metadata: Record<string, unknown> = {}): ObjectFields {
  return {
    apiVersion: 'e.x/v1',
    kind: 'Foo',
    metadata: { name: 'f', namespace: 't', ...metadata },
    ...(spec === undefined ? {} : { spec }),
  };
}

function configMap(data: Record<string, string>, metadata: Record<string, unknown> = {}): ObjectFields {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace: 't', ...metadata }, data };
}

interface Options {
  readonly manager?: string;
  readonly force?: boolean;
  readonly now?: number;
  readonly schema?: TypeSchema | undefined;
}

function apply(live: ObjectFields | undefined, applied: ObjectFields, options: Options = {}): ObjectFields {
  const { manager = 'm', force = false, now = NOW } = options;
  const used = 'schema' in options ? options.schema : schema;
  return serverSideApply({ live, applied, manager, force, schema: used, now }).object;
}

function builtin(apiVersion: string, kind: string): TypeSchema {
  const found = builtinSchemas().schemaFor(apiVersion, kind);
  if (found === undefined) throw new Error(`no schema for ${kind}`);
  return found;
}

function entries(
  object: ObjectFields,
): { manager: string; operation: string; time?: string; fieldsV1: unknown }[] {
  const metadata = object['metadata'];
  return isRecord(metadata) && Array.isArray(metadata['managedFields'])
    ? (metadata['managedFields'] as never[])
    : [];
}

function withoutEntries(object: ObjectFields): unknown {
  const metadata = omit(isRecord(object['metadata']) ? object['metadata'] : {}, 'managedFields');
  return { ...object, metadata };
}

function conflictsOf(run: () => unknown): ApplyConflictError {
  try {
    run();
  } catch (error) {
    if (error instanceof ApplyConflictError) return error;
    throw error;
  }
  throw new Error('no conflict');
}

describe('serverSideApply', () => {
  it('gives back the live object itself when the same is applied again', () => {
    const live = apply(undefined, foo({ str: 'a', slist: ['x'] }));
    expect(apply(live, foo({ str: 'a', slist: ['x'] }), { now: LATER })).toBe(live);
  });

  it('moves the time of an entry only when the object changes', () => {
    const live = apply(undefined, foo({ str: 'a' }));
    const shared = apply(live, foo({ str: 'a' }), { manager: 'other', now: LATER });
    expect(entries(shared).map(({ manager, time }) => ({ manager, time }))).toEqual([
      { manager: 'other', time: undefined },
      { manager: 'm', time: '2030-01-01T00:00:00Z' },
    ]);
    const changed = apply(shared, foo({ str: 'a', num: 1 }), { manager: 'other', now: LATER });
    expect(entries(changed).find(({ manager }) => manager === 'other')?.time).toBe('2030-01-01T00:01:00Z');
  });

  it('names one conflict in one line', () => {
    const live = apply(undefined, configMap({ color: 'red' }), {
      manager: 'kubectl',
      schema: builtin('v1', 'ConfigMap'),
    });
    const error = conflictsOf(() =>
      apply(live, configMap({ color: 'blue' }), { manager: 'flux', schema: builtin('v1', 'ConfigMap') }),
    );
    expect(error.message).toBe('Apply failed with 1 conflict: conflict with "kubectl": .data.color');
    expect(error.conflicts.map(conflictCause)).toEqual(['conflict with "kubectl"']);
  });

  it('names the version of an updater, and its subresource', () => {
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'd' },
      spec: { replicas: 1 },
    };
    const used = builtin('apps/v1', 'Deployment');
    const created = trackUpdate({
      before: undefined,
      after: deployment,
      manager: 'kubectl-create',
      schema: used,
      now: NOW,
      apiVersion: 'apps/v1',
    });
    const scaled = trackUpdate({
      before: created,
      after: { ...created, spec: { replicas: 3 } },
      manager: 'kubectl',
      subresource: 'scale',
      schema: used,
      now: NOW,
      apiVersion: 'apps/v1',
    });
    const error = conflictsOf(() =>
      apply(scaled, { ...deployment, spec: { replicas: 2 } }, { schema: used }),
    );
    expect(error.message).toBe(
      'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas',
    );
  });

  it('lists several conflicts by manager', () => {
    const one = apply(undefined, foo({ str: 'a', mlist: [{ name: 'n', v: '1' }] }), { manager: 'a' });
    const two = apply(one, foo({ num: 1 }), { manager: 'b' });
    const error = conflictsOf(() => apply(two, foo({ str: 'z', num: 2, mlist: [{ name: 'n', v: '2' }] })));
    expect(error.message).toBe(
      [
        'Apply failed with 3 conflicts: conflicts with "a":',
        '- .spec.str',
        '- .spec.mlist[name="n",proto="TCP"].v',
        'conflicts with "b":',
        '- .spec.num',
      ].join('\n'),
    );
  });

  it('keeps an emptied map or list, and drops it in built-in kinds', () => {
    const live = apply(undefined, foo({ gmap: { a: '1' }, obj: { a: '1' } }));
    const shared = trackUpdate({
      before: live,
      after: { ...live, spec: { gmap: {}, obj: { a: '1' } } },
      manager: 'u',
      schema,
      now: NOW,
      apiVersion: 'e.x/v1',
    });
    expect(shared['spec']).toEqual({ gmap: {}, obj: { a: '1' } });
    const used = builtin('v1', 'ConfigMap');
    const map = trackUpdate({
      before: undefined,
      after: configMap({ a: '1' }),
      manager: 'u',
      schema: used,
      now: NOW,
      apiVersion: 'v1',
    });
    const taken = apply(map, configMap({ a: '2' }), { schema: used, force: true });
    const emptied = builtinDefaults(apply(taken, configMap({}), { schema: used, force: true }));
    expect(emptied).not.toHaveProperty('data');
  });

  it('refuses managed fields in what is applied', () => {
    const error = expect(() => apply(undefined, foo({}, { managedFields: [] })));
    error.toThrow(ApplyInvalidError);
    error.toThrow('metadata.managedFields must be nil');
  });

  it('says which field the schema does not know', () => {
    expect(() => apply(undefined, foo({ strr: 'a' }))).toThrow(
      'failed to create typed patch object (t/f; e.x/v1, Kind=Foo): .spec.strr: field not declared in schema',
    );
  });

  it('takes what is typed by nothing but itself', () => {
    const live = apply(undefined, foo({ deep: { list: [1, 2], map: { a: 1 } } }), { schema: undefined });
    expect(entries(live)[0]?.fieldsV1).toEqual({
      'f:spec': { '.': {}, 'f:deep': { '.': {}, 'f:list': {}, 'f:map': { '.': {}, 'f:a': {} } } },
    });
    const other = conflictsOf(() =>
      apply(live, foo({ deep: { list: [1] } }), { schema: undefined, manager: 'o' }),
    );
    expect(other.conflicts.map(({ field }) => field)).toEqual(['.spec.deep.list']);
  });

  it('gives fields without an owner to before-first-apply', () => {
    const live = apply(configMap({ a: '1' }, { uid: 'u', resourceVersion: '1' }), configMap({ b: '2' }), {
      schema: builtin('v1', 'ConfigMap'),
    });
    expect(
      entries(live).map(({ manager, operation, fieldsV1 }) => ({ manager, operation, fieldsV1 })),
    ).toEqual([
      { manager: 'm', operation: 'Apply', fieldsV1: { 'f:data': { 'f:b': {} } } },
      { manager: 'before-first-apply', operation: 'Update', fieldsV1: { 'f:data': { '.': {}, 'f:a': {} } } },
    ]);
  });

  it('lets kubectl take over what its client-side apply still says, and keeps the annotation current', () => {
    const used = builtin('v1', 'ConfigMap');
    const key = 'kubectl.kubernetes.io/last-applied-configuration';
    const before = configMap(
      { a: '1', b: '1' },
      { annotations: { [key]: JSON.stringify(configMap({ a: '1' })) } },
    );
    const live = trackUpdate({
      before: undefined,
      after: before,
      manager: 'kubectl-client-side-apply',
      schema: used,
      now: NOW,
      apiVersion: 'v1',
    });
    const taken = apply(live, configMap({ a: '2' }), { manager: 'kubectl', schema: used });
    expect(taken['data']).toEqual({ a: '2', b: '1' });
    const metadata = taken['metadata'] as { annotations: Record<string, string> };
    expect(metadata.annotations[key]).toBe(
      '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"c","namespace":"t"}}\n',
    );
    expect(
      conflictsOf(() => apply(live, configMap({ b: '2' }), { manager: 'kubectl', schema: used })).conflicts,
    ).toHaveLength(1);
  });
});

describe('trackUpdate', () => {
  it('forgets tracking when asked to, and stays silent after', () => {
    const live = apply(undefined, foo({ str: 'a' }));
    const reset = trackUpdate({
      before: live,
      after: foo({ str: 'a' }, { managedFields: [{}] }),
      manager: 'r',
      schema,
      now: NOW,
      apiVersion: 'e.x/v1',
    });
    expect(entries(reset)).toEqual([]);
    const next = trackUpdate({
      before: reset,
      after: foo({ str: 'b' }),
      manager: 'r',
      schema,
      now: NOW,
      apiVersion: 'e.x/v1',
    });
    expect(entries(next)).toEqual([]);
  });

  it('keeps the entries of the store when a client leaves them out', () => {
    const live = apply(undefined, foo({ str: 'a' }));
    const next = trackUpdate({
      before: live,
      after: foo({ str: 'a', num: 1 }),
      manager: 'u',
      schema,
      now: LATER,
      apiVersion: 'e.x/v1',
    });
    expect(entries(next).map(({ manager }) => manager)).toEqual(['m', 'u']);
  });

  it('leaves entries alone when nothing changes', () => {
    const live = apply(undefined, foo({ str: 'a' }));
    const next = trackUpdate({
      before: live,
      after: live,
      manager: 'u',
      schema,
      now: LATER,
      apiVersion: 'e.x/v1',
    });
    expect(next).toEqual(live);
  });
});

const word = fc.constantFrom('a', 'b', 'c', 'd');
const specs = fc.record(
  {
    str: word,
    num: fc.integer({ min: 0, max: 3 }),
    gmap: fc.dictionary(word, word, { minKeys: 1 }),
    amap: fc.dictionary(word, word),
    alist: fc.array(word, { maxLength: 3 }),
    slist: fc.uniqueArray(word, { minLength: 1, maxLength: 3 }),
    mlist: fc.uniqueArray(fc.record({ name: word, v: word }), {
      selector: ({ name }) => name,
      minLength: 1,
      maxLength: 3,
    }),
    obj: fc.record({ a: word, deep: fc.record({ x: word }) }),
    any: fc.dictionary(word, fc.oneof(word, fc.dictionary(word, word, { minKeys: 1 })), { minKeys: 1 }),
  },
  { requiredKeys: [] },
);

/** Lists with identity may come back in another order. */
function unordered(object: ObjectFields): unknown {
  const spec = isRecord(object['spec']) ? { ...object['spec'] } : {};
  for (const key of ['slist', 'mlist']) {
    if (Array.isArray(spec[key])) spec[key] = spec[key].map((item) => JSON.stringify(item)).sort();
  }
  return spec;
}

describe('laws of server-side apply', () => {
  it('applying twice is applying once', () => {
    fc.assert(
      fc.property(specs, specs, (one, two) => {
        const live = apply(apply(undefined, foo(one)), foo(two), { manager: 'o', force: true });
        expect(apply(live, foo(two), { manager: 'o', now: LATER })).toBe(live);
      }),
    );
  });

  it('what one manager adds and then drops leaves the object of the other', () => {
    fc.assert(
      fc.property(specs, specs, (mine, theirs) => {
        const live = apply(undefined, foo(mine));
        let both: ObjectFields;
        try {
          both = apply(live, foo(theirs), { manager: 'o' });
        } catch (error) {
          expect(error).toBeInstanceOf(ApplyConflictError);
          return;
        }
        const back = apply(both, foo(undefined), { manager: 'o' });
        expect(unordered(back)).toEqual(unordered(live));
        expect(entries(back).map(({ manager, fieldsV1 }) => ({ manager, fieldsV1 }))).toEqual(
          entries(live).map(({ manager, fieldsV1 }) => ({ manager, fieldsV1 })),
        );
      }),
    );
  });

  it('after a forced apply every applied field has the applied value', () => {
    fc.assert(
      fc.property(specs, specs, (one, two) => {
        const live = apply(apply(undefined, foo(one)), foo(two), { manager: 'o', force: true });
        const only = apply(live, foo(undefined));
        expect(unordered(only)).toEqual(unordered(foo(two)));
      }),
    );
  });

  it('leaves its inputs as they were', () => {
    fc.assert(
      fc.property(specs, specs, (one, two) => {
        const live = apply(undefined, foo(one));
        const applied = foo(two);
        const copies = structuredClone([live, applied]);
        apply(live, applied, { manager: 'o', force: true });
        expect([live, applied]).toEqual(copies);
      }),
    );
  });

  it('a single applier gets what it last applied', () => {
    fc.assert(
      fc.property(specs, specs, (one, two) => {
        const live = apply(apply(undefined, foo(one)), foo(two));
        expect(unordered(live)).toEqual(unordered(foo(two)));
        expect(withoutEntries(live)).toHaveProperty('metadata.name', 'f');
      }),
    );
  });
});
