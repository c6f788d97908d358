import { isRecord } from '@mural/core';
import { childSchema, type TypeSchema } from '../schema/types.ts';
import { keyedItem } from './field-set.ts';

/** A map whose keys are owned one by one. */
export type Fields = Readonly<Record<string, unknown>>;

/** How a node is treated: as one value, as a map of fields, or as a list of items with identity. */
export type Atom = 'leaf' | 'map' | 'list';

/**
 * What the schema makes of a value. Without a schema (custom resources that declare none, or keep
 * unknown fields) maps are owned field by field and lists as a whole, as the API deduces them.
 */
export function atomOf(schema: TypeSchema | undefined, value: unknown): Atom {
  if (Array.isArray(value)) {
    const type = schema?.listType;
    return type === 'map' || type === 'set' ? 'list' : 'leaf';
  }
  if (!isRecord(value)) return 'leaf';
  if (schema === undefined) return 'map';
  if (schema.mapType === 'atomic') return 'leaf';
  if (schema.properties !== undefined || schema.additionalProperties !== undefined) return 'map';
  return schema.builtin === true ? 'leaf' : 'map';
}

/** The schema of a field, or `undefined` where the value has to speak for itself. */
export function fieldSchema(schema: TypeSchema | undefined, key: string): TypeSchema | undefined {
  return childSchema(schema, key);
}

/** Whether the field is one of a structure, and not a key that the user chose. */
export function isNamedField(schema: TypeSchema | undefined, key: string): boolean {
  return schema?.properties?.[key] !== undefined;
}

/** Whether a list item cannot be told from others: it lacks all its keys, or is no scalar in a set. */
export const NO_IDENTITY = '';

/** The FieldsV1 key of an item of a list with identity, or {@link NO_IDENTITY}. */
export function itemKey(schema: TypeSchema | undefined, item: unknown): string {
  if (schema?.listType === 'set') {
    return typeof item === 'object' || item === undefined ? NO_IDENTITY : `v:${JSON.stringify(item)}`;
  }
  const keys = schema?.listMapKeys ?? [];
  if (!isRecord(item)) return NO_IDENTITY;
  if (keys.length === 1) {
    const [name = ''] = keys;
    const value = keyValue(schema, item, name);
    return value === undefined ? NO_IDENTITY : `k:{${JSON.stringify(name)}:${JSON.stringify(value)}}`;
  }
  const found: Record<string, unknown> = {};
  let any = false;
  for (const name of keys) {
    const value = keyValue(schema, item, name);
    if (value === undefined) continue;
    found[name] = value;
    any = true;
  }
  return any ? keyedItem(found) : NO_IDENTITY;
}

function keyValue(schema: TypeSchema | undefined, item: Fields, name: string): unknown {
  if (Object.hasOwn(item, name)) return item[name];
  const key = schema?.items?.properties?.[name];
  return key?.default ?? key?.implied;
}

/** Whether two leaves are equal; `1` and `1.0` are, and the order of an object's keys is ignored. */
export function sameLeaf(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && sameList(a, b);
  return !Array.isArray(b) && sameFields(a as Fields, b as Fields);
}

function sameList(left: readonly unknown[], right: readonly unknown[]): boolean {
  return left.length === right.length && left.every((item, index) => sameLeaf(item, right[index]));
}

function sameFields(left: Fields, right: Fields): boolean {
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  for (const key of keys) if (!Object.hasOwn(right, key) || !sameLeaf(left[key], right[key])) return false;
  return true;
}
