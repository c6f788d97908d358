import { isRecord } from '@mural/core';
import { mapList } from './unknown-fields.ts';
import { setField, type TypeSchema } from './types.ts';

/**
 * The custom resource with the defaults of its schema filled in. A `null` counts as absent where
 * the field is not nullable. Idempotent; shares what did not change. Objects of built-in kinds are
 * returned as they are: see `builtinDefaults`.
 */
export function applyDefaults<T>(object: T, schema: TypeSchema): T {
  return schema.builtin === true ? object : (defaulted(object, schema) as T);
}

function defaulted(value: unknown, schema: TypeSchema): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : mapList(value, (item) => defaulted(item, items));
  }
  if (!isRecord(value)) return value;
  let result = value;
  const { properties, additionalProperties } = schema;
  for (const key of fieldsWithDefaults(properties)) {
    const child = properties?.[key];
    if (child?.default === undefined) continue;
    const now = result[key];
    if (now !== undefined && !(now === null && child.nullable !== true)) continue;
    if (result === value) result = { ...value };
    setField(result, key, structuredClone(child.default));
  }
  for (const key of Object.keys(result)) {
    const child = properties?.[key] ?? additionalProperties;
    const before = result[key];
    if (child === undefined || typeof before !== 'object' || child.builtin === true) continue;
    const after = before === null ? withoutNull(child) : defaulted(before, child);
    if (after === before) continue;
    if (result === value) result = { ...value };
    if (after === undefined) Reflect.deleteProperty(result, key);
    else setField(result, key, after);
  }
  return result;
}

/** What becomes of a `null`: it stays where it may be and where anything may. */
function withoutNull(schema: TypeSchema): null | undefined {
  return schema.nullable === true || (schema.type === undefined && schema.intOrString !== true) ? null : undefined;
}

const withDefaults = new WeakMap<object, readonly string[]>();
const NONE: readonly string[] = [];

function fieldsWithDefaults(properties: Readonly<Record<string, TypeSchema>> | undefined): readonly string[] {
  if (properties === undefined) return NONE;
  let names = withDefaults.get(properties);
  if (names === undefined) {
    names = Object.keys(properties).filter((key) => properties[key]?.default !== undefined);
    withDefaults.set(properties, names);
  }
  return names;
}
