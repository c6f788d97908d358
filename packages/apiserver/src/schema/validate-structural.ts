import { isRecord } from '@mural/core';
import { compileProblem } from './cel.ts';
import { type Fields, records, str, strings, sub } from './check-tools.ts';
import { compileCrdSchema } from './custom.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';
import { compiledPattern } from './pattern.ts';
import { omit } from './types.ts';
import { validate } from './validate.ts';

/** Deeper or more schemas than these are refused. */
const MAX_DEPTH = 100;
const MAX_ERRORS = 50;

/** What keeps a schema of a custom resource from being structural (`apiextensions`, structural schemas). */
export function structuralErrors(schema: Fields, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const type = str(schema, 'type');
  if (type === '') errors.push(required(`${path}.type`, 'must not be empty at the root'));
  else if (type !== 'object') errors.push(invalidValue(`${path}.type`, type, 'must be object at the root'));
  rootMeta(sub(schema, 'properties'), path, errors);
  if (errors.length === 0) walk(schema, path, { depth: 0, role: 'root' }, errors);
  return errors;
}

function rootMeta(properties: Fields, path: string, errors: FieldError[]): void {
  for (const key of ['apiVersion', 'kind']) {
    const type = sub(properties, key)['type'];
    if (isRecord(properties[key]) && type !== 'string') {
      errors.push(invalidValue(`${path}.properties[${key}].type`, type ?? '', 'must be string'));
    }
  }
  const { metadata } = properties;
  if (!isRecord(metadata)) return;
  if (metadata['type'] !== 'object') {
    errors.push(invalidValue(`${path}.properties[metadata].type`, metadata['type'] ?? '', 'must be object'));
  }
  const stray = Object.keys(sub(metadata, 'properties')).some(
    (key) => key !== 'name' && key !== 'generateName',
  );
  if (stray) {
    const detail =
      'must not specify anything other than name and generateName, but metadata is implicitly specified';
    errors.push({ field: `${path}.properties[metadata]`, type: 'Forbidden', detail });
  }
}

interface Where {
  readonly depth: number;
  readonly role: 'root' | 'object fields' | 'array items' | 'object additionalProperties';
}

function walk(schema: Fields, path: string, where: Where, errors: FieldError[]): void {
  if (errors.length >= MAX_ERRORS) return;
  if (where.depth > MAX_DEPTH) {
    errors.push({ field: path, type: 'Forbidden', detail: 'the schema is nested too deeply' });
    return;
  }
  forbiddenKeywords(schema, path, errors);
  typeErrors(schema, path, where, errors);
  listErrors(schema, path, errors);
  mapErrors(schema, path, errors);
  valueErrors(schema, path, errors);
  ruleListErrors(schema, path, errors);
  const branch = { depth: where.depth, free: schema['x-kubernetes-int-or-string'] === true };
  for (const key of ['allOf', 'anyOf', 'oneOf']) {
    records(schema, key).forEach((one, index) =>
      branchErrors(one, `${path}.${key}[${index}]`, branch, errors),
    );
  }
  if (isRecord(schema['not'])) branchErrors(schema['not'], `${path}.not`, branch, errors);
  descend(schema, path, where.depth + 1, errors);
}

function descend(schema: Fields, path: string, depth: number, errors: FieldError[]): void {
  for (const [key, child] of Object.entries(sub(schema, 'properties'))) {
    // The metadata of the root may be restricted, but has its own type.
    if (isRecord(child)) walk(child, `${path}.properties[${key}]`, { depth, role: 'object fields' }, errors);
  }
  const { items, additionalProperties } = schema;
  if (isRecord(items)) walk(items, `${path}.items`, { depth, role: 'array items' }, errors);
  if (isRecord(additionalProperties)) {
    walk(
      additionalProperties,
      `${path}.additionalProperties`,
      { depth, role: 'object additionalProperties' },
      errors,
    );
  }
}

const UNSUPPORTED = ['$ref', 'definitions', 'dependencies', 'patternProperties', 'additionalItems', 'id'];

