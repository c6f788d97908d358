import type { IncomingMessage } from 'node:http';
import type { User } from '../api.ts';
import type { ApiResource } from '../resources/types.ts';
import type { Resources } from '../resources/registry.ts';
import { badRequest } from '../status.ts';

/** What a path and method ask for (`k8s.io/apiserver` `RequestInfo`). */
export interface RequestInfo {
  /** `get`, `list`, `watch`, `create`, …; the method in lower case for paths that are no resources. */
  readonly verb: string;
  readonly path: string;
  readonly isResource: boolean;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** One request, read and authenticated. */
export interface ApiRequest {
  readonly info: RequestInfo;
  readonly user: User;
  readonly query: URLSearchParams;
  readonly message: IncomingMessage;
  /** Aborts when the client goes away or the server stops. */
  readonly signal: AbortSignal;
  /** Adds a `Warning` header to the answer. */
  readonly warn: (text: string) => void;
}

/** A request for a resource that is served. */
export interface ResourceRequest extends ApiRequest {
  readonly resource: ApiResource;
}

const VERBS: Readonly<Record<string, string>> = {
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
};

/** Reads what a request asks for from its method, path and query. */
export function requestInfo(method: string, path: string, query: URLSearchParams): RequestInfo {
  const segments = decodeSegments(path);
  const plain: RequestInfo = {
    verb: method.toLowerCase(),
    path,
    isResource: false,
    group: '',
    version: '',
    plural: '',
    subresource: '',
    namespace: '',
    name: '',
  };
  const core = segments[0] === 'api';
  if (!core && segments[0] !== 'apis') return plain;
  const rest = segments.slice(core ? 2 : 3);
  if (rest.length === 0) return plain;
  const place = placeOf(rest);
  if (place === undefined) return plain;
  return {
    ...place,
    path,
    isResource: true,
    group: core ? '' : (segments[1] ?? ''),
    version: (core ? segments[1] : segments[2]) ?? '',
    verb: verbOf(method, place.name, query),
  };
}

function decodeSegments(path: string): string[] {
  try {
    return path
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
  } catch {
    throw badRequest('the path is not well encoded');
  }
}

type Place = Pick<RequestInfo, 'plural' | 'subresource' | 'namespace' | 'name'>;

function placeOf(segments: readonly string[]): Place | undefined {
  const [first = '', second = '', third = '', ...rest] = segments;
  if (first === 'namespaces' && third !== '' && third !== 'status' && third !== 'finalize') {
    const [name = '', subresource = '', ...more] = rest;
    if (more.length > 0) return undefined;
    return { plural: third, namespace: second, name, subresource };
  }
  if (rest.length > 0) return undefined;
  // The verbs on a namespace itself count as being in it (RequestInfoFactory).
  const namespace = first === 'namespaces' ? second : '';
  return { plural: first, name: second, subresource: third, namespace };
}

function verbOf(method: string, name: string, query: URLSearchParams): string {
  if (method === 'GET' || method === 'HEAD') {
    const watch = query.get('watch');
    if (watch === 'true' || watch === '1') return 'watch';
    return name === '' ? 'list' : 'get';
  }
  if (method === 'DELETE') return name === '' ? 'deletecollection' : 'delete';
  return VERBS[method] ?? method.toLowerCase();
}

/** The resource that a request names, if it is served at that place. */
export function resourceOf(info: RequestInfo, resources: Resources): ApiResource | undefined {
  const resource = resources.find(info.group, info.version, info.plural);
  if (resource === undefined) return undefined;
  if (info.subresource !== '' && !resource.subresources.has(info.subresource)) return undefined;
  if (!resource.namespaced && info.namespace !== '' && resource.plural !== 'namespaces') return undefined;
  const needsNamespace = info.name !== '' || info.verb === 'create' || info.verb === 'deletecollection';
  if (resource.namespaced && info.namespace === '' && needsNamespace && !isReview(resource)) return undefined;
  return resource;
}

/** Reviews are created without a namespace in spite of what discovery says of some. */
function isReview(resource: ApiResource): boolean {
  return resource.group === 'authorization.k8s.io' && !resource.namespaced;
}

/** Whether a query parameter is set to a true value, as Go's `strconv.ParseBool` reads it. */
export function flag(query: URLSearchParams, name: string): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(query.get(name) ?? '');
}
