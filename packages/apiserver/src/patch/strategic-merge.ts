import { isRecord, jsonEqual } from '@mural/core';
import { goText } from '../schema/go-text.ts';
import { childSchema, omit, setField, type TypeSchema } from '../schema/types.ts';
import { PatchError } from './errors.ts';

type Fields = Readonly<Record<string, unknown>>;

const DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const ELEMENT_ORDER = '$setElementOrder/';
const DELETE_PRIMITIVES = '$deleteFromPrimitiveList/';

/**
 * Applies a strategic merge patch: like a merge patch, but lists that the schema marks with a
 * merge strategy are merged item by item, and the directives `$patch`, `$retainKeys`,
 * `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are obeyed. The input is not changed.
 *
 * @throws {PatchError} `BadRequest` when the patch is no object or a directive is malformed,
 *   `Invalid` when a list item lacks its merge key.
 */
export function strategicMergePatch(doc: unknown, patch: unknown, schema: TypeSchema): unknown {
  if (!isRecord(patch)) throw new PatchError('BadRequest', 'a strategic merge patch is an object');
  return mergeMap(isRecord(doc) ? doc : {}, patch, schema, 0);
}

/** Deeper patches than this are refused. */
const MAX_DEPTH = 200;

function mergeMap(original: Fields, patch: Fields, schema: TypeSchema | undefined, depth: number): Fields {
  if (depth > MAX_DEPTH) throw new PatchError('BadRequest', 'the patch is nested too deeply');
  const directed = obeyDirective(patch);
  if (directed !== undefined) return directed;
  const result: Record<string, unknown> = retainKeys(original, patch);
  for (const key of Object.keys(patch)) {
    if (key.startsWith(DELETE_PRIMITIVES)) {
      deletePrimitives(result, key.slice(DELETE_PRIMITIVES.length), patch[key]);
    } else if (!key.startsWith('$')) {
      mergeField(result, key, patch, { schema: childSchema(schema, key), depth });
    }
  }
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(ELEMENT_ORDER)) continue;
    const field = key.slice(ELEMENT_ORDER.length);
    if (!Object.hasOwn(patch, field)) orderUnpatched(result, field, patch[key], childSchema(schema, field));
  }
  return result;
}

/** What a `$patch` of the whole map leaves of it; `undefined` when it is to be merged. */
function obeyDirective(patch: Fields): Fields | undefined {
  switch (patch[DIRECTIVE]) {
    case undefined:
    case 'merge':
      return undefined;
    case 'replace':
      return plain(omit(patch, DIRECTIVE)) as Fields;
    case 'delete':
      return {};
    default:
      throw unknownDirective(patch);
  }
}

function unknownDirective(map: Fields): PatchError {
  return new PatchError('BadRequest', `unknown patch type: ${goText(map[DIRECTIVE])} in map: ${goText(map)}`);
}

function retainKeys(original: Fields, patch: Fields): Record<string, unknown> {
  const keep = patch[RETAIN_KEYS];
  if (keep === undefined) return { ...original };
  if (!Array.isArray(keep)) throw new PatchError('BadRequest', 'invalid patch format of retainKeys');
  const stray = Object.keys(patch).find(
    (key) => !key.startsWith('$') && patch[key] !== null && !keep.includes(key),
  );
  if (stray !== undefined) throw new PatchError('BadRequest', 'invalid patch format of retainKeys');
  return Object.fromEntries(Object.entries(original).filter(([key]) => keep.includes(key)));
}

function mergeField(
  result: Record<string, unknown>,
  key: string,
  patch: Fields,
  at: { readonly schema: TypeSchema | undefined; readonly depth: number },
): void {
  const value = patch[key];
  const { schema } = at;
  if (value === null) {
    Reflect.deleteProperty(result, key);
    return;
  }
  const before = Object.hasOwn(result, key) ? result[key] : undefined;
  const strategies = schema?.patchStrategy ?? [];
  if (isRecord(value) && isRecord(before) && !strategies.includes('replace')) {
    setField(result, key, mergeMap(before, value, schema, at.depth + 1));
  } else if (Array.isArray(value) && strategies.includes('merge')) {
    const list = { key: schema?.patchMergeKey, items: schema?.items, depth: at.depth + 1 };
    const order = patch[ELEMENT_ORDER + key];
    const merged = mergeList(
      Array.isArray(before) ? before : [],
      value,
      Array.isArray(order) ? order : undefined,
      list,
    );
    setField(result, key, merged);
  } else {
    setField(result, key, plain(value));
  }
}

