import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { digList, digString } from '../objects.ts';
import type { FieldError } from '../schema/index.ts';
import { labelValue, type NameRule, nameRuleOf, qualifiedName } from './names.ts';
import type { ApiResource } from './types.ts';

/** All annotations of an object together, in bytes. */
const ANNOTATIONS_LIMIT = 262_144;

/** What is wrong with the metadata of an object (`validation.ValidateObjectMeta`). */
export function metadataErrors(object: Stored, resource: ApiResource): FieldError[] {
  const { metadata } = object;
  return [
    ...nameErrors(metadata.name ?? '', nameRuleOf(resource.storage), 'metadata.name'),
    ...labelErrors(metadata.labels),
    ...annotationErrors(metadata.annotations),
    ...finalizerErrors(metadata.finalizers),
    ...ownerErrors(object),
  ];
}

/** One error for each way in which a value breaks a rule. */
function wrong(field: string, badValue: string, details: readonly string[]): FieldError[] {
  return details.map((detail) => ({ field, type: 'Invalid', detail, badValue }));
}

function nameErrors(name: string, rule: NameRule, field: string): FieldError[] {
  if (name === '') return [{ field, type: 'Required', detail: 'name or generateName is required' }];
  return wrong(field, name, rule(name));
}

function labelErrors(labels: unknown): FieldError[] {
  const field = 'metadata.labels';
  if (labels === undefined) return [];
  return stringEntries(labels).flatMap(([key, value]) => [
    ...wrong(field, key, qualifiedName(key)),
    ...wrong(field, value, labelValue(value)),
  ]);
}

function annotationErrors(annotations: unknown): FieldError[] {
  const field = 'metadata.annotations';
  if (annotations === undefined) return [];
  const entries = stringEntries(annotations);
  const size = entries.reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  const keys = entries.flatMap(([key]) => wrong(field, key, qualifiedName(key.toLowerCase())));
  if (size <= ANNOTATIONS_LIMIT) return keys;
  return [...keys, { field, type: 'TooLong', detail: `may not be more than ${ANNOTATIONS_LIMIT} bytes` }];
}

function stringEntries(map: unknown): [string, string][] {
  if (!isRecord(map)) return [];
  return Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}

function finalizerErrors(finalizers: readonly string[] | undefined): FieldError[] {
  const field = 'metadata.finalizers';
  const errors: FieldError[] = [];
  for (const name of finalizers ?? []) errors.push(...wrong(field, name, qualifiedName(name)));
  if (finalizers?.includes('orphan') === true && finalizers.includes('foregroundDeletion')) {
    const detail = 'finalizer orphan and finalizer foregroundDeletion are mutually exclusive';
    errors.push({ field, type: 'Invalid', detail, badValue: finalizers });
  }
  return errors;
}

function ownerErrors(object: Stored): FieldError[] {
  const errors: FieldError[] = [];
  const owners = digList(object, 'metadata', 'ownerReferences');
  owners.forEach((owner, index) => {
    for (const key of ['apiVersion', 'kind', 'name', 'uid']) {
      if (digString(owner, key) !== '') continue;
      const field = `metadata.ownerReferences[${index}].${key}`;
      errors.push({ field, type: 'Invalid', detail: `${key} must not be empty`, badValue: '' });
    }
  });
  const controllers = owners.filter((owner) => isRecord(owner) && owner['controller'] === true);
  if (controllers.length > 1) {
    errors.push({
      field: 'metadata.ownerReferences',
      type: 'Invalid',
      detail: 'Only one reference can have Controller set to true',
      badValue: owners,
    });
  }
  return errors;
}

/** What may not change in metadata while an object is being deleted. */
export function finalizersAddedWhileDeleting(before: Stored, after: Stored): FieldError[] {
  if (before.metadata.deletionTimestamp === undefined) return [];
  const old = new Set(before.metadata.finalizers);
  const added = (after.metadata.finalizers ?? []).filter((name) => !old.has(name));
  if (added.length === 0) return [];
  const found = `[]string{${added.map((name) => JSON.stringify(name)).join(', ')}}`;
  const detail = `no new finalizers can be added if the object is being deleted, found new finalizers ${found}`;
  return [{ field: 'metadata.finalizers', type: 'Forbidden', detail }];
}
