import { isRecord } from '@mural/core';
import { ApplyConflictError, ApplyInvalidError, conflictCause, serverSideApply } from '../apply/index.ts';
import type { Api } from '../api.ts';
import type { ObjectAnswer } from '../http/answer.ts';
import type { Body } from '../http/body.ts';
import { decodeObject, decodeValue, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import { flag } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { compact, withMeta } from '../objects.ts';
import { jsonPatch, mergePatch, PatchError, strategicMergePatch } from '../patch/index.ts';
import { toServed } from '../resources/convert.ts';
import type { ApiResource } from '../resources/types.ts';
import { groupVersion } from '../resources/types.ts';
import type { FieldError } from '../schema/index.ts';
import { ApiError, badRequest, conflict, invalid, notFound } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import { checkUnknown, warnUnenforced, typed, undecodable, unknownOf } from './admit.ts';
import { insert } from './create.ts';
import type { Write } from './options.ts';
import { writeOf } from './options.ts';
import { checkVersion, liveOf, update } from './update.ts';

const APPLY = 'application/apply-patch+yaml';
const JSON_PATCH = 'application/json-patch+json';
const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';

/** PATCH of an object or of its status, in any of the four ways. */
export async function patchObject(api: Api, request: ResourceRequest): Promise<ObjectAnswer> {
  const write = writeOf(api, request);
  const { resource } = request;
  const body = await readBody(request.message);
  if (body.mediaType === APPLY) return await applyObject(write, body);
  const patch = readPatch(body, resource);
  if (request.query.has('force')) {
    const error: FieldError = {
      field: 'force',
      type: 'Forbidden',
      detail: 'may not be specified for non-apply patch',
    };
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [error]);
  }
  const stored = await api.store.write((transaction) => patchLive(transaction, write, body, patch));
  return { type: 'object', status: 200, object: toServed(stored, resource), resource };
}

type Patch = (live: Stored) => Record<string, unknown>;

/** Reads a patch into a function on the live object. @throws ApiError `UnsupportedMediaType` */
export function readPatch(body: Body, resource: ApiResource): Patch {
  if (body.mediaType === JSON_PATCH) {
    const operations = decodeValue(body);
    return (live) => record(jsonPatch(live, operations));
  }
  if (body.mediaType === MERGE) {
    const patch = decodeObject(body);
    return (live) => record(mergePatch(live, patch));
  }
  const schema = resource.custom === undefined ? resource.schema() : undefined;
  if (body.mediaType === STRATEGIC && schema !== undefined) {
    const patch = decodeObject(body);
    return (live) => record(strategicMergePatch(live, patch, schema));
  }
  const accepted = [JSON_PATCH, MERGE, ...(resource.custom === undefined ? [STRATEGIC] : []), APPLY];
  throw new ApiError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );
}

function record(value: unknown): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new ApiError('Invalid', 'the server rejected our request due to an error in our request');
}

function patchLive(transaction: Transaction, write: Write, body: Body, patch: Patch): Stored {
  const { resource, info } = write.request;
  const live = liveOf(transaction, write.request);
  if (live === undefined) throw notFound(resource, info.name);
  const patched = runPatch(() => patch(live));
  const sent = typed(patched, resource);
  if ((sent.metadata.name ?? '') !== info.name) {
    throw badRequest(
      `the name of the object (${sent.metadata.name ?? ''}) does not match the name on the URL (${info.name})`,
    );
  }
  const problem = undecodable(sent, resource);
  if (problem !== undefined) throw patchInvalid(problem, body);
  checkVersion(sent, live, resource, true);
  checkPatchedFields(sent, live, write, body);
  return update(transaction, write, live, sent);
}

/** Runs a patch and puts its failure into the words of the API. */
export function runPatch<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof PatchError) throw patchFailure(error);
    throw error;
  }
}

function patchFailure(error: PatchError): ApiError {
  if (error.code === 'BadRequest') return badRequest(error.message);
  return new ApiError('Invalid', error.message, {});
}

