import { isRecord } from '@mural/core';
import { mapList } from './unknown-fields.ts';
import { childSchema, setField, type TypeSchema } from './types.ts';

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
  const filled = withMissing(value, schema.properties);
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(filled)) {
    const child = childSchema(schema, key);
    const before = filled[key];
    if (child === undefined || typeof before !== 'object' || child.builtin === true) continue;
    const after = before === null ? withoutNull(child) : defaulted(before, child);
    if (after === before) continue;
    result ??= { ...filled };
    if (after === undefined) Reflect.deleteProperty(result, key);
    else setField(result, key, after);
  }
  return result ?? filled;
}

type Fields = Readonly<Record<string, unknown>>;

function withMissing(value: Fields, properties: Readonly<Record<string, TypeSchema>> | undefined): Fields {
  let result: Record<string, unknown> | undefined;
  for (const key of fieldsWithDefaults(properties)) {
    const child = properties?.[key];
    const now = value[key];
    if (now !== undefined && !(now === null && child?.nullable !== true)) continue;
    setField((result ??= { ...value }), key, structuredClone(child?.default));
  }
  return result ?? value;
}

/** What becomes of a `null`: it stays where it may be and where anything may. */
function withoutNull(schema: TypeSchema): null | undefined {
  return schema.nullable === true || (schema.type === undefined && schema.intOrString !== true)
    ? null
    : undefined;
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