function forbiddenKeywords(schema: Fields, path: string, errors: FieldError[]): void {
  for (const key of UNSUPPORTED) {
    const value = schema[key];
    if (value === undefined || (key === 'definitions' && isRecord(value) && Object.keys(value).length === 0))
      continue;
    errors.push({ field: `${path}.${key}`, type: 'Forbidden', detail: `${key} is not supported` });
  }
  if (schema['uniqueItems'] === true) {
    const detail = 'uniqueItems cannot be set to true since the runtime complexity becomes quadratic';
    errors.push({ field: `${path}.uniqueItems`, type: 'Forbidden', detail });
  }
  if (isRecord(schema['properties']) && isRecord(schema['additionalProperties'])) {
    const detail = 'additionalProperties and properties are mutual exclusive';
    errors.push({ field: `${path}.additionalProperties`, type: 'Forbidden', detail });
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] === false) {
    errors.push(
      invalidValue(`${path}.x-kubernetes-preserve-unknown-fields`, false, 'must be true or undefined'),
    );
  }
}

const TYPES = ['array', 'boolean', 'integer', 'number', 'object', 'string'];

function typeErrors(schema: Fields, path: string, { role }: Where, errors: FieldError[]): void {
  const type = str(schema, 'type');
  const free =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (type === '') {
    if (!free) errors.push(required(`${path}.type`, `must not be empty for specified ${role}`));
  } else if (!TYPES.includes(type)) {
    errors.push(notSupported(`${path}.type`, type, TYPES));
  }
  if (type === 'array') {
    if (Array.isArray(schema['items'])) {
      const detail = 'items must be a schema object and not an array';
      errors.push({ field: `${path}.items`, type: 'Forbidden', detail });
    } else if (!isRecord(schema['items'])) {
      errors.push(required(`${path}.items`, 'must be specified'));
    }
  }
  if (schema['x-kubernetes-embedded-resource'] === true) embeddedErrors(schema, path, errors);
}

function embeddedErrors(schema: Fields, path: string, errors: FieldError[]): void {
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (!open && Object.keys(sub(schema, 'properties')).length === 0) {
    const detail =
      'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields';
    errors.push(required(`${path}.properties`, detail));
  }
  const type = str(schema, 'type');
  if (type !== 'object') {
    errors.push(
      invalidValue(`${path}.type`, type, 'must be object if x-kubernetes-embedded-resource is true'),
    );
  }
}

function listErrors(schema: Fields, path: string, errors: FieldError[]): void {
  const listType = schema['x-kubernetes-list-type'];
  if (listType === undefined) return;
  const type = str(schema, 'type');
  if (type !== 'array') {
    errors.push(invalidValue(`${path}.type`, type, 'must be array if x-kubernetes-list-type is specified'));
    return;
  }
  const items = sub(schema, 'items');
  if (listType === 'set') {
    if (items['type'] === 'object' && items['x-kubernetes-map-type'] !== 'atomic') {
      const detail = 'must be atomic as item of a list with x-kubernetes-list-type=set';
      errors.push(
        invalidValue(`${path}.items.x-kubernetes-map-type`, items['x-kubernetes-map-type'] ?? null, detail),
      );
    }
  } else if (listType === 'map') keyErrors(schema, path, errors);
  else if (listType !== 'atomic') {
    errors.push(notSupported(`${path}.x-kubernetes-list-type`, listType, ['atomic', 'set', 'map']));
  }
}

function keyErrors(schema: Fields, path: string, errors: FieldError[]): void {
  const keys = strings(schema, 'x-kubernetes-list-map-keys');
  const field = `${path}.x-kubernetes-list-map-keys`;
  if (keys.length === 0) {
    errors.push(required(field, 'must not be empty if x-kubernetes-list-type is map'));
    return;
  }
  const items = sub(schema, 'items');
  const properties = sub(items, 'properties');
  if (!keys.every((key) => isRecord(properties[key]))) {
    errors.push(invalidValue(field, keys, 'entries must all be names of item properties'));
    return;
  }
  for (const key of keys) {
    if (strings(items, 'required').includes(key) || sub(properties, key)['default'] !== undefined) continue;
    const detail =
      'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property';
    errors.push(required(`${path}.items.properties[${key}].default`, detail));
  }
}

