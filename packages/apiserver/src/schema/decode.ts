import { isRecord } from '@mural/core';
import { isBase64 } from './formats.ts';
import { isQuantity } from './quantity.ts';
import type { TypeSchema } from './types.ts';

/**
 * Why an object cannot be read as its built-in kind, in the API's words (its answer is a 400), or
 * `undefined` when it can: `Deployment in version "v1" cannot be handled as a Deployment: json:
 * cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
 */
export function decodingError(
  object: Readonly<Record<string, unknown>>,
  schema: TypeSchema,
): string | undefined {
  if (schema.builtin !== true) return undefined;
  const problem = find(object, schema, { owner: shortName(schema.name), path: '' });
  if (problem === undefined) return undefined;
  const kind = String(object['kind']);
  const apiVersion = String(object['apiVersion']);
  const version = apiVersion.slice(apiVersion.indexOf('/') + 1);
  return `${kind} in version "${version}" cannot be handled as a ${kind}: ${problem}`;
}

interface Place {
  /** The structure that has the field. */
  readonly owner: string;
  readonly path: string;
}

function find(value: unknown, schema: TypeSchema, at: Place): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (schema.quantity === true) {
    return isQuantity(value)
      ? undefined
      : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  }
  if (schema.intOrString === true) {
    return typeof value === 'string' || Number.isInteger(value)
      ? undefined
      : mismatch(value, 'intstr.IntOrString', at);
  }
  if (!fits(value, schema)) return mismatch(value, goType(schema), at);
  if (schema.format === 'byte' && typeof value === 'string') return base64Problem(value);
  return findBelow(value, schema, at);
}

function findBelow(value: unknown, schema: TypeSchema, at: Place): string | undefined {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items === undefined) return undefined;
    for (const item of value) {
      const problem = find(item, items, at);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const owner = schema.properties === undefined ? at.owner : shortName(schema.name);
  for (const key of Object.keys(value)) {
    const named = schema.properties?.[key];
    const child = named ?? schema.additionalProperties;
    if (child === undefined) continue;
    const path = named === undefined ? at.path : at.path === '' ? key : `${at.path}.${key}`;
    const problem = find(value[key], child, { owner, path });
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function fits(value: unknown, schema: TypeSchema): boolean {
  switch (schema.type) {
    case undefined:
      return true;
    case 'object':
      return isRecord(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === schema.type;
  }
}

function mismatch(value: unknown, wanted: string, at: Place): string {
  return `json: cannot unmarshal ${jsonType(value)} into Go struct field ${at.owner}.${at.path} of type ${wanted}`;
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'number' : `number ${value}`;
  return typeof value;
}

function goType(schema: TypeSchema): string {
  switch (schema.type) {
    case 'array':
      return `[]${schema.items === undefined ? 'interface {}' : goType(schema.items)}`;
    case 'object':
      if (schema.name !== undefined) return `v1.${shortName(schema.name)}`;
      return `map[string]${schema.additionalProperties === undefined ? 'interface {}' : goType(schema.additionalProperties)}`;
    case 'integer':
      return schema.format ?? 'int64';
    case 'number':
      return 'float64';
    case 'boolean':
      return 'bool';
    default:
      return schema.format?.startsWith('date-time') === true ? 'v1.Time' : 'string';
  }
}

function shortName(name: string | undefined): string {
  return name?.slice(name.lastIndexOf('.') + 1) ?? '';
}

function base64Problem(text: string): string | undefined {
  if (isBase64(text)) return undefined;
  const bad = text.search(/[^A-Za-z0-9+/\r\n]/);
  return `illegal base64 data at input byte ${bad < 0 ? text.length - (text.length % 4) : bad}`;
}
