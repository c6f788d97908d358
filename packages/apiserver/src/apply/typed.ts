import { isRecord } from '@mural/core';
import type { TypeSchema } from '../schema/types.ts';
import { type Fields, itemKey, NO_IDENTITY } from './atoms.ts';
import { goText } from '../schema/go-text.ts';
import { pathElement } from './field-set.ts';

/**
 * What keeps an applied object from being typed by its schema, in the API's words, or `undefined`:
 * `.spec.replica: field not declared in schema`. Checks types, unknown fields and items that share
 * an identity.
 */
export function typingError(object: Fields, schema: TypeSchema | undefined): string | undefined {
  if (schema === undefined) return undefined;
  const errors: string[] = [];
  check(object, schema, '', errors);
  if (errors.length === 0) return undefined;
  return errors.length === 1 ? errors[0] : `errors:\n  ${errors.join('\n  ')}`;
}

const MAX_ERRORS = 50;

function check(value: unknown, schema: TypeSchema, path: string, errors: string[]): void {
  if (errors.length >= MAX_ERRORS || value === null || value === undefined) return;
  if (schema.intOrString === true || schema.quantity === true) {
    // Custom resources may say otherwise; their validation tells it better.
    if (typeof value === 'object' && schema.builtin === true) {
      errors.push(told(path, `expected any scalar, got ${show(value)}`));
    }
    return;
  }
  if (
    schema.type === 'object' ||
    (schema.type === undefined && isRecord(value) && schema.properties !== undefined)
  ) {
    checkMap(value, schema, path, errors);
  } else if (schema.type === 'array') {
    checkList(value, schema, path, errors);
  } else {
    const problem = scalarProblem(value, schema);
    if (problem !== undefined) errors.push(told(path, problem));
  }
}

function scalarProblem(value: unknown, { type }: TypeSchema): string | undefined {
  switch (type) {
    case 'string':
      if (typeof value === 'string') return undefined;
      return `expected string, got &value.valueUnstructured{Value:${goValue(value)}}`;
    case 'integer':
    case 'number':
      return typeof value === 'number' ? undefined : `expected numeric (int or float), got ${goType(value)}`;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `expected boolean, got ${show(value)}`;
    default:
      return undefined;
  }
}

function told(path: string, message: string): string {
  return path === '' ? message : `${path}: ${message}`;
}

function checkMap(value: unknown, schema: TypeSchema, path: string, errors: string[]): void {
  if (!isRecord(value)) {
    errors.push(told(path, `expected map, got ${show(value)}`));
    return;
  }
  const { properties, additionalProperties } = schema;
  const open =
    schema.preserveUnknownFields === true || (properties === undefined && additionalProperties === undefined);
  for (const key of Object.keys(value)) {
    const child = properties?.[key] ?? additionalProperties;
    if (child !== undefined) check(value[key], child, `${path}.${key}`, errors);
    else if (!open) {
      errors.push(told(`${path}.${key}`, 'field not declared in schema'));
      return;
    }
  }
}

function checkList(value: unknown, schema: TypeSchema, path: string, errors: string[]): void {
  if (!Array.isArray(value)) {
    errors.push(told(path, `expected list, got ${show(value)}`));
    return;
  }
  const items = value as readonly unknown[];
  const identity = schema.listType === 'map' || schema.listType === 'set';
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    let at = `${path}[${index}]`;
    if (identity) {
      const key = itemKey(schema, item);
      if (key === NO_IDENTITY) {
        errors.push(told(path, `element ${index}: ${noIdentity(schema, item)}`));
        return;
      }
      if (seen.has(key)) errors.push(told(path, `duplicate entries for key ${pathElement(key)}`));
      seen.add(key);
      at = path + pathElement(key);
    }
    if (schema.items !== undefined) check(item, schema.items, at, errors);
  }
}

function noIdentity(schema: TypeSchema, item: unknown): string {
  if (schema.listType === 'set') {
    const what = Array.isArray(item) ? 'list' : 'map';
    return `associative list without keys has an element that's a ${what} type`;
  }
  if (item === null) return 'associative list with keys may not have a null element';
  if (!isRecord(item)) return 'associative list with keys may not have non-map elements';
  const keys = (schema.listMapKeys ?? []).map((key) => JSON.stringify(key)).join(' ');
  return `associative list with keys has an element that omits all key fields [${keys}] (and doesn't have default values for any key fields)`;
}

/** A value as Go's `%v` prints the API's wrapper of it. */
function show(value: unknown): string {
  return `&{${goText(value)}}`;
}

function goType(value: unknown): string {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  return Array.isArray(value) ? '[]interface {}' : 'map[string]interface {}';
}

function goValue(value: unknown): string {
  if (isRecord(value)) {
    const fields = Object.keys(value).sort();
    return `map[string]interface {}{${fields.map((key) => `${JSON.stringify(key)}:${goValue(value[key])}`).join(', ')}}`;
  }
  if (Array.isArray(value)) return `[]interface {}{${value.map(goValue).join(', ')}}`;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
