import { isRecord } from '@mural/core';

/** One step of a path. */
type Step =
  | { readonly type: 'field'; readonly name: string }
  | { readonly type: 'index'; readonly index: number }
  | { readonly type: 'all' }
  | {
      readonly type: 'filter';
      readonly path: readonly Step[];
      readonly operator: string;
      readonly value: unknown;
    };

/** A path that was read; finds values in an object. */
export type JsonPath = (object: unknown) => unknown[];

const FIELD = /\.((?:[^.[\]\\]|\\.)+)/y;
const QUOTED = /\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/y;
const INDEX = /\[\s*(-?\d+|\*)\s*\]/y;
const FILTER = /\[\?\(\s*@((?:[^=!<>()]|\\.)*?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*\)\]/y;
const EXISTS = /\[\?\(\s*@([^=!<>()]*?)\s*\)\]/y;
const LENGTH_LIMIT = 1024;

/**
 * Reads the JSON paths that CRDs use for columns and scale: fields, quoted fields, indexes, `[*]`
 * and filters such as `.status.conditions[?(@.type=="Ready")].status`.
 *
 * @returns `undefined` when it is not such a path
 */
export function parseJsonPath(text: string): JsonPath | undefined {
  const steps = parseSteps(text.trim().replace(/^\{(.*)\}$/, '$1'));
  return steps === undefined ? undefined : (object) => follow(object, steps);
}

function parseSteps(text: string): Step[] | undefined {
  if (text.length > LENGTH_LIMIT) return undefined;
  const steps: Step[] = [];
  let at = text.startsWith('$') ? 1 : 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    const step = nextStep(take);
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return steps;
}

function nextStep(take: (pattern: RegExp) => RegExpExecArray | undefined): Step | undefined {
  const field = take(FIELD);
  if (field !== undefined) {
    const name = unescape(field[1] ?? '');
    return name === '*' ? { type: 'all' } : { type: 'field', name };
  }
  const quoted = take(QUOTED);
  if (quoted !== undefined) return { type: 'field', name: unescape(quoted[1] ?? quoted[2] ?? '') };
  const index = take(INDEX);
  if (index !== undefined) {
    return index[1] === '*' ? { type: 'all' } : { type: 'index', index: Number(index[1]) };
  }
  const filter = take(FILTER) ?? take(EXISTS);
  if (filter === undefined) return undefined;
  const path = parseSteps(filter[1] ?? '');
  if (path === undefined) return undefined;
  return { type: 'filter', path, operator: filter[2] ?? 'exists', value: literal(filter[3] ?? '') };
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, '$1');
}

function literal(text: string): unknown {
  const quoted = /^(['"])(.*)\1$/.exec(text);
  if (quoted !== null) return quoted[2];
  if (text === 'true' || text === 'false') return text === 'true';
  return text === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

function follow(object: unknown, steps: readonly Step[]): unknown[] {
  let found: unknown[] = [object];
  for (const step of steps) found = found.flatMap((value) => take(value, step));
  return found;
}

function take(value: unknown, step: Step): unknown[] {
  switch (step.type) {
    case 'field':
      return isRecord(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
    case 'index': {
      const item = Array.isArray(value) ? (value as unknown[]).at(step.index) : undefined;
      return item === undefined ? [] : [item];
    }
    case 'all':
      return children(value);
    case 'filter':
      return children(value).filter((child) => passes(child, step));
  }
}

function children(value: unknown): unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  return isRecord(value) ? Object.values(value) : [];
}

function passes(child: unknown, filter: Extract<Step, { type: 'filter' }>): boolean {
  const found = follow(child, filter.path);
  if (filter.operator === 'exists') return found.length > 0;
  const [left] = found;
  const right = filter.value;
  if (filter.operator === '==') return found.length > 0 && left === right;
  if (filter.operator === '!=') return found.length > 0 && left !== right;
  if (typeof left !== 'number' || typeof right !== 'number') return false;
  const order: Readonly<Record<string, boolean>> = {
    '<': left < right,
    '<=': left <= right,
    '>': left > right,
    '>=': left >= right,
  };
  return order[filter.operator] ?? false;
}
