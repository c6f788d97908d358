import { canonicalJson, isRecord, nearest } from '@mural/core';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { RenderError } from '../errors.ts';

/** Values of a workload's parameters. */
export type Parameters = Readonly<Record<string, unknown>>;

/**
 * Merges parameters, later over earlier: objects key by key and deeply, lists as a whole, and
 * `null` removes what was there.
 */
export function mergeParameters(...layers: readonly (Parameters | undefined)[]): Record<string, unknown> {
  let merged: Record<string, unknown> = {};
  for (const layer of layers) if (layer !== undefined) merged = mergeTwo(merged, layer);
  return merged;
}

function mergeTwo(below: Parameters, above: Parameters): Record<string, unknown> {
  const merged = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    const old = merged.get(key);
    if (value === null) merged.delete(key);
    else if (isRecord(value)) merged.set(key, mergeTwo(isRecord(old) ? old : {}, value));
    else merged.set(key, value);
  }
  return Object.fromEntries(merged);
}

/** Checks parameters against the schema of a profile and fills in its defaults. */
export class ParameterSchema {
  readonly #validate: ValidateFunction | undefined;
  readonly #known: readonly string[];

  /**
   * @param schema JSON schema of the parameters object; without one, anything is accepted
   * @throws RenderError `ParametersInvalid` when the schema itself is none
   */
  constructor(schema: Parameters | undefined) {
    this.#known = isRecord(schema?.['properties']) ? Object.keys(schema['properties']) : [];
    this.#validate = schema === undefined ? undefined : compile(schema);
  }

  /**
   * @returns the parameters with defaults applied
   * @throws RenderError `ParametersInvalid` naming the parameter, what is wrong and what is right
   */
  complete(parameters: Parameters): Record<string, unknown> {
    const value = structuredClone(parameters) as Record<string, unknown>;
    if (this.#validate === undefined || this.#validate(value)) return value;
    const problems = (this.#validate.errors ?? []).map((error) => this.#describe(error, value));
    throw new RenderError('ParametersInvalid', [...new Set(problems)].slice(0, 5).join('; '), {
      facts: { parameters: (this.#validate.errors ?? []).map((error) => pathOf(error)) },
    });
  }

  #describe(error: ErrorObject, parameters: Parameters): string {
    const name = pathOf(error);
    const params = error.params as Readonly<Record<string, unknown>>;
    if (error.keyword === 'type') {
      return `parameter ${name} must be ${article(params['type'])}, not ${describeValue(valueAt(error, parameters))}`;
    }
    if (error.keyword === 'required') return `parameter ${name} is required`;
    if (error.keyword === 'enum') {
      const allowed = (params['allowedValues'] as unknown[]).map((item) => JSON.stringify(item)).join(', ');
      return `parameter ${name} must be one of ${allowed}, not ${describeValue(valueAt(error, parameters))}`;
    }
    if (error.keyword === 'additionalProperties') {
      const near = nearest(String(params['additionalProperty']), this.#known);
      return `parameter ${name} does not exist${near === undefined ? '' : `; did you mean ${near}?`}`;
    }
    return `parameter ${name} ${error.message ?? error.keyword}`;
  }
}

const MAX_SCHEMAS = 500;
const compiled = new Map<string, ValidateFunction>();

function compile(schema: Parameters): ValidateFunction {
  const key = canonicalJson(schema);
  const known = compiled.get(key);
  if (known !== undefined) return known;
  // A schema may leave the outermost type away: parameters always are an object.
  const whole = { type: 'object', ...schema };
  const ajv = new Ajv2020({ useDefaults: true, allErrors: true, strict: false, validateFormats: false });
  try {
    const validate = ajv.compile(whole);
    if (compiled.size >= MAX_SCHEMAS) compiled.clear();
    compiled.set(key, validate);
    return validate;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new RenderError('ParametersInvalid', `spec.parameters of the profile is no JSON schema: ${why}`, {
      cause: error,
    });
  }
}

function pathOf(error: ErrorObject): string {
  const params = error.params as Readonly<Record<string, unknown>>;
  const last = params['missingProperty'] ?? params['additionalProperty'];
  const parts = pointerParts(error.instancePath);
  if (typeof last === 'string') parts.push(last);
  return parts.length === 0 ? '(all)' : parts.join('.');
}

function valueAt(error: ErrorObject, parameters: Parameters): unknown {
  return pointerParts(error.instancePath).reduce<unknown>(
    (value, part) =>
      isRecord(value) ? value[part] : Array.isArray(value) ? (value as unknown[])[Number(part)] : undefined,
    parameters,
  );
}

function pointerParts(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function article(type: unknown): string {
  const name = Array.isArray(type) ? type.join(' or ') : String(type);
  return `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;
}

/** Type and, when short, the value. A parameter may be a secret, so text is never quoted. */
function describeValue(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number' || typeof value === 'boolean') return `the ${typeof value} ${value}`;
  return typeof value === 'string' ? 'a string' : article(typeof value);
}
