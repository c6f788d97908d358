import { isRecord } from '@mural/core';
import type { TypeSchema } from '../schema/types.ts';
import { type Fields, sameLeaf } from './atoms.ts';
import { type ApplyConflict, ApplyConflictError, ApplyInvalidError } from './errors.ts';
import {
  difference,
  EMPTY_SET,
  type FieldSet,
  intersection,
  isEmptySet,
  pathsOf,
  sameSet,
  union,
  withoutSubtrees,
} from './field-set.ts';
import { lastAppliedFields, withCurrentLastApplied } from './last-applied.ts';
import {
  capUpdaters,
  decodeOwnerships,
  encodeOwnerships,
  entriesOf,
  type Manager,
  managerId,
  type Ownership,
  withOwnerships,
  withoutOwnerships,
  withoutSystemFields,
} from './managed-fields.ts';
import { mergeObjects, removeAbandoned } from './merge.ts';
import { type Comparison, compareObjects, fieldSetOf } from './ownership.ts';
import { typingError } from './typed.ts';

/** An object as it comes from a client or from the store. */
export type ObjectFields = Fields;

/** What {@link serverSideApply} works on. */
export interface ApplyRequest {
  /** The stored object, or `undefined` when this creates it. */
  readonly live: ObjectFields | undefined;
  /** What the manager wants to hold, whole; without managed fields. */
  readonly applied: ObjectFields;
  readonly manager: string;
  /** Takes fields from their owners instead of failing. */
  readonly force: boolean;
  /** Without a schema, ownership is deduced: maps by key, lists as a whole. */
  readonly schema: TypeSchema | undefined;
  readonly subresource?: string | undefined;
  /**
   * Paths that the endpoint resets and so cannot be owned through it, such as `['status']` for the
   * main resource of a kind with a status subresource, or `['spec']` for its status.
   */
  readonly ignore?: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/**
 * Server-side apply as `structured-merge-diff` defines it: merges what is applied into the live
 * object, removes what the manager applied before and no longer does (unless somebody else owns
 * it), and records who owns what in `metadata.managedFields`. Neither input is changed. When
 * nothing changes, neither object nor managed fields do, times included.
 *
 * @throws {ApplyConflictError} when fields have another value and owner, and `force` is false.
 * @throws {ApplyInvalidError} when the applied object does not fit the schema or has managed fields.
 */
export function serverSideApply(request: ApplyRequest): { object: ObjectFields } {
  const { live, applied, schema } = request;
  checkApplied(applied, schema);
  const empty = emptyLike(applied);
  const before = live === undefined ? empty : withoutOwnerships(live);
  const owners = decodeOwnerships(live);
  if (owners.size === 0 && live !== undefined) adoptUnowned(before, empty, owners, request);
  try {
    return { object: apply(request, before, owners, request.force) };
  } catch (error) {
    // An object that `kubectl apply` made on the client's side moves over without conflicts.
    if (!(error instanceof ApplyConflictError) || request.manager !== 'kubectl') throw error;
    const allowed = new Set(pathsOf(lastAppliedFields(before, schema)));
    const left = error.conflicts.filter((conflict) => !allowed.has(conflict.field));
    if (left.length > 0) throw new ApplyConflictError(left);
    return { object: apply(request, before, owners, true) };
  }
}

function checkApplied(applied: ObjectFields, schema: TypeSchema | undefined): void {
  if (entriesOf(applied) !== undefined) {
    throw new ApplyInvalidError('BadRequest', 'metadata.managedFields must be nil');
  }
  const error = typingError(applied, schema);
  if (error === undefined) return;
  const metadata = isRecord(applied['metadata']) ? applied['metadata'] : {};
  const where = `${text(metadata['namespace'])}/${text(metadata['name'])}; ${text(applied['apiVersion'])}, Kind=${text(applied['kind'])}`;
  throw new ApplyInvalidError('InvalidObject', `failed to create typed patch object (${where}): ${error}`);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function emptyLike(object: ObjectFields): ObjectFields {
  return { apiVersion: object['apiVersion'], kind: object['kind'], metadata: {} };
}

/** Fields that nobody owned before the first apply belong to an updater of that name. */
function adoptUnowned(
  before: ObjectFields,
  empty: ObjectFields,
  owners: Map<string, Ownership>,
  request: ApplyRequest,
): void {
  const manager: Manager = { ...managerOf(request, 'Update'), manager: 'before-first-apply' };
  const set = withoutSystemFields(compareObjects(empty, before, request.schema).changed);
  if (!isEmptySet(set)) owners.set(managerId(manager), { ...manager, set, time: rfc3339(request.now) });
}

function managerOf(
  request: Pick<ApplyRequest, 'manager' | 'subresource'> & { readonly applied: ObjectFields },
  operation: 'Apply' | 'Update',
): Manager {
  return {
    manager: request.manager === '' ? 'unknown' : request.manager,
    operation,
    apiVersion: text(request.applied['apiVersion']),
    subresource: request.subresource === '' ? undefined : request.subresource,
  };
}

function apply(
  request: ApplyRequest,
  before: ObjectFields,
  known: ReadonlyMap<string, Ownership>,
  force: boolean,
): ObjectFields {
  const { applied, schema } = request;
  const ignored = ignoredPaths(request.ignore);
  const owners = new Map(known);
  const self = managerOf(request, 'Apply');
  const id = managerId(self);
  const last = owners.get(id);
  const whole = withoutSubtrees(fieldSetOf(applied, schema), ignored);
  const set = withoutSystemFields(whole);

  let after = mergeObjects(before, applied, schema);
  if (last !== undefined) {
    owners.set(id, { ...self, set: whole, time: last.time });
    after = removeAbandoned(after, last.set, ownedByAnyone(owners), schema);
  }
  owners.set(id, { ...self, set, time: last?.time });
  const comparison = ignoring(compareObjects(before, after, schema), ignored);
  takeOver(owners, id, comparison, force);
  if (isEmptySet(set)) owners.delete(id);

  const changed = !sameObject(before, after);
  if (changed && owners.has(id)) owners.set(id, { ...self, set, time: rfc3339(request.now) });
  if (!changed) after = before;
  if (request.manager === 'kubectl') after = withCurrentLastApplied(after, applied);
  if (after === before && request.live !== undefined && sameOwners(known, owners)) return request.live;
  return withOwnerships(after, owners);
}

/** Whether the objects are the same as the API stores them, where a null field is an absent one. */
function sameObject(a: unknown, b: unknown): boolean {
  if (a === b || (a ?? null) === (b ?? null)) return true;
  if (!isRecord(a) || !isRecord(b)) return sameLeaf(a, b);
  for (const key of Object.keys(a)) if (!sameObject(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (!Object.hasOwn(a, key) && (b[key] ?? null) !== null) return false;
  return true;
}

function sameOwners(a: ReadonlyMap<string, Ownership>, b: ReadonlyMap<string, Ownership>): boolean {
  if (a.size !== b.size) return false;
  for (const [id, owner] of a) {
    const other = b.get(id);
    if (other === undefined || other.apiVersion !== owner.apiVersion || !sameSet(owner.set, other.set))
      return false;
  }
  return true;
}

function ownedByAnyone(owners: ReadonlyMap<string, Ownership>): FieldSet {
  let all = EMPTY_SET;
  for (const owner of owners.values()) all = union(all, owner.set);
  return all;
}

/** Takes what changed away from everybody but `self`; a conflict when it may not be. */
function takeOver(
  owners: Map<string, Ownership>,
  self: string,
  comparison: Comparison,
  force: boolean,
): void {
  const conflicts: ApplyConflict[] = [];
  for (const id of [...owners.keys()].sort()) {
    const owner = owners.get(id);
    if (owner === undefined || id === self) continue;
    const taken = intersection(owner.set, comparison.changed);
    for (const field of force ? [] : pathsOf(taken)) conflicts.push(conflictOf(owner, field));
    const rest = difference(difference(owner.set, taken), comparison.removed);
    if (isEmptySet(rest)) owners.delete(id);
    else if (rest !== owner.set) owners.set(id, { ...owner, set: rest });
  }
  if (conflicts.length > 0) throw new ApplyConflictError(conflicts);
}

function conflictOf(owner: Ownership, field: string): ApplyConflict {
  return {
    manager: owner.manager,
    operation: owner.operation,
    apiVersion: owner.apiVersion,
    ...(owner.subresource !== undefined && { subresource: owner.subresource }),
    ...(owner.time !== undefined && { time: owner.time }),
    field,
  };
}

function ignoring(comparison: Comparison, paths: readonly (readonly string[])[]): Comparison {
  if (paths.length === 0) return comparison;
  return {
    changed: withoutSubtrees(comparison.changed, paths),
    removed: withoutSubtrees(comparison.removed, paths),
  };
}

function ignoredPaths(ignore: readonly string[] | undefined): readonly (readonly string[])[] {
  return (ignore ?? []).map((path) => path.split('.').map((name) => `f:${name}`));
}

/** A moment as `metadata.managedFields` writes it. */
function rfc3339(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`;
}

/** What {@link trackUpdate} works on. */
export interface UpdateRequest {
  /** The stored object, or `undefined` when this creates it. */
  readonly before: ObjectFields | undefined;
  /** The object as it is about to be stored. Its own managed fields, if it has any, are taken over. */
  readonly after: ObjectFields;
  readonly manager: string;
  readonly schema: TypeSchema | undefined;
  readonly subresource?: string | undefined;
  /** See {@link ApplyRequest.ignore}. */
  readonly ignore?: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The version of the API that the request used. */
  readonly apiVersion: string;
}

/**
 * The object of a create, update or patch with its managed fields brought up to date: the manager
 * owns what it changed, in addition to what it owned, and nobody else does. Neither input is
 * changed. A client that sends `managedFields: [{}]` switches tracking off for the object.
 */
export function trackUpdate(request: UpdateRequest): ObjectFields {
  const { before, schema } = request;
  const owners = currentOwners(request);
  const after = withoutOwnerships(request.after);
  if (owners.size === 0 && before !== undefined) return after;
  const old = before === undefined ? emptyLike(after) : withoutOwnerships(before);
  const comparison = ignoring(compareObjects(old, after, schema), ignoredPaths(request.ignore));
  const self: Manager = {
    ...managerOf({ ...request, applied: after }, 'Update'),
    apiVersion: request.apiVersion,
  };
  takeOver(owners, '', comparison, true);
  const taken = withoutSystemFields(comparison.changed);
  if (!isEmptySet(taken)) {
    const id = managerId(self);
    const held = owners.get(id);
    const set = held === undefined ? taken : union(taken, held.set);
    owners.set(id, { ...self, set, time: rfc3339(request.now) });
    capUpdaters(owners);
  }
  return unchanged(before, owners) && before !== undefined
    ? keepEntries(after, before)
    : withOwnerships(after, owners);
}

function unchanged(before: ObjectFields | undefined, owners: ReadonlyMap<string, Ownership>): boolean {
  return sameOwners(decodeOwnerships(before), owners);
}

/** The old entries as they were, so that a write that changes nothing is equal to what is stored. */
function keepEntries(after: ObjectFields, before: ObjectFields): ObjectFields {
  const metadata = isRecord(after['metadata']) ? after['metadata'] : {};
  return {
    ...after,
    metadata: { ...metadata, managedFields: entriesOf(before) ?? encodeOwnerships(new Map()) },
  };
}

/** Managed fields come from the request where it says anything about them, else from the store. */
function currentOwners(request: UpdateRequest): Map<string, Ownership> {
  const fromStore = (): Map<string, Ownership> => decodeOwnerships(request.before);
  if (request.subresource !== undefined && request.subresource !== '') return fromStore();
  const entries = entriesOf(request.after);
  if (entries !== undefined && isReset(entries)) return new Map();
  const sent = decodeOwnerships(request.after);
  return sent.size === 0 ? fromStore() : sent;
}

function isReset(entries: readonly unknown[]): boolean {
  const [first] = entries;
  return entries.length === 0 || (entries.length === 1 && isRecord(first) && Object.keys(first).length === 0);
}
