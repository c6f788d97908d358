/** Replays what a real kube-apiserver 1.36.3 said of objects: its messages are compared whole. */
import { readFileSync } from 'node:fs';
import { isRecord } from '@mural/core';
import { describe, expect, it } from 'vitest';
import {
  applyDefaults,
  builtinDefaults,
  builtinSchemas,
  compileCrdSchema,
  decodingError,
  formatFieldErrors,
  validate,
  validateBuiltin,
  validateCrd,
} from './index.ts';

interface Recording {
  readonly object: { apiVersion: string; kind: string; metadata: { name: string } } & Record<string, unknown>;
  readonly message: string | null;
}

const recorded = JSON.parse(readFileSync(new URL('generated/validations.json', import.meta.url), 'utf8')) as {
  readonly schema: unknown;
  readonly custom: readonly { spec: unknown; old?: unknown; message: string | null }[];
  readonly builtin: readonly Recording[];
  readonly definitions: readonly Recording[];
};

const title = (value: unknown): string => JSON.stringify(value).slice(0, 120);

describe('custom resources', () => {
  const schema = compileCrdSchema(recorded.schema);
  const object = (spec: unknown): unknown =>
    applyDefaults({ apiVersion: 'e.x/v1', kind: 'Val', metadata: { name: 'v' }, spec }, schema);
  it.each(recorded.custom.map((one) => ({ ...one, title: title(one.spec) })))(
    '$title',
    ({ spec, old, message }) => {
      const errors = validate(object(spec), schema, old === undefined ? undefined : object(old));
      expect(errors.length === 0 ? null : formatFieldErrors('Val.e.x', 'v', errors)).toBe(message);
    },
  );

  it('does not run rules without an old value that read one', () => {
    expect(validate(object({ ci: 2 }), schema)).toEqual([]);
    expect(validate(object({ ci: 2 }), schema, object({}))).toEqual([]);
  });

  it('follows items of map lists from one version to the next', () => {
    const rule = { rule: 'self.v >= oldSelf.v', message: 'must grow' };
    const item = {
      type: 'object',
      required: ['name'],
      properties: { name: { type: 'string' }, v: { type: 'integer' } },
      'x-kubernetes-validations': [rule],
    };
    const list = {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: item,
    };
    const used = compileCrdSchema({
      type: 'object',
      properties: { spec: { type: 'object', properties: { list } } },
    });
    const with_ = (...values: [string, number][]): unknown => ({
      spec: { list: values.map(([name, v]) => ({ name, v })) },
    });
    expect(validate(with_(['b', 5], ['a', 1]), used, with_(['a', 2], ['b', 1]))).toEqual([
      { field: 'spec.list[1]', type: 'Invalid', detail: 'must grow' },
    ]);
  });
});

describe('built-in kinds', () => {
  it.each(
    recorded.builtin.map((one) => ({
      ...one,
      title: `${one.object.kind} ${title(one.object['spec'] ?? one.object)}`,
    })),
  )('$title', ({ object, message }) => {
    const schema = builtinSchemas().schemaFor(object.apiVersion, object.kind);
    if (schema === undefined) throw new Error('no schema');
    const group = object.apiVersion.includes('/') ? `.${object.apiVersion.split('/')[0] ?? ''}` : '';
    const undecodable = decodingError(object, schema);
    const errors = undecodable === undefined ? validate(builtinDefaults(object), schema) : [];
    const found =
      errors.length === 0 ? null : formatFieldErrors(object.kind + group, object.metadata.name, errors);
    expect(undecodable ?? found).toBe(message);
  });

  it.each([
    null,
    [],
    'x',
    {},
    { apiVersion: 'v1', kind: 'Pod' },
    { apiVersion: 'v1', kind: 'Pod', spec: { containers: [null, 1, 'x'] } },
  ])('survives %j', (value) => {
    expect(Array.isArray(validateBuiltin(value))).toBe(true);
  });
});

describe('definitions of custom resources', () => {
  it.each(recorded.definitions.map((one) => ({ ...one, title: title(one.object['spec']) })))(
    '$title',
    ({ object, message }) => {
      const errors = validateCrd(builtinDefaults(object));
      const name = isRecord(object.metadata) ? object.metadata.name : '';
      expect(
        errors.length === 0
          ? null
          : formatFieldErrors('CustomResourceDefinition.apiextensions.k8s.io', name, errors),
      ).toBe(message);
    },
  );

  it('refuses rules that do not compile or give no truth', () => {
    const rules = ['self ===', 'foo.bar', '1 + 1'].map((rule) => ({ rule }));
    const openAPIV3Schema = { type: 'object', 'x-kubernetes-validations': rules };
    const spec = {
      group: 'e.example',
      names: { kind: 'X', plural: 'xs' },
      scope: 'Namespaced',
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } }],
    };
    const crd = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'xs.e.example' },
      spec,
    };
    const errors = validateCrd(builtinDefaults(crd));
    expect(errors.map(({ field }) => field)).toEqual(
      [0, 1, 2].map((index) => `spec.validation.openAPIV3Schema.x-kubernetes-validations[${index}].rule`),
    );
    expect(errors.every(({ detail }) => detail.startsWith('compilation failed: '))).toBe(true);
  });
});