/** A value that replaces or is new: without directives, and without fields that are null. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.filter((item) => !isRecord(item) || item[DIRECTIVE] === undefined).map(plain);
  }
  if (!isRecord(value)) return value;
  if (value[DIRECTIVE] === 'delete') return {};
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    if (!key.startsWith('$') && value[key] !== null) setField(result, key, plain(value[key]));
  }
  return result;
}

interface MergeList {
  /** The merge key of a list of objects; `undefined` for a list of scalars. */
  readonly key: string | undefined;
  readonly items: TypeSchema | undefined;
  readonly depth: number;
}

function mergeList(
  original: readonly unknown[],
  patch: readonly unknown[],
  order: readonly unknown[] | undefined,
  list: MergeList,
): unknown[] {
  const { key } = list;
  if (key === undefined || (patch.length > 0 && !patch.some(isRecord))) {
    const merged = [...original];
    for (const item of patch) if (!merged.some((known) => jsonEqual(known, item))) merged.push(item);
    return inOrder(merged, order ?? patch, original, undefined);
  }
  const { kept, left } = obeyDirectives(original, patch, key);
  const merged = [...kept];
  for (const item of left) {
    const value = mergeKeyOf(item, key);
    const index = merged.findIndex((known) => isRecord(known) && jsonEqual(known[key], value));
    const known = merged[index];
    if (isRecord(known)) merged[index] = mergeMap(known, item, list.items, list.depth);
    else merged.push(plain(item));
  }
  return inOrder(merged, order ?? left, original, key);
}

/** What `$patch` elements leave of both lists. */
function obeyDirectives(
  original: readonly unknown[],
  patch: readonly unknown[],
  key: string,
): { kept: readonly unknown[]; left: Fields[] } {
  let kept = original;
  const left: Fields[] = [];
  let replace = false;
  for (const item of patch) {
    if (!isRecord(item))
      throw new PatchError('BadRequest', 'a list of objects cannot be patched with scalars');
    const directive = item[DIRECTIVE];
    if (directive === undefined) left.push(item);
    else if (directive === 'replace') replace = true;
    else if (directive === 'delete') {
      const value = mergeKeyOf(item, key);
      kept = kept.filter((known) => !isRecord(known) || !jsonEqual(known[key], value));
    } else throw unknownDirective(item);
  }
  return { kept: replace ? [] : kept, left };
}

function mergeKeyOf(item: Fields, key: string): unknown {
  const value = item[key];
  if (value === undefined) {
    throw new PatchError('Invalid', `map: ${goText(item)} does not contain declared merge key: ${key}`);
  }
  return value;
}

/**
 * Orders a merged list: items that the patch names stand in its order, the others in the server's.
 * Where the two meet, an item of the server goes first only if the server had it before the other;
 * so new items come first.
 */
function inOrder(
  merged: readonly unknown[],
  order: readonly unknown[],
  server: readonly unknown[],
  key: string | undefined,
): unknown[] {
  const identity = (item: unknown): string =>
    JSON.stringify(key === undefined || !isRecord(item) ? item : item[key]);
  const ranks = (list: readonly unknown[]): Map<string, number> => {
    const ranked = new Map<string, number>();
    list.forEach((item, index) => {
      if (!ranked.has(identity(item))) ranked.set(identity(item), index);
    });
    return ranked;
  };
  const wanted = ranks(order);
  const served = ranks(server);
  const rank = (map: Map<string, number>, item: unknown): number => map.get(identity(item)) ?? Infinity;
  const named = merged.filter((item) => wanted.has(identity(item)));
  const others = merged.filter((item) => !wanted.has(identity(item)));
  named.sort((a, b) => compare(rank(wanted, a), rank(wanted, b)));
  others.sort((a, b) => compare(rank(served, a), rank(served, b)));
  const result: unknown[] = [];
  let next = 0;
  for (const item of named) {
    const at = rank(served, item);
    while (at !== Infinity && next < others.length && rank(served, others[next]) < at)
      result.push(others[next++]);
    result.push(item);
  }
  return [...result, ...others.slice(next)];
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function orderUnpatched(
  result: Record<string, unknown>,
  field: string,
  order: unknown,
  schema: TypeSchema | undefined,
): void {
  const list = result[field];
  if (!Array.isArray(list) || !Array.isArray(order)) return;
  setField(result, field, inOrder(list, order, list, schema?.patchMergeKey));
}

function deletePrimitives(result: Record<string, unknown>, field: string, values: unknown): void {
  const list = result[field];
  if (!Array.isArray(values))
    throw new PatchError('BadRequest', `${DELETE_PRIMITIVES}${field} is not a list`);
  if (Array.isArray(list)) {
    setField(
      result,
      field,
      list.filter((item) => !values.some((value) => jsonEqual(value, item))),
    );
  }
}