/** As `checkUnknown`, in the words that patches get; what was stored before is not complained about. */
function checkPatchedFields(sent: Stored, live: Stored, write: Write, body: Body): void {
  if (write.validation === 'Ignore') return;
  const { resource } = write.request;
  const known = new Set(unknownOf(live, resource));
  const unknown = unknownOf(sent, resource).filter((field) => !known.has(field));
  if (unknown.length === 0) return;
  if (write.validation === 'Warn') {
    for (const field of unknown) write.request.warn(`unknown field "${field}"`);
    return;
  }
  const list = unknown.map((field) => `unknown field "${field}"`).join(', ');
  throw patchInvalid(`strict decoding error: ${list}`, body);
}

function patchInvalid(detail: string, body: Body): ApiError {
  const badValue = body.bytes.toString('utf8');
  return invalid({ group: '', kind: '' }, '', [{ field: 'patch', type: 'Invalid', detail, badValue }]);
}

/** Server-side apply: creates the object when it is not there. */
async function applyObject(write: Write, body: Body): Promise<ObjectAnswer> {
  const { request, api } = write;
  const { resource, info, query } = request;
  if ((query.get('fieldManager') ?? '') === '') {
    const error: FieldError = {
      field: 'fieldManager',
      type: 'Required',
      detail: 'is required for apply patch',
    };
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [error]);
  }
  const sent = appliedObject(decodeObject({ ...body, mediaType: 'application/yaml' }), request);
  warnUnenforced(write);
  if (resource.custom !== undefined || resource.schema() === undefined) checkUnknown(sent, write);
  let status = 200;
  const stored = await api.store.write((transaction) => {
    const live = liveOf(transaction, request);
    if (live === undefined && info.subresource !== '') throw notFound(resource, info.name);
    if (live !== undefined) checkVersion(sent, live, resource, true);
    else if ((sent.metadata.uid ?? '') !== '') {
      throw conflict(
        resource,
        info.name,
        `uid mismatch: the provided object specified uid ${sent.metadata.uid ?? ''}, and no existing object was found`,
      );
    }
    const merged = merge(live, withMeta(sent, { resourceVersion: undefined, uid: undefined }), write);
    if (live !== undefined) return update(transaction, write, live, merged, { tracked: true });
    status = 201;
    return insert(transaction, write, merged, { tracked: true });
  });
  return { type: 'object', status, object: toServed(stored, resource), resource };
}

function appliedObject(body: Record<string, unknown>, { resource, info }: ResourceRequest): Stored {
  const apiVersion = body['apiVersion'];
  if (apiVersion !== undefined && apiVersion !== groupVersion(resource)) {
    throw badRequest(
      `Incorrect version specified in apply patch. Specified patch version: ${JSON.stringify(apiVersion)}, ` +
        `expected: ${groupVersion(resource)}`,
    );
  }
  const sent = typed(body, resource);
  if ((sent.metadata.name ?? info.name) !== info.name) {
    throw badRequest(
      `the name of the object (${sent.metadata.name ?? ''}) does not match the name on the URL (${info.name})`,
    );
  }
  const namespace = resource.namespaced ? info.namespace : undefined;
  const given = sent.metadata.namespace ?? '';
  if (given !== '' && given !== (namespace ?? '')) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  return withMeta(sent, { name: info.name, namespace, creationTimestamp: undefined });
}

function merge(live: Stored | undefined, applied: Stored, write: Write): Stored {
  const { resource, info, query } = write.request;
  const status = resource.subresources.has('status');
  const ignore = info.subresource === 'status' ? ['spec'] : status ? ['status'] : [];
  try {
    const { object } = serverSideApply({
      live,
      applied: compact(applied),
      manager: write.manager,
      force: flag(query, 'force'),
      schema: resource.schema(),
      now: write.now,
      ignore,
      ...(info.subresource === '' ? {} : { subresource: info.subresource }),
    });
    return object as Stored;
  } catch (error) {
    throw applyFailure(error);
  }
}

function applyFailure(error: unknown): unknown {
  if (error instanceof ApplyConflictError) {
    const causes = error.conflicts.map((one) => ({
      reason: 'FieldManagerConflict',
      message: conflictCause(one),
      field: one.field,
    }));
    return new ApiError('Conflict', error.message, { causes });
  }
  if (error instanceof ApplyInvalidError) {
    return error.httpStatus === 400 ? badRequest(error.message) : new ApiError('Unknown', error.message);
  }
  return error;
}
