import { isRecord, jsonEqual } from '@mural/core';
import { itemIdentity } from './identity.ts';
import { celErrors, hasRules } from './rules.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';
import { fitsInteger, hasFormat } from './formats.ts';
import { compiledPattern } from './pattern.ts';
import { isQuantity } from './quantity.ts';
import type { TypeSchema } from './types.ts';
import { validateBuiltin } from './validate-builtin.ts';

/**
 * What is wrong with an object by its schema: types, required fields, enumerations, formats, bounds,
 * duplicates in lists with identity, the CEL rules of custom resources, and for built-in kinds what
 * {@link validateBuiltin} knows. `old` is the stored
 * object of an update, for transition rules.
 *
 * As the API does, rules are not run when the object does not have the shape that they expect.
 */
export function validate(object: unknown, schema: TypeSchema, old?: unknown): FieldError[] {
  const errors: FieldError[] = [];
  check(object, schema, '', errors);
  if (schema.builtin === true) return withKindChecks(errors, object);
  if (!hasRules(schema)) return errors;
  if (errors.some((error) => BLOCKING.has(error.type))) {
    errors.push(
      invalidValue(
        '<nil>',
        null,
        'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
      ),
    );
    return errors;
  }
  return [...errors, ...celErrors(object, schema, old)];
}

function withKindChecks(errors: FieldError[], object: unknown): FieldError[] {
  const known = new Set(errors.map((error) => `${error.type} ${error.field}`));
  return [
    ...errors,
    ...validateBuiltin(object).filter((error) => !known.has(`${error.type} ${error.field}`)),
  ];
}

const BLOCKING = new Set(['Required', 'TooLong', 'TooMany', 'TypeInvalid', 'NotSupported']);
/** More errors than this help nobody. */
const MAX_ERRORS = 100;

function check(value: unknown, schema: TypeSchema, path: string, errors: FieldError[]): void {
  if (errors.length >= MAX_ERRORS || value === undefined) return;
  if (value === null) {
    if (schema.nullable !== true && schema.builtin !== true && wantsType(schema))
      typeError('null', schema, path, errors);
    return;
  }
  if (!checkType(value, schema, path, errors)) return;
  if (
    schema.enum !== undefined &&
    !schema.enum.some((choice) => jsonEqual(choice, value)) &&
    !allowsEmpty(value, schema)
  ) {
    errors.push(notSupported(path, value, schema.enum));
  }
  if (typeof value === 'string') checkString(value, schema, path, errors);
  else if (typeof value === 'number') checkNumber(value, schema, path, errors);
  else if (Array.isArray(value)) checkList(value, schema, path, errors);
  else if (isRecord(value)) checkMap(value, schema, path, errors);
  checkBranches(value, schema, path, errors);
}

/** To a typed server an empty string is an absent one. */
function allowsEmpty(value: unknown, schema: TypeSchema): boolean {
  return schema.builtin === true && value === '';
}

function wantsType(schema: TypeSchema): boolean {
  return schema.type !== undefined || schema.intOrString === true;
}

function checkType(value: unknown, schema: TypeSchema, path: string, errors: FieldError[]): boolean {
  const found = typeName(value);
  if (schema.intOrString === true) {
    if (found === 'integer' || found === 'string') return true;
  } else if (schema.quantity === true) {
    if (isQuantity(value)) return true;
    const detail =
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    errors.push(invalidValue(path, value, detail));
    return false;
  } else if (
    schema.type === undefined ||
    schema.type === found ||
    (schema.type === 'number' && found === 'integer')
  ) {
    return true;
  }
  typeError(found, schema, path, errors);
  return false;
}

function typeError(found: string, schema: TypeSchema, path: string, errors: FieldError[]): void {
  const wanted = schema.intOrString === true ? 'integer,string' : (schema.type ?? 'object');
  const detail = `${inBody(path)} must be of type ${wanted}: "${found}"`;
  errors.push({ field: path === '' ? '<nil>' : path, type: 'TypeInvalid', badValue: found, detail });
}

