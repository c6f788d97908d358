import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  difference,
  type FieldSet,
  intersection,
  isEmptySet,
  parseFieldsV1,
  pathsOf,
  sameSet,
  toFieldsV1,
  union,
  withoutSubtrees,
} from './field-set.ts';

const key = fc.oneof(
  fc.string({ minLength: 1 }).map((name) => `f:${name}`),
  fc.string().map((value) => `v:${JSON.stringify(value)}`),
  fc.string().map((value) => `k:{"name":${JSON.stringify(value)}}`),
  fc.nat(20).map((index) => `i:${index}`),
);
const { fields } = fc.letrec<{ fields: Record<string, unknown> }>((tie) => ({
  fields: fc
    .array(
      fc.tuple(
        key,
        fc.oneof(
          { maxDepth: 3 },
          fc.constant({}),
          tie('fields'),
          tie('fields').map((inner) => ({ '.': {}, ...inner })),
        ),
      ),
      { maxLength: 4 },
    )
    .map((pairs) => Object.fromEntries(pairs)),
}));
const sets = fields.map((fieldsV1): FieldSet => parseFieldsV1(fieldsV1));

describe('FieldsV1', () => {
  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(sets, (set) => {
        expect(sameSet(parseFieldsV1(JSON.parse(JSON.stringify(toFieldsV1(set)))), set)).toBe(true);
      }),
    );
  });

  it('sorts keys as the API does: the field itself, names, keyed items, values', () => {
    const set = parseFieldsV1({
      'f:l': { 'v:"b"': {}, 'v:"a"': {}, 'k:{"n":1}': {}, '.': {}, 'f:x': {} },
      'f:a': {},
    });
    expect(JSON.stringify(toFieldsV1(set))).toBe(
      '{"f:a":{},"f:l":{".":{},"f:x":{},"k:{\\"n\\":1}":{},"v:\\"a\\"":{},"v:\\"b\\"":{}}}',
    );
  });

  it('takes keyed items in any spelling', () => {
    const set = parseFieldsV1({ 'f:p': { 'k:{"protocol": "TCP", "port": 80}': {} } });
    expect(toFieldsV1(set)).toEqual({ 'f:p': { 'k:{"port":80,"protocol":"TCP"}': {} } });
    expect(pathsOf(set)).toEqual(['.p[port=80,protocol="TCP"]']);
  });

  it.each([[null], [[]], ['x'], [{ 'x:y': {} }], [{ 'f:a': 1 }], [{ 'k:{': {} }]])('survives %j', (value) => {
    expect(() => toFieldsV1(parseFieldsV1(value))).not.toThrow();
  });
});

describe('set algebra', () => {
  it('a set is the part that another has and the part that it has not', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        expect(sameSet(union(difference(a, b), intersection(a, b)), a)).toBe(true);
        expect(isEmptySet(intersection(difference(a, b), b))).toBe(true);
      }),
    );
  });

  it('unions are symmetric and idempotent', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        expect(sameSet(union(a, b), union(b, a))).toBe(true);
        expect(sameSet(union(a, a), a)).toBe(true);
        expect(isEmptySet(difference(a, union(a, b)))).toBe(true);
      }),
    );
  });

  it('takes whole branches away', () => {
    const set = parseFieldsV1({
      'f:status': { 'f:a': {} },
      'f:metadata': { 'f:labels': { 'f:a': {} }, 'f:annotations': {} },
    });
    expect(toFieldsV1(withoutSubtrees(set, [['f:status'], ['f:metadata', 'f:labels']]))).toEqual({
      'f:metadata': { 'f:annotations': {} },
    });
  });
});
