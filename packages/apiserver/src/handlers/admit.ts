import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { finalizersAddedWhileDeleting, metadataErrors } from '../resources/metadata.ts';
import { immutableErrors, sizeErrors } from '../resources/strategy.ts';
import type { ApiResource } from '../resources/types.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import { groupVersion } from '../resources/types.ts';
import {
  applyDefaults,
  builtinDefaults,
  decodingError,
  prune,
  unknownFields,
  validate,
  validateBuiltin,
  validateCrd,
} from '../schema/index.ts';
import type { FieldError } from '../schema/index.ts';
import { badRequest, forbidden, invalid, notFound } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import type { Write } from './options.ts';

/**
 * Checks that a body is an object of the resource it was sent to.
 *
 * @throws ApiError `BadRequest`
 */
export function typed(body: Record<string, unknown>, resource: ApiResource): Stored {
  const expected = groupVersion(resource);
  const apiVersion = textOr(body['apiVersion'], expected);
  const kind = textOr(body['kind'], resource.kind);
  if (kind !== resource.kind) {
    throw badRequest(
      `${kind} in version "${shortVersion(apiVersion)}" cannot be handled as a ${resource.kind}: ` +
        `no kind "${kind}" is registered for version "${apiVersion}"`,
    );
  }
  if (apiVersion !== expected) {
    throw badRequest(
      `the API version in the data (${apiVersion}) does not match the expected API version (${expected})`,
    );
  }
  const metadata = isRecord(body['metadata']) ? body['metadata'] : {};
  return { ...body, apiVersion: expected, kind: resource.kind, metadata };
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

function shortVersion(apiVersion: string): string {
  return apiVersion.slice(apiVersion.indexOf('/') + 1);
}

/** Why an object cannot be read as its kind, if it cannot. */
export function undecodable(object: Stored, resource: ApiResource): string | undefined {
  const schema = resource.schema();
  return schema === undefined ? undefined : decodingError(object, schema);
}

/**
 * As {@link typed}, for whole objects: their fields have the types of their kind.
 *
 * @throws ApiError `BadRequest`
 */
export function decoded(body: Record<string, unknown>, resource: ApiResource): Stored {
  const object = typed(body, resource);
  const problem = undecodable(object, resource);
  if (problem !== undefined) throw badRequest(problem);
  return object;
}

/** Kinds that a cluster enforces by machinery which the embedded API does not have. */
const UNENFORCED = new Set([
  'LimitRange',
  'MutatingAdmissionPolicy',
  'MutatingAdmissionPolicyBinding',
  'MutatingWebhookConfiguration',
  'ResourceQuota',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'ValidatingWebhookConfiguration',
]);

/** Says of an object that nothing here acts upon it, so that nobody takes a stored rule for one in force. */
export function warnUnenforced({ request }: Write): void {
  const { resource } = request;
  if (resource.custom !== undefined || !UNENFORCED.has(resource.kind)) return;
  request.warn(`the embedded API stores a ${resource.kind} but does not enforce it`);
}

/** Warns of fields that the schema does not know, or refuses them, as the request asks. */
export function checkUnknown(object: Stored, write: Write): void {
  if (write.validation === 'Ignore') return;
  const { resource } = write.request;
  const unknown = unknownOf(object, resource);
  if (unknown.length === 0) return;
  if (write.validation === 'Warn') {
    for (const field of unknown) write.request.warn(`unknown field "${field}"`);
    return;
  }
  const list = unknown.map((field) => `unknown field "${field}"`).join(', ');
  throw badRequest(
    `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ` +
      `strict decoding error: ${list}`,
  );
}

/** The fields of an object that its schema does not know. */
export function unknownOf(object: Stored, resource: ApiResource): string[] {
  const schema = resource.schema();
  return schema === undefined ? [] : unknownFields(object, schema);
}

/** The object without unknown fields and with defaults filled in. */
export function normalize(object: Stored, resource: ApiResource): Stored {
  const schema = resource.schema();
  if (schema === undefined) return object;
  const pruned = prune(object, schema);
  const defaulted: Stored = applyDefaults(pruned, schema);
  return resource.custom === undefined ? builtinDefaults(defaulted) : defaulted;
}

/** Refuses what is not acceptable as an object of its kind. @throws ApiError `Invalid` */
export function checkValid(object: Stored, resource: ApiResource, before: Stored | undefined): void {
  const errors = [...metadataErrors(object, resource), ...sizeErrors(object, resource)];
  const schema = resource.schema();
  if (schema !== undefined) errors.push(...unique(validate(object, schema, before), errors));
  if (resource.custom === undefined) errors.push(...unique(validateBuiltin(object), errors));
  if (resource.storage === CRD_STORAGE) errors.push(...unique(validateCrd(object), errors));
  if (before !== undefined) {
    errors.push(
      ...finalizersAddedWhileDeleting(before, object),
      ...immutableErrors(before, object, resource),
    );
  }
  if (errors.length > 0) throw invalid(resource, object.metadata.name ?? '', errors);
}

function unique(errors: readonly FieldError[], known: readonly FieldError[]): FieldError[] {
  return errors.filter(
    (error) => !known.some((other) => other.field === error.field && other.detail === error.detail),
  );
}

/** Refuses new content in a namespace that is not there or going away. */
export function checkNamespace(transaction: Transaction, resource: ApiResource, object: Stored): void {
  if (!resource.namespaced) return;
  const namespace = object.metadata.namespace ?? '';
  const found = transaction.get('namespaces', '', namespace);
  if (found === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
  if (found.metadata.deletionTimestamp === undefined) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const message = `namespace ${namespace} is being terminated`;
  throw forbidden(resource, object.metadata.name ?? '', why, [
    { reason: 'NamespaceTerminating', message, field: 'metadata.namespace' },
  ]);
}