function mapErrors(schema: Fields, path: string, errors: FieldError[]): void {
  const mapType = schema['x-kubernetes-map-type'];
  if (mapType === undefined) return;
  const type = str(schema, 'type');
  if (type !== 'object') {
    errors.push(invalidValue(`${path}.type`, type, 'must be object if x-kubernetes-map-type is specified'));
  }
  if (mapType !== 'atomic' && mapType !== 'granular') {
    errors.push(notSupported(`${path}.x-kubernetes-map-type`, mapType, ['atomic', 'granular']));
  }
}

function valueErrors(schema: Fields, path: string, errors: FieldError[]): void {
  const pattern = schema['pattern'];
  if (typeof pattern === 'string' && compiledPattern(pattern) === undefined) {
    errors.push(invalidValue(`${path}.pattern`, pattern, "must be a valid regular expression, but isn't"));
  }
  const value = schema['default'];
  if (value === undefined || value === null) return;
  const inside = { type: 'object', properties: { value: omit(schema, 'default') } };
  for (const error of validate({ value }, compileCrdSchema(inside)).slice(0, 3)) {
    if (error.field === '<nil>') continue;
    const below = error.field.replace(/^value/, '');
    const detail = error.detail.replace(`${error.field} in body`, `${below.replace(/^\./, '')} in body`);
    errors.push({ ...error, field: `${path}.default${below}`, detail });
  }
}

const BRANCH_ONLY = ['type', 'description', 'default', 'nullable', 'title', 'additionalProperties'];

interface Branch {
  readonly depth: number;
  /** Whether types may be named: those of an int-or-string may. */
  readonly free: boolean;
}

/** Branches may check values but not shape them. */
function branchErrors(branch: Fields, path: string, { depth, free }: Branch, errors: FieldError[]): void {
  if (depth > MAX_DEPTH || errors.length >= MAX_ERRORS) return;
  for (const key of BRANCH_ONLY) {
    // Both types of an int-or-string may be written out.
    if (branch[key] === undefined || (key === 'type' && free)) continue;
    errors.push({ field: `${path}.${key}`, type: 'Forbidden', detail: 'must be empty to be structural' });
  }
  for (const [key, child] of Object.entries(sub(branch, 'properties'))) {
    if (isRecord(child))
      branchErrors(child, `${path}.properties[${key}]`, { depth: depth + 1, free: false }, errors);
  }
  if (isRecord(branch['items']))
    branchErrors(branch['items'], `${path}.items`, { depth: depth + 1, free: false }, errors);
}

const REASONS = ['FieldValueDuplicate', 'FieldValueForbidden', 'FieldValueInvalid', 'FieldValueRequired'];

function ruleListErrors(schema: Fields, path: string, errors: FieldError[]): void {
  records(schema, 'x-kubernetes-validations').forEach((rule, index) => {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    const text = str(rule, 'rule').trim();
    const { message, reason } = rule;
    if (text === '') errors.push(required(`${at}.rule`, 'rule is not specified'));
    else errors.push(...expressionErrors(text, 'bool', `${at}.rule`));
    if (typeof message === 'string' && message.trim() === '') {
      errors.push(invalidValue(`${at}.message`, message, 'must be non-empty if specified'));
    } else if (typeof message === 'string' && message.trim().includes('\n')) {
      errors.push(invalidValue(`${at}.message`, message, 'must not contain line breaks'));
    }
    const expression = str(rule, 'messageExpression');
    if (expression !== '') errors.push(...expressionErrors(expression, 'string', `${at}.messageExpression`));
    if (typeof reason === 'string' && !REASONS.includes(reason))
      errors.push(notSupported(`${at}.reason`, reason, REASONS));
  });
}

function expressionErrors(expression: string, wanted: 'bool' | 'string', field: string): FieldError[] {
  const problem = compileProblem(expression, wanted);
  return problem === undefined ? [] : [invalidValue(field, expression, `compilation failed: ${problem}`)];
}
