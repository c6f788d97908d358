import { describe, expect, it } from 'vitest';
import { builtinSchemas, compileCrdSchema, type TypeSchema } from '../schema/index.ts';
import { openApiV2, openApiV3, openApiV3Index, type ServedResource } from './index.ts';

function builtin(apiVersion: string, kind: string): TypeSchema {
  const schema = builtinSchemas().schemaFor(apiVersion, kind);
  if (schema === undefined) throw new Error(`no ${kind}`);
  return schema;
}

const deployments: ServedResource = {
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
  namespaced: true,
  schema: builtin('apps/v1', 'Deployment'),
};
const definitions: ServedResource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
  schema: builtin('apiextensions.k8s.io/v1', 'CustomResourceDefinition'),
};
const widgets: ServedResource = {
  group: 'shop.example.com',
  version: 'v1',
  kind: 'Widget',
  plural: 'widgets',
  namespaced: true,
  schema: compileCrdSchema({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: { size: { 'x-kubernetes-int-or-string': true, description: 'How big' } },
      },
    },
  }),
};

/** Every reference of a document leads somewhere. */
function strayReferences(document: object, prefix: string, names: object): string[] {
  const references = JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g);
  return [...references]
    .map(([, target = '']) => target)
    .filter((target) => !(target.slice(prefix.length) in names));
}

interface V3 {
  readonly paths: Record<
    string,
    Record<string, { parameters: { name: string }[]; 'x-kubernetes-action': string }>
  >;
  readonly components: { readonly schemas: Record<string, { properties: Record<string, unknown> }> };
}

describe('openApiV3', () => {
  it('describes the kinds of one group version and nothing else', () => {
    const { paths } = openApiV3('apps/v1', [deployments, widgets]) as V3;
    expect(Object.keys(paths)).toEqual([
      '/apis/apps/v1/namespaces/{namespace}/deployments',
      '/apis/apps/v1/namespaces/{namespace}/deployments/{name}',
    ]);
  });

  it('tells kubectl that the server validates fields and takes dry runs', () => {
    const { paths } = openApiV3('apps/v1', [deployments]) as V3;
    const patch = paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']?.['patch'];
    expect(patch?.parameters.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['fieldValidation', 'dryRun']),
    );
    expect(patch).toMatchObject({
      'x-kubernetes-action': 'patch',
      'x-kubernetes-group-version-kind': { group: 'apps', version: 'v1', kind: 'Deployment' },
    });
  });

  it.each([deployments, definitions, widgets])('leaves no reference open for $kind', (resource) => {
    const document = openApiV3(`${resource.group}/${resource.version}`, [resource]) as V3;
    expect(strayReferences(document, '#/components/schemas/', document.components.schemas)).toEqual([]);
  });

  it('says how fields merge and what they mean', () => {
    const { components } = openApiV3('apps/v1', [deployments]) as V3;
    expect(components.schemas['io.k8s.api.core.v1.PodSpec']?.properties['containers']).toMatchObject({
      type: 'array',
      description: expect.stringContaining('List of containers') as string,
      'x-kubernetes-list-map-keys': ['name'],
      'x-kubernetes-patch-merge-key': 'name',
      'x-kubernetes-patch-strategy': 'merge',
    });
  });

  it('names custom kinds by their reversed group', () => {
    const { components } = openApiV3('shop.example.com/v1', [widgets]) as V3;
    expect(components.schemas['com.example.shop.v1.Widget']).toMatchObject({
      'x-kubernetes-group-version-kind': [{ group: 'shop.example.com', version: 'v1', kind: 'Widget' }],
      properties: {
        spec: { properties: { size: { description: 'How big', 'x-kubernetes-int-or-string': true } } },
      },
    });
    expect(components.schemas).toHaveProperty(['com.example.shop.v1.WidgetList']);
  });
});

it('openApiV2 refers only to what it defines', () => {
  const document = openApiV2([deployments, definitions, widgets]) as { definitions: object };
  expect(strayReferences(document, '#/definitions/', document.definitions)).toEqual([]);
});

it('openApiV3Index says where the documents are, by their hash', () => {
  expect(openApiV3Index([{ path: 'apis/apps/v1', hash: 'A+B' }])).toEqual({
    paths: { 'apis/apps/v1': { serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=A%2BB' } },
  });
});
