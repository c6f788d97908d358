import { isRecord } from '@mural/core';
import type { TypeSchema } from '../schema/types.ts';
import { atomOf, fieldSchema, type Fields, isNamedField, itemKey, sameLeaf } from './atoms.ts';
import { childOf, type FieldSet, type FieldSetBuilder } from './field-set.ts';

/** The fields that somebody who wrote this whole object would own. */
export function fieldSetOf(object: Fields, schema: TypeSchema | undefined): FieldSet {
  const root = newSet();
  collectFields(object, schema, root);
  return root;
}

function newSet(): FieldSetBuilder {
  return { member: false, children: undefined };
}

function collect(value: unknown, schema: TypeSchema | undefined, at: FieldSetBuilder): void {
  switch (atomOf(schema, value)) {
    case 'map':
      collectFields(value as Fields, schema, at);
      return;
    case 'list':
      collectItems(value as readonly unknown[], schema, at);
      return;
    case 'leaf':
      at.member = true;
  }
}

function collectFields(map: Fields, schema: TypeSchema | undefined, at: FieldSetBuilder): void {
  for (const key of Object.keys(map)) {
    const value = map[key];
    if (value === undefined) continue;
    if (Array.isArray(value) && value.length === 0 && atomOf(fieldSchema(schema, key), value) === 'list')
      continue;
    const child = childOf(at, `f:${key}`);
    collect(value, fieldSchema(schema, key), child);
    if (!isNamedField(schema, key) || isEmptyMap(value)) child.member = true;
  }
}

function collectItems(list: readonly unknown[], schema: TypeSchema | undefined, at: FieldSetBuilder): void {
  for (const item of list) {
    const child = childOf(at, itemKey(schema, item));
    if (child.member) {
      // A second item with the same identity: the item is owned, its fields cannot be told apart.
      child.children = undefined;
      continue;
    }
    collect(item, schema?.items, child);
    child.member = true;
  }
}

function isEmptyMap(value: unknown): boolean {
  return isRecord(value) && Object.keys(value).length === 0;
}

/** How one object differs from another. */
export interface Comparison {
  /** Paths that were added or have another value. */
  readonly changed: FieldSet;
  readonly removed: FieldSet;
}

/** Compares two objects of one kind field by field. */
export function compareObjects(before: Fields, after: Fields, schema: TypeSchema | undefined): Comparison {
  const comparison = { changed: newSet(), removed: newSet() };
  compareFields(before, after, schema, comparison);
  return comparison;
}

interface Builders {
  readonly changed: FieldSetBuilder;
  readonly removed: FieldSetBuilder;
}

/**
 * Compares two values that are not both absent. The builders are made on the way down and those
 * that stay empty are removed on the way up, so that equal parts leave no trace.
 */
function compare(
  before: unknown,
  after: unknown,
  schema: TypeSchema | undefined,
  key: string,
  into: Builders,
): void {
  if (before === after) return;
  const shape = after === undefined || after === null ? before : after;
  const atom = sameShape(before, after) ? atomOf(schema, shape) : 'leaf';
  if (atom === 'leaf' || isNothing(before, after)) {
    compareLeaf(before, after, key, into);
    return;
  }
  const inner = { changed: childOf(into.changed, key), removed: childOf(into.removed, key) };
  if (atom === 'map') compareFields(before as Fields | undefined, after as Fields | undefined, schema, inner);
  else compareItems((before ?? []) as readonly unknown[], (after ?? []) as readonly unknown[], schema, inner);
  if (before === undefined) inner.changed.member = true;
  if (after === undefined) inner.removed.member = true;
  drop(into.changed, key);
  drop(into.removed, key);
}

function compareLeaf(before: unknown, after: unknown, key: string, into: Builders): void {
  if (before === undefined) childOf(into.changed, key).member = true;
  else if (after === undefined) childOf(into.removed, key).member = true;
  else if (!sameLeaf(before, after)) childOf(into.changed, key).member = true;
}

function drop(set: FieldSetBuilder, key: string): void {
  const child = set.children?.get(key);
  if (child === undefined || child.member || (child.children !== undefined && child.children.size > 0))
    return;
  set.children?.delete(key);
}

/** Whether both can be walked together: null and absent go with anything. */
function sameShape(before: unknown, after: unknown): boolean {
  if (before === undefined || before === null || after === undefined || after === null) return true;
  return typeof before === typeof after && Array.isArray(before) === Array.isArray(after);
}

/** Whether neither side holds anything, so that `{}` and absence have to be told apart as leaves. */
function isNothing(before: unknown, after: unknown): boolean {
  return isHollow(before) && isHollow(after);
}

function isHollow(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return Array.isArray(value) ? value.length === 0 : isEmptyMap(value);
}

const ABSENT: Fields = {};

function compareFields(
  before: Fields | null | undefined,
  after: Fields | null | undefined,
  schema: TypeSchema | undefined,
  into: Builders,
): void {
  const left = before ?? ABSENT;
  const right = after ?? ABSENT;
  for (const key of Object.keys(right)) compareField(left, right, key, schema, into);
  for (const key of Object.keys(left)) {
    if (right[key] === undefined) compareField(left, right, key, schema, into);
  }
}

function compareField(
  left: Fields,
  right: Fields,
  key: string,
  schema: TypeSchema | undefined,
  into: Builders,
): void {
  const child = fieldSchema(schema, key);
  const before = left[key] ?? (left === ABSENT ? left[key] : alwaysThere(left[key], key, schema));
  const after = right[key] ?? (right === ABSENT ? right[key] : alwaysThere(right[key], key, schema));
  if (before !== undefined || after !== undefined) compare(before, after, child, `f:${key}`, into);
}

/**
 * What a field that is not there counts as. The API always writes the structures of its built-in
 * types (`status: {}`) and their required lists (`containers: null`), so filling one in does not
 * make its writer the owner of the structure itself.
 */
function alwaysThere(value: unknown, key: string, schema: TypeSchema | undefined): unknown {
  const child = schema?.properties?.[key];
  if (child?.builtin !== true) return value;
  if (isRecord(child.implied)) return child.implied;
  return child.type === 'array' && schema?.required?.includes(key) === true ? null : value;
}

function compareItems(
  before: readonly unknown[],
  after: readonly unknown[],
  schema: TypeSchema | undefined,
  into: Builders,
): void {
  const left = groupItems(before, schema);
  const right = groupItems(after, schema);
  for (const [key, items] of left) compareItem(items, right.get(key) ?? [], schema, key, into);
  for (const [key, items] of right) if (!left.has(key)) compareItem([], items, schema, key, into);
}

function groupItems(list: readonly unknown[], schema: TypeSchema | undefined): Map<string, unknown[]> {
  const groups = new Map<string, unknown[]>();
  for (const item of list) {
    const key = itemKey(schema, item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Items that share an identity are compared as one value. */
function compareItem(
  before: readonly unknown[],
  after: readonly unknown[],
  schema: TypeSchema | undefined,
  key: string,
  into: Builders,
): void {
  if (before.length <= 1 && after.length <= 1) {
    compare(before[0], after[0], schema?.items, key, into);
    return;
  }
  if (before.length >= 2 && after.length >= 2) {
    if (!sameLeaf(before, after)) childOf(into.changed, key).member = true;
    return;
  }
  if (before.length >= 2) {
    childOf(into.removed, key).member = true;
    if (after.length > 0) compare(undefined, after[0], schema?.items, key, into);
    return;
  }
  if (before.length > 0) compare(before[0], undefined, schema?.items, key, into);
  childOf(into.changed, key).member = true;
}
