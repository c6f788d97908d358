import {
  apiVersionOf,
  type InventoryEntry,
  type KubeObject,
  parseApiVersion,
  type UnstructuredObject,
} from '@mural/kube';

/** Which object is meant, whatever the version it is written in. */
export interface ObjectId {
  readonly namespace: string;
  readonly name: string;
  readonly group: string;
  readonly kind: string;
}

/** The id of an object as Flux's inventory writes it: `<namespace>_<name>_<group>_<kind>`. */
export function inventoryId(object: KubeObject): string {
  const { group } = parseApiVersion(object.apiVersion);
  // A colon is legal in RBAC names and not in ids (`object.ObjMetadata` of cli-utils writes `__`).
  const name = (object.metadata.name ?? '').replaceAll(':', '__');
  return `${object.metadata.namespace ?? ''}_${name}_${group}_${object.kind}`;
}

/** The entry of an object: its id, and the version it was applied in. */
export function inventoryEntry(object: KubeObject): InventoryEntry {
  return { id: inventoryId(object), v: parseApiVersion(object.apiVersion).version };
}

/** Reads an id; `undefined` when it is none. */
export function parseInventoryId(id: string): ObjectId | undefined {
  const first = id.indexOf('_');
  const last = id.lastIndexOf('_');
  const group = id.lastIndexOf('_', last - 1);
  if (first < 0 || group <= first) return undefined;
  return {
    namespace: id.slice(0, first),
    name: id.slice(first + 1, group).replaceAll('__', ':'),
    group: id.slice(group + 1, last),
    kind: id.slice(last + 1),
  };
}

/** The bare object that an entry stands for; `undefined` for an entry that cannot be read. */
export function objectOfEntry(entry: InventoryEntry): UnstructuredObject | undefined {
  const id = parseInventoryId(entry.id);
  if (id === undefined) return undefined;
  return {
    apiVersion: apiVersionOf({ group: id.group, version: entry.v }),
    kind: id.kind,
    metadata: { name: id.name, ...(id.namespace === '' ? {} : { namespace: id.namespace }) },
  };
}

/** All entries of both, once each and sorted; the version of `next` wins. */
export function mergeInventories(
  next: readonly InventoryEntry[],
  before: readonly InventoryEntry[],
): InventoryEntry[] {
  const merged = new Map(before.map((entry) => [entry.id, entry]));
  for (const entry of next) merged.set(entry.id, entry);
  return [...merged.values()].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** Entries of `before` that `next` has no more: what pruning looks at. */
export function staleEntries(
  next: readonly InventoryEntry[],
  before: readonly InventoryEntry[],
): InventoryEntry[] {
  const ids = new Set(next.map(({ id }) => id));
  return before.filter(({ id }) => !ids.has(id));
}
