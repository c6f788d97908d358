import { errorMessage, isRecord } from '@mural/core';
import { Environment, Optional, type ParseResult } from '@marcbachmann/cel-js';
import { registerLibraries } from './cel-libraries.ts';
import { isDateTime } from './formats.ts';
import type { TypeSchema } from './types.ts';

/** What a rule sees. */
export interface RuleInput {
  readonly self: unknown;
  /** The value before the update, when the rule reads it and there is one. */
  readonly oldSelf: unknown;
  /** Whether `oldSelf` is an optional. */
  readonly optional: boolean;
}

const environment = registerLibraries(
  new Environment({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    // A rule over a long list makes no long expression; what is longer than this is a mistake.
    limits: {
      maxAstNodes: 20_000,
      maxDepth: 200,
      maxListElements: 5000,
      maxMapEntries: 5000,
      maxCallArguments: 64,
    },
  })
    .registerVariable('self', 'dyn')
    .registerVariable('oldSelf', 'dyn'),
);

const parsed = new Map<string, ParseResult>();
const MAX_CACHED = 10_000;

function parse(expression: string): ParseResult {
  let result = parsed.get(expression);
  if (result === undefined) {
    if (parsed.size >= MAX_CACHED) parsed.clear();
    result = environment.parse(expression);
    parsed.set(expression, result);
  }
  return result;
}

/**
 * Evaluates a validation rule.
 *
 * @throws what the rule runs into: a key that is not there, an operation that types do not have.
 */
export function evaluateRule(rule: string, input: RuleInput): boolean {
  return parse(rule)(context(input)) === true;
}

/** Evaluates an expression for a message; `undefined` when it fails or gives no string. */
export function evaluateText(expression: string, input: RuleInput): string | undefined {
  try {
    const result: unknown = parse(expression)(context(input));
    return typeof result === 'string' ? result : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Why an expression cannot be a rule (`bool`) or a message (`string`), in one line; `undefined` when
 * it can. Functions that are not known here come up when the rule runs: another server may know them.
 */
export function compileProblem(expression: string, wanted: 'bool' | 'string'): string | undefined {
  try {
    const { valid, type, error } = parse(expression).check();
    if (!valid)
      return error?.message.startsWith('Unknown variable') === true ? firstLine(error.message) : undefined;
    if (type === wanted || type === undefined || /^dyn|^[A-Z]$/.test(type)) return undefined;
    return `must evaluate to a ${wanted}`;
  } catch (error) {
    return firstLine(errorMessage(error));
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

function context(input: RuleInput): Record<string, unknown> {
  const { self, oldSelf } = input;
  if (input.optional)
    return { self, oldSelf: oldSelf === undefined ? Optional.none() : Optional.of(oldSelf) };
  return oldSelf === undefined ? { self } : { self, oldSelf };
}

/** A JSON value as CEL sees it under its schema: integers, times and names that CEL can write. */
export function toCel(value: unknown, schema: TypeSchema | undefined): unknown {
  if (typeof value === 'number') return celNumber(value, schema);
  if (typeof value === 'string') return celString(value, schema);
  if (Array.isArray(value)) return value.map((item: unknown) => toCel(item, schema?.items));
  if (!isRecord(value)) return value;
  const result = Object.create(null) as Record<string, unknown>;
  for (const key of Object.keys(value)) {
    const property = schema?.properties?.[key];
    const name = property === undefined ? key : celName(key);
    result[name] = toCel(value[key], property ?? schema?.additionalProperties);
  }
  return { ...result };
}

function celNumber(value: number, schema: TypeSchema | undefined): unknown {
  const integer = schema?.type === 'integer' || (schema?.type !== 'number' && Number.isInteger(value));
  return integer && Number.isInteger(value) ? BigInt(value) : value;
}

function celString(value: string, schema: TypeSchema | undefined): unknown {
  if (schema?.format === 'date-time' && isDateTime(value)) return new Date(value);
  if (schema?.format === 'date') return new Date(`${value}T00:00:00Z`);
  if (schema?.format === 'byte') return new Uint8Array(Buffer.from(value, 'base64'));
  return value;
}

const RESERVED = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

/** How a rule has to write the name of a property (`x-kubernetes-validations`, property names). */
function celName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  if (!/__|[.\-/]/.test(name)) return name;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}
