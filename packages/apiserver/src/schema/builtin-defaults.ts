import { isRecord } from '@mural/core';
import { builtinSchemas } from './builtin.ts';
import { KIND_DEFAULTS } from './kind-defaults.ts';
import { canonicalQuantity } from './quantity.ts';
import { type Fields, fill, TYPE_DEFAULTS } from './type-defaults.ts';
import { childSchema, setField, type TypeSchema } from './types.ts';
import { mapList } from './unknown-fields.ts';

/**
 * An object of a built-in kind with the defaults that the API server adds, and in the form it would
 * store: without nulls and empty optional lists and maps, with structures that are never absent
 * (`status: {}`), canonical quantities, and a Secret's `stringData` folded into `data`.
 *
 * Idempotent. Objects of other kinds are returned as they are. Addresses and ports of Services are
 * left to who allocates them.
 */
export function builtinDefaults<T extends object>(object: T): T {
  if (!isRecord(object)) return object;
  const { apiVersion, kind } = object;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return object;
  const schema = builtinSchemas().schemaFor(apiVersion, kind);
  if (schema === undefined) return object;
  const kindDefaults = KIND_DEFAULTS[`${apiVersion} ${kind}`];
  const normal = normalized(object, schema, false) as Fields;
  const result = kindDefaults === undefined ? normal : kindDefaults(normal);
  return structured(result, schema, false) as T;
}

/** The value as a typed server would decode and encode it. */
function normalized(value: unknown, schema: TypeSchema, required: boolean): unknown {
  if (value === null) return schema.type === undefined && schema.quantity !== true ? value : undefined;
  if (schema.quantity === true) return isScalar(value) ? canonicalQuantity(value) : value;
  if (Array.isArray(value)) return normalList(value, schema, required);
  if (isRecord(value)) return normalMap(value, schema, required);
  return schema.format === 'date-time' && typeof value === 'string' ? wholeSeconds(value) : value;
}

function isScalar(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}

function normalList(list: readonly unknown[], schema: TypeSchema, required: boolean): unknown {
  const { items } = schema;
  if (items === undefined) return list;
  if (list.length === 0) return required ? list : undefined;
  return mapList(list, (item) => normalized(item, items, true) ?? item);
}

function normalMap(map: Fields, schema: TypeSchema, required: boolean): unknown {
  const { properties, additionalProperties } = schema;
  if (properties === undefined && additionalProperties === undefined) return map;
  const keys = Object.keys(map);
  if (keys.length === 0 && properties === undefined) return required ? map : undefined;
  let result: Record<string, unknown> | undefined;
  for (const key of keys) {
    const before = map[key];
    const after = normalField(before, key, schema);
    if (after === before) continue;
    result ??= { ...map };
    if (after === undefined) Reflect.deleteProperty(result, key);
    else setField(result, key, after);
  }
  return result ?? map;
}

function normalField(value: unknown, key: string, schema: TypeSchema): unknown {
  const child = childSchema(schema, key);
  if (child === undefined) return value;
  if (schema.properties !== undefined)
    return normalized(value, child, schema.required?.includes(key) === true);
  // A null in a map of strings is an empty string to a typed server.
  return value === null && child.type === 'string' ? '' : normalized(value, child, true);
}

/** RFC 3339 in UTC without fractions, as `metav1.Time` is written. */
function wholeSeconds(time: string): string {
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time)) return time;
  const parsed = Date.parse(time);
  return Number.isNaN(parsed) ? time : `${new Date(parsed).toISOString().slice(0, 19)}Z`;
}

/**
 * Adds the defaults of named types and structures that are always there, from the outside in, so
 * that a structure that is added gets its defaults too. Zero values are added in `status` only:
 * elsewhere they would hide that a required field is missing.
 */
function structured(value: unknown, schema: TypeSchema, inStatus: boolean): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : mapList(value, (item) => structured(item, items, inStatus));
  }
  if (!isRecord(value)) return value;
  if (schema.properties === undefined && schema.additionalProperties === undefined) return value;
  const filled = withTypeDefaults(value, schema, inStatus);
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(filled)) {
    const child = childSchema(schema, key);
    const before = filled[key];
    if (child === undefined || typeof before !== 'object' || before === null) continue;
    const after = structured(before, child, inStatus || (key === 'status' && schema.name !== undefined));
    if (after !== before) setField((result ??= { ...filled }), key, after);
  }
  return result ?? filled;
}

function withTypeDefaults(value: Fields, { name, properties }: TypeSchema, inStatus: boolean): Fields {
  const typeDefaults = name === undefined ? undefined : TYPE_DEFAULTS[name];
  const filled = typeDefaults === undefined ? value : typeDefaults(value);
  return properties === undefined ? filled : fill(filled, impliedFields(properties, inStatus));
}

const impliedCache = new WeakMap<object, { structures: Fields; all: Fields }>();

function impliedFields(properties: Readonly<Record<string, TypeSchema>>, inStatus: boolean): Fields {
  let known = impliedCache.get(properties);
  if (known === undefined) {
    const implied = Object.keys(properties).flatMap((key) => {
      const value = properties[key]?.implied;
      return value === undefined ? [] : [[key, value] as const];
    });
    known = {
      structures: Object.fromEntries(implied.filter(([, value]) => isRecord(value))),
      all: Object.fromEntries(implied),
    };
    impliedCache.set(properties, known);
  }
  return inStatus ? known.all : known.structures;
}
