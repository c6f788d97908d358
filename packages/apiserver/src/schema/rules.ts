import { errorMessage, isRecord } from '@mural/core';
import { evaluateRule, evaluateText, type RuleInput, toCel } from './cel.ts';
import type { FieldError, FieldErrorType } from './field-error.ts';
import { itemIdentity } from './identity.ts';
import { childSchema, type TypeSchema, type ValidationRule } from './types.ts';

const withRules = new WeakMap<TypeSchema, boolean>();

/** Whether the schema has CEL rules anywhere. */
export function hasRules(schema: TypeSchema): boolean {
  // Built-in types have none, and unfold without end where they are recursive.
  if (schema.builtin === true) return false;
  let known = withRules.get(schema);
  if (known === undefined) {
    known =
      (schema.validations?.length ?? 0) > 0 ||
      Object.values(schema.properties ?? {}).some(hasRules) ||
      (schema.items !== undefined && hasRules(schema.items)) ||
      (schema.additionalProperties !== undefined && hasRules(schema.additionalProperties));
    withRules.set(schema, known);
  }
  return known;
}

/** What the CEL rules of a custom resource have against it; `old` is the object before an update. */
export function celErrors(object: unknown, schema: TypeSchema, old: unknown): FieldError[] {
  const errors: FieldError[] = [];
  walk({ value: object, old, path: '' }, schema, errors);
  return errors;
}

interface At {
  readonly value: unknown;
  readonly old: unknown;
  readonly path: string;
}

function walk(at: At, schema: TypeSchema, errors: FieldError[]): void {
  const { value, old, path } = at;
  if (value === undefined || value === null || !hasRules(schema)) return;
  for (const rule of schema.validations ?? []) {
    const error = run(rule, schema, at);
    if (error !== undefined) errors.push(error);
  }
  if (Array.isArray(value)) walkItems(value, at, schema, errors);
  else if (isRecord(value)) {
    for (const key of Object.keys(value)) {
      const child = childSchema(schema, key);
      if (child === undefined) continue;
      const was = isRecord(old) ? old[key] : undefined;
      walk({ value: value[key], old: was, path: path === '' ? key : `${path}.${key}` }, child, errors);
    }
  }
}

function walkItems(list: readonly unknown[], at: At, schema: TypeSchema, errors: FieldError[]): void {
  const { items } = schema;
  if (items === undefined) return;
  const before = oldItems(at.old, schema);
  list.forEach((item, index) => {
    const identity = before === undefined ? undefined : itemIdentity(schema, item);
    const old = identity === undefined ? undefined : before?.get(identity.key);
    walk({ value: item, old, path: `${at.path}[${index}]` }, items, errors);
  });
}

/** Only items of map lists can be followed from one version of an object to the next. */
function oldItems(old: unknown, schema: TypeSchema): Map<string, unknown> | undefined {
  if (schema.listType !== 'map' || !Array.isArray(old)) return undefined;
  const found = new Map<string, unknown>();
  for (const item of old) {
    const identity = itemIdentity(schema, item);
    if (identity !== undefined) found.set(identity.key, item);
  }
  return found;
}

/** Reasons that a rule may give its error (`x-kubernetes-validations[].reason`). */
const REASONS: Readonly<Record<string, FieldErrorType>> = {
  FieldValueInvalid: 'Invalid',
  FieldValueForbidden: 'Forbidden',
  FieldValueRequired: 'Required',
  FieldValueDuplicate: 'Duplicate',
};

function run(rule: ValidationRule, schema: TypeSchema, at: At): FieldError | undefined {
  const transition = /\boldSelf\b/.test(rule.rule);
  const optional = rule.optionalOldSelf === true;
  if (transition && !optional && (at.old === undefined || at.old === null)) return undefined;
  const input: RuleInput = {
    self: toCel(at.value, schema),
    oldSelf: transition && at.old !== undefined && at.old !== null ? toCel(at.old, schema) : undefined,
    optional,
  };
  try {
    if (evaluateRule(rule.rule, input)) return undefined;
  } catch (error) {
    const detail = `${errorMessage(error).split('\n')[0] ?? ''} evaluating rule: ${named(rule)}`;
    return { field: fieldOf(rule, at.path), type: 'Invalid', badValue: typeWord(at.value), detail };
  }
  return failed(rule, at, input);
}

function failed(rule: ValidationRule, at: At, input: RuleInput): FieldError {
  const detail = messageOf(rule, input);
  const type = REASONS[rule.reason ?? ''] ?? 'Invalid';
  const field = fieldOf(rule, at.path);
  const scalar = typeof at.value !== 'object' && rule.fieldPath === undefined;
  return scalar ? { field, type, badValue: at.value, detail } : { field, type, detail };
}

function typeWord(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function fieldOf(rule: ValidationRule, path: string): string {
  const below = (rule.fieldPath ?? '').replace(/\['([^']*)'\]/g, '.$1');
  const field = path === '' ? below.replace(/^\./, '') : `${path}${below}`;
  return field === '' ? '<nil>' : field;
}

function named(rule: ValidationRule): string {
  return rule.message ?? rule.rule.trim();
}

function messageOf(rule: ValidationRule, input: RuleInput): string {
  if (rule.messageExpression !== undefined) {
    const text = evaluateText(rule.messageExpression, input)?.trim();
    if (text !== undefined && text !== '' && !text.includes('\n')) return text;
  }
  return rule.message ?? `failed rule: ${rule.rule.trim()}`;
}
