import { isRecord } from '@mural/core';

/**
 * A set of field paths, as a tree. Its keys are those of FieldsV1: `f:NAME` for a field,
 * `k:{…}` for an item of a list by its keys, `v:…` for an item of a set, `i:N` for an index.
 *
 * Never changed once built, so that parts can be shared between sets.
 */
export interface FieldSet {
  /** Whether the path that leads here is itself in the set. Meaningless at the root. */
  readonly member: boolean;
  readonly children: ReadonlyMap<string, FieldSet> | undefined;
}

/** A {@link FieldSet} while it is being built. */
export interface FieldSetBuilder {
  member: boolean;
  children: Map<string, FieldSetBuilder> | undefined;
}

export const EMPTY_SET: FieldSet = { member: false, children: undefined };
const LEAF: FieldSet = { member: true, children: undefined };

/** The child of a set under construction, made when it is not there yet. */
export function childOf(parent: FieldSetBuilder, key: string): FieldSetBuilder {
  const children = (parent.children ??= new Map<string, FieldSetBuilder>());
  let child = children.get(key);
  if (child === undefined) {
    child = { member: false, children: undefined };
    children.set(key, child);
  }
  return child;
}

/** Whether no path is in the set (below the root). */
export function isEmptySet(set: FieldSet): boolean {
  if (set.children === undefined) return true;
  for (const child of set.children.values()) {
    if (child.member || !isEmptySet(child)) return false;
  }
  return true;
}

/** The paths that are in either set. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || b.children === undefined) return a.member || !b.member ? a : { ...a, member: true };
  if (a.children === undefined) return b.member || !a.member ? b : { ...b, member: true };
  const children = new Map(a.children);
  for (const [key, child] of b.children) {
    const other = children.get(key);
    children.set(key, other === undefined ? child : union(other, child));
  }
  return { member: a.member || b.member, children };
}

/** The paths of `a` that are not in `b`. Only equal paths are taken away, not what lies below them. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return differenceNode(a, b) ?? EMPTY_SET;
}

function differenceNode(a: FieldSet, b: FieldSet): FieldSet | undefined {
  const member = a.member && !b.member;
  if (a.children === undefined || b.children === undefined) {
    if (member === a.member) return a;
    return a.children === undefined ? undefined : { member, children: a.children };
  }
  const kept = childrenWithout(a.children, b.children);
  if (kept === a.children && member === a.member) return a;
  if (kept.size > 0) return { member, children: kept };
  return member ? LEAF : undefined;
}

/** Copied only when something is taken away. */
function childrenWithout(
  mine: ReadonlyMap<string, FieldSet>,
  theirs: ReadonlyMap<string, FieldSet>,
): ReadonlyMap<string, FieldSet> {
  let children: Map<string, FieldSet> | undefined;
  for (const [key, other] of theirs) {
    const child = mine.get(key);
    if (child === undefined) continue;
    const rest = differenceNode(child, other);
    if (rest === child) continue;
    children ??= new Map(mine);
    if (rest === undefined) children.delete(key);
    else children.set(key, rest);
  }
  return children ?? mine;
}

/** The paths that are in both sets. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return intersectionNode(a, b) ?? EMPTY_SET;
}

function intersectionNode(a: FieldSet, b: FieldSet): FieldSet | undefined {
  const member = a.member && b.member;
  let children: Map<string, FieldSet> | undefined;
  if (a.children !== undefined && b.children !== undefined) {
    for (const [key, other] of b.children) {
      const child = a.children.get(key);
      const common = child === undefined ? undefined : intersectionNode(child, other);
      if (common !== undefined) (children ??= new Map<string, FieldSet>()).set(key, common);
    }
  }
  if (children === undefined) return member ? LEAF : undefined;
  return { member, children };
}

/** The set without these paths and everything below them. Each path is a list of FieldsV1 keys. */
export function withoutSubtrees(set: FieldSet, paths: readonly (readonly string[])[]): FieldSet {
  return paths.reduce(withoutSubtree, set);
}

function withoutSubtree(set: FieldSet, path: readonly string[]): FieldSet {
  const [head, ...rest] = path;
  const child = head === undefined ? undefined : set.children?.get(head);
  if (head === undefined || child === undefined || set.children === undefined) return set;
  const children = new Map(set.children);
  const left = rest.length === 0 ? EMPTY_SET : withoutSubtree(child, rest);
  if (rest.length === 0 || (!left.member && isEmptySet(left))) children.delete(head);
  else children.set(head, left);
  return { member: set.member, children: children.size === 0 ? undefined : children };
}

