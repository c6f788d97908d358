import { isRecord } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { describe, expect, it } from 'vitest';
import { CUSTOM_RESOURCE_DEFINITIONS } from '../resources.ts';
import { createFakeKubeApi } from '../testing/fake-api.ts';
import { customResourceDefinitions } from './definitions.ts';
import { installCrds } from './install.ts';

type Schema = Readonly<Record<string, unknown>>;

function version(kind: string): Schema {
  const definition = customResourceDefinitions().find(({ spec }) => {
    return isRecord(spec) && isRecord(spec['names']) && spec['names']['kind'] === kind;
  });
  const spec = definition?.['spec'] as { readonly versions: readonly Schema[] };
  return spec.versions[0] ?? {};
}

function at(schema: unknown, ...path: readonly string[]): Schema {
  return path.reduce<Schema>((inner, key) => inner[key] as Schema, schema as Schema);
}

function root(kind: string): Schema {
  return at(version(kind), 'schema', 'openAPIV3Schema', 'properties');
}

/** Every schema within a schema. */
function* walk(schema: Schema): Generator<Schema> {
  yield schema;
  const { properties, additionalProperties, items } = schema;
  for (const inner of [...Object.values(properties ?? {}), additionalProperties, items]) {
    if (isRecord(inner)) yield* walk(inner);
  }
}

describe('customResourceDefinitions', () => {
  it('are structural: a type everywhere, no references, no closed objects', () => {
    for (const { spec } of customResourceDefinitions()) {
      const [{ schema }] = at(spec, 'versions') as unknown as [Schema];
      for (const inner of walk(at(schema, 'openAPIV3Schema'))) {
        expect(inner['type']).toEqual(expect.any(String));
        for (const key of ['$ref', '$schema', 'propertyNames', 'anyOf', 'const'])
          expect(inner).not.toHaveProperty(key);
        expect(inner['additionalProperties']).not.toBe(false);
        if (isRecord(inner['properties'])) expect(inner).not.toHaveProperty('additionalProperties');
      }
    }
  });

  it('keep defaults, patterns and descriptions of the zod schemas', () => {
    const spec = at(root('OCIRepository'), 'spec');
    expect(at(spec, 'properties', 'timeout')).toMatchObject({ default: '60s', type: 'string' });
    expect(at(spec, 'properties', 'url')['pattern']).toBe(String.raw`^oci:\/\/.*$`);
    expect(spec['required']).toEqual(['url', 'interval']);
    expect(at(root('Kustomization'), 'spec', 'properties', 'force')['default']).toBe(false);
  });

  it('keep what is in free-form fields, and merge conditions by type', () => {
    const spec = at(root('WorkloadProfile'), 'spec', 'properties');
    expect(spec['parameters']).toMatchObject({
      type: 'object',
      'x-kubernetes-preserve-unknown-fields': true,
    });
    const conditions = at(root('WorkloadDeployment'), 'status', 'properties', 'conditions');
    expect(conditions).toMatchObject({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
    });
  });

  it('have the columns, short names and first status of Flux', () => {
    const columns = version('OCIRepository')['additionalPrinterColumns'] as readonly Schema[];
    expect(columns.map(({ name }) => name)).toEqual(['URL', 'Ready', 'Status', 'Age']);
    expect(root('Kustomization')['status']).toMatchObject({ default: { observedGeneration: -1 } });
    expect(version('OCIRepository')['subresources']).toEqual({ status: {} });
  });
});

describe('installCrds', () => {
  it('waits until every definition is established, and says which are not', async () => {
    const clock = new FakeClock();
    const api = createFakeKubeApi({ clock });
    const failing = expect(installCrds(api, { clock, timeoutMs: 1000 })).rejects.toThrow('spokes.mural.dev');
    await clock.advance(2000);
    await failing;
    const conditions = [{ type: 'Established', status: 'True' }];
    for (const { metadata } of api.stored(CUSTOM_RESOURCE_DEFINITIONS)) {
      const ref = { name: metadata.name ?? '' };
      await api.patch(
        CUSTOM_RESOURCE_DEFINITIONS,
        ref,
        'merge',
        { status: { conditions } },
        { subresource: 'status' },
      );
    }
    await installCrds(api, { clock });
  });
});
