import { errorMessage, isRecord } from '@mural/core';
import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js';
import { RenderError } from '../errors.ts';

/** What expressions can see. */
export interface ExpressionVariables {
  readonly params: Readonly<Record<string, unknown>>;
  readonly environment: NamedLabels & { readonly namespace: string };
  readonly spoke: NamedLabels;
  readonly deployment: NamedLabels & { readonly namespace: string };
}

interface NamedLabels {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** How much of the variable `spoke` an input depends on; the greater includes the lesser. */
export type SpokeUse = 'none' | 'labels' | 'all';

const VARIABLES = ['params', 'environment', 'spoke', 'deployment'] as const;
const MAX_EXPRESSION = 4096;
const MAX_PARSED = 2000;

const cel = new Environment({ homogeneousAggregateLiterals: false });
for (const variable of VARIABLES) cel.registerVariable(variable, 'dyn');

interface Parsed {
  readonly run: ParseResult;
  readonly use: SpokeUse;
}
const parsedExpressions = new Map<string, Parsed>();

/** A piece of a text: literal, or the source of an expression. */
type Part = { readonly literal: string } | { readonly expression: string; readonly offset: number };

/** Evaluates the expressions (CEL in `${…}`; `$${` is a literal `${`) of one component. */
export class Evaluator {
  readonly #component: string;
  readonly #variables: Record<string, unknown>;
  #use: SpokeUse = 'none';

  constructor(component: string, variables: ExpressionVariables) {
    this.#component = component;
    this.#variables = toCel(variables) as Record<string, unknown>;
  }

  /** How much of `spoke` the expressions seen so far refer to. */
  get spokeUse(): SpokeUse {
    return this.#use;
  }

  /**
   * Replaces every expression in the texts of a value. A text that is one expression and nothing
   * else becomes the expression's value with its type; otherwise values are written into the text.
   *
   * @param path where the value stands, for messages: `properties.image`
   * @throws RenderError `ExpressionFailed` with component, path and expression
   */
  evaluate(value: unknown, path: string): unknown {
    if (typeof value === 'string') return this.#text(value, path);
    if (Array.isArray(value)) return value.map((item, index) => this.evaluate(item, `${path}[${index}]`));
    if (!isRecord(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, this.evaluate(inner, `${path}.${key}`)]),
    );
  }

  /** As {@link evaluate} for a text that stays one. */
  evaluateText(text: string, path: string): string {
    const value = this.#text(text, path);
    return typeof value === 'string' ? value : this.#write(value, text, path);
  }

  #text(text: string, path: string): unknown {
    if (!text.includes('${')) return text;
    const parts = this.#split(text, path);
    const only = parts.length === 1 ? parts[0] : undefined;
    if (only !== undefined && 'expression' in only) return this.#run(only.expression, path);
    return parts
      .map((part) =>
        'literal' in part
          ? part.literal
          : this.#write(this.#run(part.expression, path), part.expression, path),
      )
      .join('');
  }

  #run(expression: string, path: string): unknown {
    try {
      const parsed = parse(expression);
      this.#use = widest(this.#use, parsed.use);
      return fromCel(parsed.run(this.#variables));
    } catch (error) {
      throw this.#failed(expression, path, firstLine(errorMessage(error)), error);
    }
  }

  #write(value: unknown, expression: string, path: string): string {
    if (typeof value === 'string') return value;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    const kind = value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object';
    throw this.#failed(expression, path, `its value is ${kind} and cannot be part of a text`);
  }

  #split(text: string, path: string): Part[] {
    const parts: Part[] = [];
    let literal = '';
    let at = 0;
    while (at < text.length) {
      const next = text.indexOf('$', at);
      if (next < 0) break;
      literal += text.slice(at, next);
      if (text.startsWith('$${', next)) {
        literal += '${';
        at = next + 3;
      } else if (text.startsWith('${', next)) {
        const end = expressionEnd(text, next + 2);
        const expression = text.slice(next + 2, end);
        if (end < 0) throw this.#failed(text.slice(next, next + 80), path, 'it has no closing brace');
        if (literal !== '') parts.push({ literal });
        literal = '';
        parts.push({ expression: expression.trim(), offset: next });
        at = end + 1;
      } else {
        literal += '$';
        at = next + 1;
      }
    }
    literal += text.slice(at);
    if (literal !== '') parts.push({ literal });
    return parts;
  }

  #failed(expression: string, path: string, why: string, cause?: unknown): RenderError {
    return new RenderError(
      'ExpressionFailed',
      `component ${this.#component}, ${path}: the expression \${${expression}} failed: ${why}`,
      {
        facts: { component: this.#component, path, expression },
        hint: 'Expressions are CEL and see params, environment, spoke and deployment; $${ writes a literal ${.',
        ...(cause === undefined ? {} : { cause }),
      },
    );
  }
}

/** The greater of two uses. */
export function widest(a: SpokeUse, b: SpokeUse): SpokeUse {
  if (a === 'all' || b === 'all') return 'all';
  return a === 'labels' || b === 'labels' ? 'labels' : 'none';
}

/** Index of the brace that closes an expression, or -1. Braces of maps and those in quotes are not it. */
function expressionEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"' || character === "'") {
      at = quoteEnd(text, at);
      if (at < 0) return -1;
    } else if (character === '{') {
      depth += 1;
    } else if (character === '}') {
      if (depth === 0) return at;
      depth -= 1;
    }
  }
  return -1;
}

function quoteEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === text[start]) return at;
  }
  return -1;
}

function parse(expression: string): Parsed {
  const known = parsedExpressions.get(expression);
  if (known !== undefined) return known;
  if (expression === '') throw new Error('it is empty');
  if (expression.length > MAX_EXPRESSION) throw new Error(`it is longer than ${MAX_EXPRESSION} characters`);
  const run = cel.parse(expression);
  const parsed: Parsed = { run, use: spokeUseOf(run.ast) };
  if (parsedExpressions.size >= MAX_PARSED) parsedExpressions.clear();
  parsedExpressions.set(expression, parsed);
  return parsed;
}

/** Finds references to `spoke` without running the expression, so that no branch is missed. */
function spokeUseOf(node: unknown): SpokeUse {
  if (Array.isArray(node)) return node.map(spokeUseOf).reduce<SpokeUse>(widest, 'none');
  if (!isNode(node)) return 'none';
  if (node.op === 'id') return node.args === 'spoke' ? 'all' : 'none';
  if (node.op === '.' && isNode(node.args[0]) && node.args[0].op === 'id' && node.args[0].args === 'spoke') {
    return node.args[1] === 'labels' ? 'labels' : 'all';
  }
  return spokeUseOf(node.args);
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

/** JSON has one kind of number, CEL several: whole numbers are its `int`. */
function toCel(value: unknown): unknown {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(toCel);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toCel(inner)]));
}

function fromCel(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (!Number.isSafeInteger(Number(value))) throw new Error(`${value} is too large a number`);
    return Number(value);
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return finite(value);
  if (Array.isArray(value)) return value.map(fromCel);
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, inner]) => [String(key), fromCel(inner)]));
  }
  const prototype: unknown = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (isRecord(value) && (prototype === Object.prototype || prototype === null)) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fromCel(inner)]));
  }
  throw new Error('its value is none that JSON has');
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw new Error(`its value is ${value}`);
  return value;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
