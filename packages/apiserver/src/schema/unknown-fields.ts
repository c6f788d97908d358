import { isRecord } from '@mural/core';
import { childSchema, setField, type TypeSchema } from './types.ts';

/**
 * The paths of fields that the schema does not know, as the API's `fieldValidation` reports them:
 * `spec.nope`, `spec.containers[0].foo`. At most 100 are collected.
 */
export function unknownFields(object: unknown, schema: TypeSchema): string[] {
  const found: string[] = [];
  walk(object, schema, '', found);
  return found;
}

const MAX_REPORTED = 100;

function walk(value: unknown, schema: TypeSchema, path: string, found: string[]): void {
  if (found.length >= MAX_REPORTED) return;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined || isScalar(items)) return;
    value.forEach((item, index) => walk(item, items, `${path}[${index}]`, found));
    return;
  }
  if (!isRecord(value) || acceptsAll(schema)) return;
  for (const key of Object.keys(value)) {
    const child = childSchema(schema, key);
    const at = path === '' ? key : `${path}.${key}`;
    if (child !== undefined) walk(value[key], child, at, found);
    else if (schema.preserveUnknownFields !== true && schema.type === 'object') found.push(at);
    if (found.length >= MAX_REPORTED) return;
  }
}

/**
 * The object without the fields that its schema does not know. Shares with the input what did not
 * change, and returns the input itself when nothing did.
 */
export function prune<T>(object: T, schema: TypeSchema): T {
  return pruned(object, schema) as T;
}

function pruned(value: unknown, schema: TypeSchema): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined || isScalar(items)) return value;
    return mapList(value, (item) => pruned(item, items));
  }
  if (!isRecord(value) || acceptsAll(schema)) return value;
  const keepUnknown = schema.preserveUnknownFields === true || schema.type !== 'object';
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(value)) {
    const child = childSchema(schema, key);
    const before = value[key];
    if (child === undefined) {
      if (!keepUnknown) Reflect.deleteProperty((result ??= { ...value }), key);
      continue;
    }
    const after = pruned(before, child);
    if (after !== before) setField((result ??= { ...value }), key, after);
  }
  return result ?? value;
}

/** Like `map`, but gives the same list when no item changed. */
export function mapList(list: readonly unknown[], change: (item: unknown) => unknown): readonly unknown[] {
  let result: unknown[] | undefined;
  for (let index = 0; index < list.length; index++) {
    const after = change(list[index]);
    if (after !== list[index]) (result ??= list.slice())[index] = after;
  }
  return result ?? list;
}

function isScalar(schema: TypeSchema): boolean {
  return schema.type !== undefined && schema.type !== 'object' && schema.type !== 'array';
}

/** Whether nothing below can be unknown, so that there is nothing to look for. */
function acceptsAll(schema: TypeSchema): boolean {
  return (
    schema.properties === undefined &&
    schema.additionalProperties === undefined &&
    (schema.type !== 'object' || schema.preserveUnknownFields === true)
  );
}
