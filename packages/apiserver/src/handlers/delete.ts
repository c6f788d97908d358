import { rfc3339 } from '@mural/core';
import type { Api } from '../api.ts';
import { startCrdDeletion } from '../controllers/crd-status.ts';
import type { Answer, DocumentAnswer, ObjectAnswer } from '../http/answer.ts';
import { success } from '../http/answer.ts';
import { decodeObject, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { dig, digString, digStrings, setIn, withMeta } from '../objects.ts';
import { toServed } from '../resources/convert.ts';
import { fieldSelector } from '../resources/fields.ts';
import { labelMatcher } from '../resources/labels.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import { hasGeneration } from '../resources/strategy.ts';
import type { ApiResource } from '../resources/types.ts';
import { badRequest, conflict, forbidden, notFound } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import { isDone } from './update.ts';

/** `metav1.DeleteOptions`, from the body or the query. */
export interface DeleteRequest {
  readonly propagation: string;
  readonly gracePeriodSeconds: number | undefined;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly dryRun: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** DELETE of one object. */
export async function deleteObject(
  api: Api,
  request: ResourceRequest,
): Promise<DocumentAnswer | ObjectAnswer> {
  const { resource, info } = request;
  const options = await optionsOf(api, request);
  const namespace = resource.namespaced ? info.namespace : '';
  const { object, removed } = await api.store.write((transaction) => {
    const live = transaction.get(resource.storage, namespace, info.name);
    if (live === undefined) throw notFound(resource, info.name);
    return remove(transaction, resource, live, options);
  });
  if (!removed) return { type: 'object', status: 200, object: toServed(object, resource), resource };
  return success({
    name: info.name,
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.plural,
    uid: object.metadata.uid ?? '',
  });
}

/** POST to `pods/NAME/eviction`: a deletion that would respect disruption budgets, if pods ran here. */
export async function evictPod(api: Api, request: ResourceRequest): Promise<DocumentAnswer> {
  const { resource, info, query } = request;
  const sent = decodeObject(await readBody(request.message));
  const options = deleteRequest(api, dig(sent, 'deleteOptions') ?? {}, query);
  await api.store.write((transaction) => {
    const live = transaction.get(resource.storage, info.namespace, info.name);
    if (live === undefined) throw notFound(resource, info.name);
    return remove(transaction, resource, live, options);
  });
  return { ...success({}), status: 201 };
}

/** DELETE of a collection: everything that the selectors match. */
export async function deleteCollection(api: Api, request: ResourceRequest): Promise<Answer> {
  const { resource, info, query } = request;
  const options = await optionsOf(api, request);
  const labels = labelMatcher(query.get('labelSelector') ?? undefined);
  const fields = fieldSelector(query.get('fieldSelector') ?? undefined, resource);
  const namespace = resource.namespaced && info.namespace !== '' ? info.namespace : undefined;
  const items = await api.store.write((transaction) =>
    transaction
      .list(resource.storage, namespace)
      .filter((object) => labels(object.metadata.labels) && fields.matches(object))
      .map((object) => remove(transaction, resource, object, options).object),
  );
  return {
    type: 'list',
    resource,
    items: items.map((item) => toServed(item, resource)),
    metadata: { resourceVersion: String(api.store.revision) },
  };
}

async function optionsOf(api: Api, { message, query }: ResourceRequest): Promise<DeleteRequest> {
  const body = await readBody(message);
  return deleteRequest(api, body.bytes.length === 0 ? {} : decodeObject(body), query);
}

function deleteRequest(api: Api, sent: unknown, query: URLSearchParams): DeleteRequest {
  const propagation = digString(sent, 'propagationPolicy') || (query.get('propagationPolicy') ?? '');
  if (!['', 'Background', 'Foreground', 'Orphan'].includes(propagation)) {
    throw badRequest(`invalid propagationPolicy ${JSON.stringify(propagation)}`);
  }
  const grace = dig(sent, 'gracePeriodSeconds') ?? numberOf(query.get('gracePeriodSeconds'));
  const dryRuns = [...digStrings(sent, 'dryRun'), ...query.getAll('dryRun')];
  const orphan = dig(sent, 'orphanDependents') === true;
  return {
    propagation: propagation === '' && orphan ? 'Orphan' : propagation,
    gracePeriodSeconds: typeof grace === 'number' ? grace : undefined,
    uid: digString(sent, 'preconditions', 'uid'),
    resourceVersion: digString(sent, 'preconditions', 'resourceVersion'),
    dryRun: dryRuns.includes('All'),
    now: api.clock.now(),
  };
}

function numberOf(text: string | null): number | undefined {
  return text === null || text === '' ? undefined : Number(text);
}

/** What a deletion left: the object with its deletion under way, or its last state. */
export interface Removal {
  readonly object: Stored;
  readonly removed: boolean;
}

/** Deletes an object, or starts its deletion when something is to happen first. */
export function remove(
  transaction: Transaction,
  resource: ApiResource,
  live: Stored,
  options: DeleteRequest,
): Removal {
  checkPreconditions(resource, live, options);
  protect(resource, live);
  const grace = graceOf(resource, live, options);
  let next = live;
  if (live.metadata.deletionTimestamp === undefined) {
    next = withMeta(live, { finalizers: finalizersOf(live, options.propagation) });
    if (resource.storage === CRD_STORAGE) next = startCrdDeletion(next, options.now);
    if (waits(next, grace)) next = terminating(next, resource, grace, options.now);
    else return dispose(transaction, resource, next, options);
  } else if (grace < (live.metadata.deletionGracePeriodSeconds ?? 0)) {
    next = withMeta(live, { deletionGracePeriodSeconds: grace });
    if (isDone(next)) return dispose(transaction, resource, next, options);
  } else {
    return isDone(live) ? dispose(transaction, resource, live, options) : { object: live, removed: false };
  }
  return { object: options.dryRun ? next : transaction.put(resource.storage, next), removed: false };
}

function dispose(
  transaction: Transaction,
  resource: ApiResource,
  object: Stored,
  options: DeleteRequest,
): Removal {
  return { object: options.dryRun ? object : transaction.remove(resource.storage, object), removed: true };
}

function checkPreconditions(resource: ApiResource, live: Stored, options: DeleteRequest): void {
  const name = live.metadata.name ?? '';
  if (options.uid !== '' && options.uid !== live.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${live.metadata.uid ?? ''}`;
    throw conflict(resource, name, why);
  }
  if (options.resourceVersion !== '' && options.resourceVersion !== live.metadata.resourceVersion) {
    const why =
      `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ` +
      `ResourceVersion in object meta: ${live.metadata.resourceVersion ?? ''}`;
    throw conflict(resource, name, why);
  }
}

const PROTECTED = new Set(['default', 'kube-system', 'kube-public']);

function protect(resource: ApiResource, live: Stored): void {
  const name = live.metadata.name ?? '';
  if (resource.storage === 'namespaces' && PROTECTED.has(name)) {
    throw forbidden(resource, name, 'this namespace may not be deleted');
  }
}

/** Seconds that a deletion waits for somebody else: only pods that run on a node have any. */
function graceOf(resource: ApiResource, live: Stored, options: DeleteRequest): number {
  if (resource.storage !== 'pods' || digString(live, 'spec', 'nodeName') === '') return 0;
  if (['Succeeded', 'Failed'].includes(digString(live, 'status', 'phase'))) return 0;
  const own = dig(live, 'spec', 'terminationGracePeriodSeconds');
  return options.gracePeriodSeconds ?? (typeof own === 'number' ? own : 30);
}

function waits(object: Stored, grace: number): boolean {
  // A namespace goes when its controller has emptied it, even if it was finalized beforehand.
  const namespace = object.kind === 'Namespace' && object.apiVersion === 'v1';
  return (object.metadata.finalizers ?? []).length > 0 || grace > 0 || namespace;
}

function terminating(object: Stored, resource: ApiResource, grace: number, now: number): Stored {
  const generation = object.metadata.generation ?? 0;
  const marked = withMeta(object, {
    deletionTimestamp: rfc3339(now + grace * 1000),
    deletionGracePeriodSeconds: grace,
    ...(hasGeneration(resource) && generation > 0 ? { generation: generation + 1 } : {}),
  });
  if (resource.storage !== 'namespaces') return marked;
  return setIn(marked, ['status', 'phase'], 'Terminating') as Stored;
}

/** The garbage collector's finalizers stand for what is to become of dependents. */
function finalizersOf(live: Stored, propagation: string): string[] | undefined {
  const given = live.metadata.finalizers ?? [];
  if (propagation === '') return given.length === 0 ? undefined : [...given];
  const others = given.filter((name) => name !== 'orphan' && name !== 'foregroundDeletion');
  if (propagation === 'Orphan') others.push('orphan');
  if (propagation === 'Foreground') others.push('foregroundDeletion');
  return others.length === 0 ? undefined : others;
}
