import { omit } from '../schema/types.ts';
import { pathsOf } from './paths.ts';
import { SchemaCollector } from './schemas.ts';
import type { Document, ServedResource } from './types.ts';

/** What the documents are about. */
const INFO = { title: 'Kubernetes', version: 'v1' };

/**
 * The document at `/openapi/v3`: where those of the group versions are.
 *
 * @param groupVersions `path` as in `api/v1` or `apis/apps/v1`; `hash` changes with the document, so
 *   that clients can keep it
 */
export function openApiV3Index(
  groupVersions: readonly { readonly path: string; readonly hash: string }[],
): object {
  return {
    paths: Object.fromEntries(
      groupVersions.map(({ path, hash }) => [
        path,
        { serverRelativeURL: `/openapi/v3/${path}?hash=${encodeURIComponent(hash)}` },
      ]),
    ),
  };
}

/**
 * The OpenAPI 3 document of one group version: the schemas of its resources with what
 * `kubectl explain` and server-side validation read.
 *
 * @param groupVersion `v1` or `apps/v1`; resources of others are left out
 */
export function openApiV3(groupVersion: string, resources: readonly ServedResource[]): object {
  const collector = new SchemaCollector('v3');
  const paths: Document = {};
  for (const resource of resources) {
    const own = resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
    if (own === groupVersion)
      Object.assign(paths, pathsOf(resource, collector.addResource(resource), collector));
  }
  return { openapi: '3.0.0', info: INFO, paths, components: { schemas: collector.schemas } };
}

/** The Swagger 2 document of all resources, for clients that know nothing newer. */
export function openApiV2(resources: readonly ServedResource[]): object {
  const collector = new SchemaCollector('v2');
  const paths: Document = {};
  for (const resource of resources) {
    const names = collector.addResource(resource);
    Object.assign(paths, swaggerPaths(pathsOf(resource, names, collector)));
  }
  return { swagger: '2.0', info: INFO, paths, definitions: collector.schemas };
}

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

/** The same paths without what Swagger 2 writes otherwise: bodies and the schemas of answers. */
function swaggerPaths(paths: Document): Document {
  return Object.fromEntries(
    Object.entries(paths).map(([path, item]) => {
      const operations = item as Record<string, Document>;
      const kept = METHODS.filter((method) => operations[method] !== undefined).map((method) => {
        const { parameters, ...rest } = omit(operations[method] ?? {}, 'requestBody', 'responses');
        return [
          method,
          { ...rest, parameters: swaggerParameters(parameters), responses: { '200': { description: 'OK' } } },
        ];
      });
      return [path, { ...Object.fromEntries(kept), parameters: swaggerParameters(operations['parameters']) }];
    }),
  );
}

function swaggerParameters(parameters: unknown): Document[] {
  if (!Array.isArray(parameters)) return [];
  return (parameters as Document[]).map(({ schema, ...rest }) => ({ ...rest, ...(schema as Document) }));
}
