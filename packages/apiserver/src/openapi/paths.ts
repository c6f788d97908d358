import type { SchemaCollector } from './schemas.ts';
import type { Document, ServedResource } from './types.ts';

/** The paths of a resource, enough for clients that look up what the server can do. */
export function pathsOf(
  resource: ServedResource,
  names: { readonly object: string; readonly list: string },
  collector: SchemaCollector,
): Document {
  const root = resource.group === '' ? '/api' : `/apis/${resource.group}`;
  const scope = resource.namespaced ? '/namespaces/{namespace}' : '';
  const collection = `${root}/${resource.version}${scope}/${resource.plural}`;
  const operation = operationsOf(resource);
  const object = answer(collector.reference(names.object));
  const list = answer(collector.reference(names.list));
  const body = { content: { '*/*': { schema: collector.reference(names.object) } }, required: true };
  const inPath = resource.namespaced ? [pathParameter('namespace')] : [];
  return {
    [collection]: {
      get: operation('list', { responses: list, parameters: LIST }),
      post: operation('post', { responses: object, requestBody: body, parameters: WRITE }),
      delete: operation('deletecollection', { responses: list, parameters: [DRY_RUN] }),
      parameters: inPath,
    },
    [`${collection}/{name}`]: {
      get: operation('get', { responses: object }),
      put: operation('put', { responses: object, requestBody: body, parameters: WRITE }),
      patch: operation('patch', {
        responses: object,
        requestBody: patchBody(resource),
        parameters: [...WRITE, query('force', 'boolean')],
      }),
      delete: operation('delete', { responses: object, parameters: [DRY_RUN] }),
      parameters: [pathParameter('name'), ...inPath],
    },
  };
}

function operationsOf({
  group,
  version,
  kind,
  plural,
}: ServedResource): (action: string, parts: Document) => Document {
  return (action, parts) => ({
    description: `${action} ${plural}`,
    operationId: `${action}-${group}-${version}-${plural}`,
    ...parts,
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': { group, version, kind },
  });
}

function answer(schema: Document): Document {
  return {
    '200': { description: 'OK', content: { 'application/json': { schema }, 'application/yaml': { schema } } },
    '401': { description: 'Unauthorized' },
  };
}

function patchBody({ schema }: ServedResource): Document {
  const strategic = schema.builtin === true ? ['application/strategic-merge-patch+json'] : [];
  const types = [
    'application/apply-patch+yaml',
    'application/json-patch+json',
    'application/merge-patch+json',
  ];
  return {
    content: Object.fromEntries(
      [...types, ...strategic].map((type) => [type, { schema: { type: 'object' } }]),
    ),
    required: true,
  };
}

function query(name: string, type = 'string'): Document {
  return { name, in: 'query', schema: { type, uniqueItems: true } };
}

function pathParameter(name: string): Document {
  return { name, in: 'path', required: true, schema: { type: 'string', uniqueItems: true } };
}

const DRY_RUN = query('dryRun');
const WRITE = [DRY_RUN, query('fieldManager'), query('fieldValidation')];
const LIST = [
  query('continue'),
  query('fieldSelector'),
  query('labelSelector'),
  query('limit', 'integer'),
  query('resourceVersion'),
  query('watch', 'boolean'),
];
