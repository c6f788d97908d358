import { isRecord, jsonEqual } from '@mural/core';
import { KubeError } from '../errors.ts';

type Fields = Readonly<Record<string, unknown>>;

/** RFC 7386: null removes, objects merge, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, key);
    else if (value !== undefined) result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** Objects merge, everything else replaces; nothing is removed. */
export function mergeApply(target: unknown, applied: unknown): unknown {
  if (!isRecord(applied) || !isRecord(target)) return applied;
  const result: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(applied)) {
    if (value !== undefined) result[key] = mergeApply(result[key], value);
  }
  return result;
}

/** Takes away what a manager applied before and applies no longer, unless another manager applies it too. */
export function withoutAbandoned(
  target: Fields,
  before: Fields,
  now: Fields,
  others: readonly Fields[],
): Fields {
  const result: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(before)) {
    const held = others.filter((other) => other[key] !== undefined).map((other) => other[key]);
    const next = now[key];
    if (isRecord(value) && isRecord(result[key])) {
      const inner = isRecord(next) ? next : {};
      result[key] = withoutAbandoned(result[key], value, inner, held.filter(isRecord));
      if (next === undefined && held.length === 0 && jsonEqual(result[key], {}))
        Reflect.deleteProperty(result, key);
    } else if (next === undefined && held.length === 0) {
      Reflect.deleteProperty(result, key);
    }
  }
  return result;
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** RFC 6902. */
export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) throw invalid();
  let result = structuredClone(target);
  for (const operation of operations as readonly Operation[]) result = step(result, operation);
  return result;
}

function step(document: unknown, { op, path, from, value }: Operation): unknown {
  switch (op) {
    case 'add':
      return put(document, path, structuredClone(value), true);
    case 'replace':
      return put(document, path, structuredClone(value), false);
    case 'remove':
      return take(document, path).document;
    case 'move': {
      const taken = take(document, from ?? '');
      return put(taken.document, path, taken.value, true);
    }
    case 'copy':
      return put(document, path, structuredClone(read(document, from ?? '')), true);
    case 'test':
      if (!jsonEqual(read(document, path), value)) throw invalid();
      return document;
    default:
      throw invalid();
  }
}

function pointer(path: string): string[] {
  if (path === '') return [];
  return path
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function read(document: unknown, path: string): unknown {
  return pointer(path).reduce<unknown>((at, key) => {
    if (Array.isArray(at)) return at[Number(key)] as unknown;
    if (!isRecord(at)) throw invalid();
    return at[key];
  }, document);
}

function parentOf(document: unknown, keys: readonly string[]): { parent: unknown; last: string } {
  const last = keys.at(-1) ?? '';
  const path = keys.slice(0, -1).map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  return { parent: read(document, path.join('')), last };
}

function put(document: unknown, path: string, value: unknown, insert: boolean): unknown {
  const keys = pointer(path);
  if (keys.length === 0) return value;
  const { parent, last } = parentOf(document, keys);
  if (Array.isArray(parent)) {
    const at = last === '-' ? parent.length : Number(last);
    if (!Number.isInteger(at) || at < 0 || at > parent.length) throw invalid();
    parent.splice(at, insert ? 0 : 1, value);
  } else if (isRecord(parent)) parent[last] = value;
  else throw invalid();
  return document;
}

function take(document: unknown, path: string): { document: unknown; value: unknown } {
  const { parent, last } = parentOf(document, pointer(path));
  if (Array.isArray(parent)) {
    const [value] = parent.splice(Number(last), 1) as unknown[];
    return { document, value };
  }
  if (!isRecord(parent) || !Object.hasOwn(parent, last)) throw invalid();
  const value = parent[last];
  Reflect.deleteProperty(parent, last);
  return { document, value };
}

/** The words of a real API server. */
function invalid(): KubeError {
  return new KubeError(
    'Invalid',
    'The request is invalid: the server rejected our request due to an error in our request',
    { httpStatus: 422 },
  );
}