/** Whether both sets hold the same paths. */
export function sameSet(a: FieldSet, b: FieldSet): boolean {
  if (a === b) return true;
  return isEmptySet(difference(a, b)) && isEmptySet(difference(b, a));
}

/** Reads the `fieldsV1` of an entry of `metadata.managedFields`. What is malformed is left out. */
export function parseFieldsV1(fields: unknown): FieldSet {
  return isRecord(fields) ? parseNode(fields, 0) : EMPTY_SET;
}

const MAX_DEPTH = 200;

function parseNode(fields: Readonly<Record<string, unknown>>, depth: number): FieldSet {
  let member = false;
  let children: Map<string, FieldSet> | undefined;
  for (const key of Object.keys(fields)) {
    if (key === '.') {
      member = true;
      continue;
    }
    const value = fields[key];
    if (!/^[fkvi]:/.test(key) || !isRecord(value) || depth > MAX_DEPTH) continue;
    const child = isEmptyRecord(value) ? LEAF : parseNode(value, depth + 1);
    (children ??= new Map<string, FieldSet>()).set(canonicalKey(key), child);
  }
  return children === undefined && member ? LEAF : { member, children };
}

function isEmptyRecord(value: Readonly<Record<string, unknown>>): boolean {
  for (const key in value) if (Object.hasOwn(value, key)) return false;
  return true;
}

/** Keys of list items in one spelling, whatever order and spacing the sender chose. */
function canonicalKey(key: string): string {
  if (!key.startsWith('k:')) return key;
  try {
    const parsed: unknown = JSON.parse(key.slice(2));
    return isRecord(parsed) ? keyedItem(parsed) : key;
  } catch {
    return key;
  }
}

/** The FieldsV1 key of a list item with these keys. */
export function keyedItem(keys: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(keys).sort(byCode);
  return `k:{${names.map((name) => `${JSON.stringify(name)}:${JSON.stringify(keys[name])}`).join(',')}}`;
}

/** The FieldsV1 form of a set, with its keys sorted as the API sorts them. */
export function toFieldsV1(set: FieldSet): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const key of sortedKeys(set)) {
    const child = set.children?.get(key);
    if (child === undefined) continue;
    if (child.children === undefined || isEmptySet(child)) {
      if (child.member) fields[key] = {};
    } else {
      fields[key] = child.member ? { '.': {}, ...toFieldsV1(child) } : toFieldsV1(child);
    }
  }
  return fields;
}

const ORDER = 'fkvi';

function sortedKeys(set: FieldSet): string[] {
  if (set.children === undefined) return [];
  return [...set.children.keys()].sort((a, b) => {
    const kinds = ORDER.indexOf(a.charAt(0)) - ORDER.indexOf(b.charAt(0));
    return kinds === 0 ? byCode(a, b) : kinds;
  });
}

function byCode(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Every path of the set, as the API words it in conflicts: `.spec.containers[name="web"].image`. */
export function pathsOf(set: FieldSet): string[] {
  const paths: string[] = [];
  collect(set, '', paths);
  return paths;
}

/** Members of a level come before what lies below them, as the API lists them. */
function collect(set: FieldSet, prefix: string, paths: string[]): void {
  const keys = sortedKeys(set);
  for (const key of keys) {
    if (set.children?.get(key)?.member === true) paths.push(prefix + pathElement(key));
  }
  for (const key of keys) {
    const child = set.children?.get(key);
    if (child?.children !== undefined) collect(child, prefix + pathElement(key), paths);
  }
}

/** One step of a path in words: `.name`, `[name="web"]`, `[="value"]`, `[3]`. */
export function pathElement(key: string): string {
  const rest = key.slice(2);
  switch (key.charAt(0)) {
    case 'f':
      return `.${rest}`;
    case 'v':
      return `[=${rest}]`;
    case 'k': {
      const keys = JSON.parse(rest) as Record<string, unknown>;
      return `[${Object.entries(keys)
        .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
        .join(',')}]`;
    }
    default:
      return `[${rest}]`;
  }
}
