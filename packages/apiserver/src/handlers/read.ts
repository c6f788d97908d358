import type { Api } from '../api.ts';
import type { Answer, ObjectAnswer } from '../http/answer.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { toServed } from '../resources/convert.ts';
import { fieldSelector } from '../resources/fields.ts';
import { labelMatcher } from '../resources/labels.ts';
import type { FieldError } from '../schema/index.ts';
import { ApiError, badRequest, invalid, notFound } from '../status.ts';

/** GET of one object. */
export function getObject(api: Api, request: ResourceRequest): ObjectAnswer {
  const { resource, info } = request;
  const namespace = resource.namespaced ? info.namespace : '';
  const stored = api.store.get(resource.storage, namespace, info.name);
  if (stored === undefined) throw notFound(resource, info.name);
  return { type: 'object', status: 200, object: toServed(stored, resource), resource };
}

/** GET of a collection, whole or by pages. */
export function listObjects(api: Api, request: ResourceRequest): Answer {
  const { resource, query } = request;
  const labels = labelMatcher(query.get('labelSelector') ?? undefined);
  const fields = fieldSelector(query.get('fieldSelector') ?? undefined, resource);
  const page = pageOf(query, api.store.revision);
  checkFresh(page.revision, api);
  if (page.exact && page.revision < api.store.floor) throw expired(page, api);
  const namespace =
    resource.namespaced && request.info.namespace !== '' ? request.info.namespace : fields.namespace;
  const all = page.exact
    ? api.store.listAt(page.revision, resource.storage, namespace)
    : api.store.list(resource.storage, namespace);
  const rest = all.filter(
    (object) => keyOf(object) > page.after && labels(object.metadata.labels) && fields.matches(object),
  );
  const items = page.limit > 0 ? rest.slice(0, page.limit) : rest;
  const revision = page.exact ? page.revision : api.store.revision;
  const remaining = rest.length - items.length;
  return {
    type: 'list',
    resource,
    items: items.map((object) => toServed(object, resource)),
    metadata: {
      resourceVersion: String(revision),
      ...continuation(items.at(-1), remaining, revision, isSelective(query)),
    },
  };
}

function isSelective(query: URLSearchParams): boolean {
  return ['labelSelector', 'fieldSelector'].some((name) => (query.get(name) ?? '') !== '');
}

function continuation(
  last: Stored | undefined,
  remaining: number,
  revision: number,
  selective: boolean,
): Record<string, unknown> {
  if (last === undefined || remaining === 0) return {};
  const next = { continue: token(revision, keyOf(last)) };
  // Kubernetes leaves the count out where it would have to look at every object.
  return selective ? next : { ...next, remainingItemCount: remaining };
}

interface Page {
  readonly limit: number;
  /** The revision of the snapshot. */
  readonly revision: number;
  /** Whether it must be that revision, not a later one. */
  readonly exact: boolean;
  /** Objects up to this key were sent before. */
  readonly after: string;
}

function pageOf(query: URLSearchParams, current: number): Page {
  const limit = Number(query.get('limit') ?? 0);
  const version = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const continued = query.get('continue') ?? '';
  checkListOptions(version, match, continued);
  if (continued !== '') {
    const { revision, after } = readToken(continued);
    return { limit, revision: revision < 0 ? current : revision, exact: revision >= 0, after };
  }
  const revision = version === '' ? 0 : Number(version);
  if (!Number.isInteger(revision) || revision < 0) {
    throw invalidOption('resourceVersion', 'Invalid', 'strconv.ParseUint: invalid syntax', version);
  }
  const exact = match === 'Exact';
  return { limit, revision, exact, after: '' };
}

function checkListOptions(version: string, match: string, continued: string): void {
  if (match !== '' && match !== 'Exact' && match !== 'NotOlderThan') {
    throw invalidOption(
      'resourceVersionMatch',
      'NotSupported',
      'supported values: "Exact", "NotOlderThan"',
      match,
    );
  }
  if (match !== '' && continued !== '') {
    throw invalidOption(
      'resourceVersionMatch',
      'Forbidden',
      'resourceVersionMatch is forbidden when continue is provided',
    );
  }
  if (match !== '' && version === '') {
    throw invalidOption(
      'resourceVersionMatch',
      'Forbidden',
      'resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  }
  if (match === 'Exact' && version === '0') {
    throw invalidOption(
      'resourceVersionMatch',
      'Forbidden',
      'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
    );
  }
  if (continued !== '' && version !== '' && version !== '0') {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
}

/** 422 for an option of a list or watch. */
export function invalidOption(
  field: string,
  type: FieldError['type'],
  detail: string,
  badValue?: string,
): ApiError {
  const error = { field, type, detail, ...(badValue === undefined ? {} : { badValue }) };
  return invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', [error]);
}

/** Refuses a revision that was never given out. */
function checkFresh(revision: number, api: Api): void {
  if (revision <= api.store.revision) return;
  throw new ApiError('Timeout', `Too large resource version: ${revision}, current: ${api.store.revision}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

const INCONSISTENT =
  'The provided continue parameter is too old to display a consistent list result. You can start a new ' +
  'list without the continue parameter, or use the continue token in this response to retrieve the ' +
  'remainder of the results. Continuing with the provided token results in an inconsistent list - ' +
  'objects that were created, modified, or deleted between the time the first chunk was returned and ' +
  'now may show up in the list.';

function expired(page: Page, api: Api): ApiError {
  if (page.after === '') {
    return new ApiError('Expired', `The resourceVersion for the provided list is too old.`);
  }
  return new ApiError('Expired', INCONSISTENT, undefined, {
    resourceVersion: String(api.store.revision),
    continue: token(-1, page.after),
  });
}

function keyOf(object: Stored): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`;
}

function token(revision: number, after: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: after })).toString(
    'base64url',
  );
}

function readToken(text: string): { readonly revision: number; readonly after: string } {
  try {
    const { rv, start } = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<
      string,
      unknown
    >;
    if (typeof start === 'string' && typeof rv === 'number' && Number.isInteger(rv)) {
      return { revision: rv, after: start };
    }
  } catch {
    // Said below, in the same words for every kind of damage.
  }
  throw badRequest('continue key is not valid');
}
