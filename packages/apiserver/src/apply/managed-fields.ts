import { isRecord } from '@mural/core';
import type { ManagedFieldsEntry } from '@mural/kube';
import { omit } from '../schema/types.ts';
import type { Fields } from './atoms.ts';
import { difference, type FieldSet, isEmptySet, parseFieldsV1, toFieldsV1, union } from './field-set.ts';

/** Who writes: one entry of `metadata.managedFields` without what it owns. */
export interface Manager {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string | undefined;
}

/** A manager with what it owns. */
export interface Ownership extends Manager {
  readonly set: FieldSet;
  /** RFC 3339, to the second. */
  readonly time: string | undefined;
}

/** All managers of an object by {@link managerId}. */
export type Ownerships = ReadonlyMap<string, Ownership>;

/**
 * What tells managers apart. An applier stays the same when it moves to another version of the API,
 * an updater does not.
 */
export function managerId(manager: Manager): string {
  const version = manager.operation === 'Apply' ? '' : manager.apiVersion;
  return JSON.stringify([manager.manager, manager.operation, version, manager.subresource ?? '']);
}

/** The managed fields of an object; entries that cannot be read are left out. */
export function decodeOwnerships(object: Fields | undefined): Map<string, Ownership> {
  const ownerships = new Map<string, Ownership>();
  for (const entry of entriesOf(object) ?? []) {
    const ownership = decodeEntry(entry);
    if (ownership === undefined) continue;
    const id = managerId(ownership);
    const known = ownerships.get(id);
    ownerships.set(
      id,
      known === undefined ? ownership : { ...ownership, set: union(known.set, ownership.set) },
    );
  }
  return ownerships;
}

/** `metadata.managedFields` as it stands in an object. */
export function entriesOf(object: Fields | undefined): readonly unknown[] | undefined {
  const metadata = object?.['metadata'];
  const entries = isRecord(metadata) ? metadata['managedFields'] : undefined;
  return Array.isArray(entries) ? (entries as unknown[]) : undefined;
}

/** Entries are never changed in place, so what was read of one stays right as long as it lives. */
const decoded = new WeakMap<object, Ownership>();

function decodeEntry(entry: unknown): Ownership | undefined {
  if (!isRecord(entry)) return undefined;
  const known = decoded.get(entry);
  if (known !== undefined) return known;
  const { manager, operation, apiVersion, subresource, time, fieldsV1 } = entry;
  if (operation !== 'Apply' && operation !== 'Update') return undefined;
  const set = parseFieldsV1(fieldsV1);
  if (isEmptySet(set)) return undefined;
  const ownership: Ownership = {
    manager: typeof manager === 'string' ? manager : '',
    operation,
    apiVersion: typeof apiVersion === 'string' ? apiVersion : '',
    subresource: typeof subresource === 'string' && subresource !== '' ? subresource : undefined,
    time: typeof time === 'string' ? time : undefined,
    set,
  };
  decoded.set(entry, ownership);
  return ownership;
}

/** The entries in the API's order: appliers first, then by time, manager, version, subresource. */
export function encodeOwnerships(ownerships: Ownerships): ManagedFieldsEntry[] {
  return [...ownerships.values()].sort(compareOwnerships).map(encodeEntry);
}

const encoded = new WeakMap<Ownership, ManagedFieldsEntry>();

function encodeEntry(ownership: Ownership): ManagedFieldsEntry {
  let entry = encoded.get(ownership);
  if (entry === undefined) {
    entry = {
      apiVersion: ownership.apiVersion,
      fieldsType: 'FieldsV1',
      fieldsV1: toFieldsV1(ownership.set),
      manager: ownership.manager,
      operation: ownership.operation,
      ...(ownership.subresource !== undefined && { subresource: ownership.subresource }),
      ...(ownership.time !== undefined && { time: ownership.time }),
    };
    encoded.set(ownership, entry);
    decoded.set(entry, ownership);
  }
  return entry;
}

function compareOwnerships(a: Ownership, b: Ownership): number {
  return (
    compareText(a.operation, b.operation) ||
    compareText(a.time ?? '', b.time ?? '') ||
    compareText(a.manager, b.manager) ||
    compareText(a.apiVersion, b.apiVersion) ||
    compareText(a.subresource ?? '', b.subresource ?? '')
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The object with these entries as its managed fields, or with none. */
export function withOwnerships(object: Fields, ownerships: Ownerships): Fields {
  const metadata = omit(isRecord(object['metadata']) ? object['metadata'] : {}, 'managedFields');
  const entries = encodeOwnerships(ownerships);
  if (entries.length > 0) metadata['managedFields'] = entries;
  return { ...object, metadata };
}

/** The object as ownership sees it: without its managed fields. */
export function withoutOwnerships(object: Fields): Fields {
  const metadata = object['metadata'];
  if (!isRecord(metadata) || !Object.hasOwn(metadata, 'managedFields')) return object;
  return { ...object, metadata: omit(metadata, 'managedFields') };
}

const LEAF: FieldSet = { member: true, children: undefined };
const META = [
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'clusterName',
  'generation',
  'managedFields',
  'resourceVersion',
];

/** What nobody owns: identity, and what the server alone writes. */
const SYSTEM_FIELDS: FieldSet = {
  member: false,
  children: new Map([
    ['f:apiVersion', LEAF],
    ['f:kind', LEAF],
    ['f:metadata', { member: true, children: new Map(META.map((name) => [`f:${name}`, LEAF])) }],
  ]),
};

/** The set without the fields that nobody owns. */
export function withoutSystemFields(set: FieldSet): FieldSet {
  return difference(set, SYSTEM_FIELDS);
}

/** At most this many updaters are told apart; older ones share an entry (`capmanagers.go`). */
const MAX_UPDATERS = 10;
const OLD_UPDATERS = 'ancient-changes';

/** Folds the oldest updaters of one version into one entry until there are few enough. */
export function capUpdaters(ownerships: Map<string, Ownership>): void {
  const updaters = [...ownerships.entries()].filter(([, owner]) => owner.operation === 'Update');
  let count = updaters.length;
  if (count <= MAX_UPDATERS) return;
  updaters.sort(([idA, a], [idB, b]) => compareText(a.time ?? '', b.time ?? '') || compareText(idA, idB));
  const firstOfVersion = new Map<string, string>();
  for (const [id, owner] of updaters) {
    if (count <= MAX_UPDATERS) return;
    const first = firstOfVersion.get(owner.apiVersion);
    if (first === undefined) {
      firstOfVersion.set(owner.apiVersion, id);
      continue;
    }
    const bucket: Manager = {
      manager: OLD_UPDATERS,
      operation: 'Update',
      apiVersion: owner.apiVersion,
      subresource: undefined,
    };
    const bucketId = managerId(bucket);
    const older = ownerships.get(bucketId) ?? ownerships.get(first);
    if (!ownerships.has(bucketId)) ownerships.delete(first);
    const set = older === undefined ? owner.set : union(owner.set, older.set);
    ownerships.delete(id);
    ownerships.set(bucketId, { ...bucket, set, time: owner.time });
    count--;
  }
}
