import { KubeError } from '../errors.ts';
import type { Resource } from '../objects.ts';

/** What a URL names below a resource. */
export interface PathParts {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** The path of a collection, an object or a subresource. A namespaced collection without namespace is all of them. */
export function resourcePath(resource: Resource, parts: PathParts = {}): string {
  const base =
    resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const segments: string[] = [];
  const namespace = parts.namespace ?? '';
  if (resource.namespaced && namespace !== '') segments.push('namespaces', namespace);
  segments.push(resource.plural);
  if (parts.name !== undefined) segments.push(parts.name);
  if (parts.subresource !== undefined) segments.push(parts.subresource);
  for (const segment of segments) checkSegment(segment);
  return `${base}/${segments.map(encodeURIComponent).join('/')}`;
}

/** The path of one object; a namespaced one must say its namespace. */
export function objectPath(resource: Resource, parts: PathParts): string {
  if (parts.name === undefined || parts.name === '') {
    throw new KubeError('BadRequest', `a ${resource.kind} needs a name`);
  }
  if (resource.namespaced && (parts.namespace === undefined || parts.namespace === '')) {
    throw new KubeError('BadRequest', `${resource.kind} "${parts.name}" needs a namespace`);
  }
  return resourcePath(resource, parts);
}

/** The query string of what is defined, with its question mark; empty when nothing is. */
export function queryString(query: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '' && value !== false) parameters.set(key, String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** `IsValidPathSegmentName` of Kubernetes. */
function checkSegment(segment: string): void {
  if (segment === '' || segment === '.' || segment === '..' || /[/%]/.test(segment)) {
    throw new KubeError('BadRequest', `"${segment}" cannot be part of a path of the API`);
  }
}