function inBody(path: string): string {
  return path === '' ? 'in body' : `${path} in body`;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function checkString(value: string, schema: TypeSchema, path: string, errors: FieldError[]): void {
  const { maxLength, minLength, pattern, format } = schema;
  const { length } = maxLength === undefined && minLength === undefined ? '' : Array.from(value);
  if (maxLength !== undefined && length > maxLength) {
    errors.push({
      field: path,
      type: 'TooLong',
      badValue: value,
      detail: `may not be more than ${maxLength} bytes`,
    });
  }
  if (minLength !== undefined && length < minLength) {
    errors.push(invalidValue(path, value, `${inBody(path)} should be at least ${minLength} chars long`));
  }
  if (pattern !== undefined && compiledPattern(pattern)?.test(value) === false) {
    errors.push(invalidValue(path, value, `${inBody(path)} should match '${pattern}'`));
  }
  if (format !== undefined && schema.builtin !== true && !hasFormat(value, format)) {
    const detail = `${inBody(path)} must be of type ${format}: ${JSON.stringify(value)}`;
    errors.push({ field: path, type: 'TypeInvalid', badValue: value, detail });
  }
}

function checkNumber(value: number, schema: TypeSchema, path: string, errors: FieldError[]): void {
  const { multipleOf } = schema;
  if (multipleOf !== undefined && multipleOf > 0 && !isMultiple(value, multipleOf)) {
    errors.push(invalidValue(path, value, `${inBody(path)} should be a multiple of ${multipleOf}`));
  }
  if (schema.type === 'integer' && !fitsInteger(value, schema.format)) {
    const detail = `Checked value must be of type integer with format ${schema.format ?? ''} in ${path}`;
    errors.push(invalidValue('<nil>', '', detail));
  }
  checkBounds(value, schema, path, errors);
}

function checkBounds(value: number, schema: TypeSchema, path: string, errors: FieldError[]): void {
  const { minimum, maximum } = schema;
  if (maximum !== undefined && (value > maximum || (schema.exclusiveMaximum === true && value === maximum))) {
    const bound = schema.exclusiveMaximum === true ? 'less than' : 'less than or equal to';
    errors.push(invalidValue(path, value, `${inBody(path)} should be ${bound} ${maximum}`));
  }
  if (minimum !== undefined && (value < minimum || (schema.exclusiveMinimum === true && value === minimum))) {
    const bound = schema.exclusiveMinimum === true ? 'greater than' : 'greater than or equal to';
    errors.push(invalidValue(path, value, `${inBody(path)} should be ${bound} ${minimum}`));
  }
}

function isMultiple(value: number, of: number): boolean {
  const ratio = value / of;
  return Math.abs(ratio - Math.round(ratio)) < 1e-9 * Math.max(1, Math.abs(ratio));
}

function checkList(list: readonly unknown[], schema: TypeSchema, path: string, errors: FieldError[]): void {
  const { items, minItems, maxItems } = schema;
  if (minItems !== undefined && list.length < minItems) {
    errors.push(invalidValue(path, list.length, `${inBody(path)} should have at least ${minItems} items`));
  }
  if (maxItems !== undefined && list.length > maxItems) {
    errors.push({
      field: path,
      type: 'TooMany',
      badValue: list.length,
      detail: `must have at most ${maxItems} items`,
    });
  }
  if (items !== undefined) list.forEach((item, index) => check(item, items, `${path}[${index}]`, errors));
  checkDuplicates(list, schema, path, errors);
}

function checkDuplicates(
  list: readonly unknown[],
  schema: TypeSchema,
  path: string,
  errors: FieldError[],
): void {
  if (schema.builtin === true || (schema.listType !== 'set' && schema.listType !== 'map')) return;
  const seen = new Set<string>();
  for (const [index, item] of list.entries()) {
    const identity = itemIdentity(schema, item);
    if (identity === undefined) continue;
    if (seen.has(identity.key)) {
      errors.push({ field: `${path}[${index}]`, type: 'Duplicate', badValue: identity.shown, detail: '' });
    }
    seen.add(identity.key);
  }
}

function checkMap(
  map: Readonly<Record<string, unknown>>,
  schema: TypeSchema,
  path: string,
  errors: FieldError[],
): void {
  const { properties, additionalProperties, minProperties, maxProperties } = schema;
  const keys = Object.keys(map);
  if (minProperties !== undefined && keys.length < minProperties) {
    errors.push(
      invalidValue(path, keys.length, `${inBody(path)} should have at least ${minProperties} properties`),
    );
  }
  if (maxProperties !== undefined && keys.length > maxProperties) {
    errors.push({
      field: path,
      type: 'TooMany',
      badValue: keys.length,
      detail: `must have at most ${maxProperties} items`,
    });
  }
  const inside = schema.builtin === true ? [] : (schema.required ?? []);
  for (const name of inside) if (map[name] === undefined) errors.push(required(join(path, name)));
  for (const key of keys) {
    const child = properties?.[key] ?? additionalProperties;
    if (child !== undefined) check(map[key], child, join(path, key), errors);
  }
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** `allOf`, `anyOf`, `oneOf` and `not`; as the API does, with what the first branch misses. */
function checkBranches(value: unknown, schema: TypeSchema, path: string, errors: FieldError[]): void {
  const { allOf, anyOf, oneOf, not } = schema;
  const told = (message: string): void => {
    errors.push(invalidValue('<nil>', '', `"${path}" must ${message}`));
  };
  const failures = (branch: TypeSchema): FieldError[] => {
    const found: FieldError[] = [];
    check(value, branch, path, found);
    return found;
  };
  for (const branch of allOf ?? []) errors.push(...failures(branch));
  if (anyOf !== undefined && anyOf.length > 0 && schema.intOrString !== true) {
    const results = anyOf.map(failures);
    if (results.every((found) => found.length > 0)) {
      told('validate at least one schema (anyOf)');
      errors.push(...(results[0] ?? []));
    }
  }
  if (oneOf !== undefined && oneOf.length > 0) {
    const results = oneOf.map(failures);
    const valid = results.filter((found) => found.length === 0).length;
    if (valid === 0) {
      told('validate one and only one schema (oneOf). Found none valid');
      errors.push(...(results[0] ?? []));
    } else if (valid > 1) {
      told(`validate one and only one schema (oneOf). Found ${valid} valid alternatives`);
    }
  }
  if (not !== undefined && failures(not).length === 0) told('not validate the schema (not)');
}
