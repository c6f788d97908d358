import { jsonEqual } from '@mural/core';
import type { ManagedFieldsEntry } from '@mural/kube';
import type { Api } from '../api.ts';
import type { ObjectAnswer } from '../http/answer.ts';
import { decodeObject, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { omit, withMeta } from '../objects.ts';
import { toServed, toStored } from '../resources/convert.ts';
import { hasGeneration, prepareUpdate, startsGeneration } from '../resources/strategy.ts';
import type { ApiResource } from '../resources/types.ts';
import type { FieldError } from '../schema/index.ts';
import { badRequest, conflict, invalid, MODIFIED, notFound } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import { admitWrite, afterAdmission } from './admission.ts';
import { checkUnknown, checkValid, normalize, decoded } from './admit.ts';
import { insert, track } from './create.ts';
import type { Write } from './options.ts';
import { writeOf } from './options.ts';

/** Resources that a PUT may create. */
const CREATED_BY_UPDATE = new Set([
  'endpoints',
  'events',
  'limitranges',
  'services',
  'coordination.k8s.io/leases',
  'rbac.authorization.k8s.io/clusterroles',
  'rbac.authorization.k8s.io/clusterrolebindings',
  'rbac.authorization.k8s.io/roles',
  'rbac.authorization.k8s.io/rolebindings',
]);

/** Resources that are only replaced by who says which version he saw, beside the custom ones. */
const CONDITIONAL = new Set(['coordination.k8s.io/leases', 'apiextensions.k8s.io/customresourcedefinitions']);

/** PUT of an object or of its status. */
export async function replaceObject(api: Api, request: ResourceRequest): Promise<ObjectAnswer> {
  const write = writeOf(api, request);
  const { resource, info } = request;
  const sent = decoded(decodeObject(await readBody(request.message)), resource);
  checkUnknown(sent, write);
  checkPlace(sent, request);
  let status = 200;
  const stored = await api.store.write((transaction) => {
    const live = liveOf(transaction, request);
    if (live === undefined) {
      const upsert = info.subresource === '' && CREATED_BY_UPDATE.has(resource.storage);
      if (!upsert || (sent.metadata.uid ?? '') !== '') throw notFound(resource, info.name);
      status = 201;
      return insert(transaction, write, sent);
    }
    checkVersion(sent, live, resource);
    return update(transaction, write, live, sent);
  });
  return { type: 'object', status, object: toServed(stored, resource), resource };
}

/** The stored object that a request names, in the version of the request. */
export function liveOf(transaction: Transaction, request: ResourceRequest): Stored | undefined {
  const { resource, info } = request;
  const namespace = resource.namespaced ? info.namespace : '';
  const stored = transaction.get(resource.storage, namespace, info.name);
  return stored === undefined ? undefined : toServed(stored, resource);
}

function checkPlace(sent: Stored, { info, resource }: ResourceRequest): void {
  const { name = '', namespace = '' } = sent.metadata;
  if (name === '') {
    const field: FieldError = { field: 'metadata.name', type: 'Required', detail: 'name must be provided' };
    throw invalid(resource, '', [field]);
  }
  if (name !== info.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${info.name})`);
  }
  const expected = resource.namespaced ? info.namespace : '';
  if (namespace !== '' && namespace !== expected) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

/** Optimistic locking: refuses an update based on a version that is no longer the current one. */
export function checkVersion(sent: Stored, live: Stored, resource: ApiResource, fromPatch = false): void {
  const name = live.metadata.name ?? '';
  const { uid = '', resourceVersion = '' } = sent.metadata;
  if (uid !== '' && uid !== live.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.metadata.uid ?? ''}`;
    throw conflict(resource, name, why);
  }
  if (resourceVersion !== '' && resourceVersion !== '0') {
    if (resourceVersion !== live.metadata.resourceVersion) throw conflict(resource, name, MODIFIED);
    return;
  }
  const conditional = resource.custom !== undefined || CONDITIONAL.has(resource.storage);
  if (conditional && !fromPatch) {
    const detail = 'must be specified for an update';
    throw invalid(resource, name, [
      { field: 'metadata.resourceVersion', type: 'Invalid', detail, badValue: 0 },
    ]);
  }
}

/** What kind of update it is: an apply has settled the managed fields itself. */
export interface UpdateOptions {
  readonly tracked?: boolean;
}

/**
 * Stores a changed object: what identifies it stays, its generation counts, a write that changes
 * nothing leaves the resourceVersion alone, and the last finalizer gone ends a deletion.
 */
export function update(
  transaction: Transaction,
  write: Write,
  live: Stored,
  sent: Stored,
  options: UpdateOptions = {},
): Stored {
  const { resource, info } = write.request;
  const given = sent.metadata.managedFields;
  const owners = options.tracked === true ? given : (given ?? live.metadata.managedFields);
  const prepared = prepareUpdate(keepIdentity(sent, live, resource), live, resource, info.subresource);
  let object = normalize(prepared, resource);
  object = withMeta(object, { managedFields: owners });
  if (startsGeneration(live, object, resource)) {
    object = withMeta(object, { generation: (live.metadata.generation ?? 0) + 1 });
  }
  admitWrite({ write, transaction, object, before: live });
  checkValid(object, resource, live);
  if (options.tracked !== true) object = track(object, live, write);
  const completed = afterAdmission(object, live, transaction, write);
  const stored = transaction.get(resource.storage, object.metadata.namespace ?? '', info.name);
  if (isUnchanged(live, completed)) return stored ?? live;
  const settled = toStored(completed, resource);
  if (write.dryRun) return settled;
  return isDone(settled)
    ? transaction.remove(resource.storage, settled)
    : transaction.put(resource.storage, settled);
}

/** Whether a deletion that was asked for has nothing left to wait for. */
export function isDone(object: Stored): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  if (deletionTimestamp === undefined || finalizers.length > 0 || deletionGracePeriodSeconds > 0)
    return false;
  const spec = object['spec'] as { readonly finalizers?: readonly string[] } | undefined;
  return object.kind !== 'Namespace' || object.apiVersion !== 'v1' || (spec?.finalizers ?? []).length === 0;
}

function keepIdentity(sent: Stored, live: Stored, resource: ApiResource): Stored {
  const { metadata } = live;
  return withMeta(sent, {
    name: metadata.name,
    namespace: metadata.namespace,
    uid: metadata.uid,
    creationTimestamp: metadata.creationTimestamp,
    resourceVersion: metadata.resourceVersion,
    generation: hasGeneration(resource) ? metadata.generation : undefined,
    generateName: sent.metadata.generateName ?? metadata.generateName,
    deletionTimestamp: metadata.deletionTimestamp,
    deletionGracePeriodSeconds: metadata.deletionGracePeriodSeconds,
  });
}

/** Equal but for the times of managed fields, as an update that changes nothing leaves it. */
function isUnchanged(before: Stored, after: Stored): boolean {
  return jsonEqual(timeless(before), timeless(after));
}

function timeless(object: Stored): Stored {
  const { managedFields } = object.metadata;
  if (managedFields === undefined) return object;
  const entries = managedFields.map((entry) => JSON.stringify(omit({ ...entry }, 'time')));
  const sorted = entries.sort().map((entry) => JSON.parse(entry) as ManagedFieldsEntry);
  return withMeta(object, { managedFields: sorted });
}
