import { isRecord } from '@mural/core';
import type { ObjectMeta, UnstructuredObject } from '@mural/kube';

/**
 * An object as it is stored. Never changed in place: the same value is in the cache, in the event
 * log and in the hands of watchers.
 */
export type Stored = UnstructuredObject;

const encoded = new WeakMap<object, string>();

/** The JSON of a stored object, made once however many lists and watches send it. */
export function jsonOf(object: object): string {
  let text = encoded.get(object);
  if (text === undefined) {
    text = JSON.stringify(object);
    encoded.set(object, text);
  }
  return text;
}

/** Lets {@link jsonOf} know a text that has just been made or read. */
export function rememberJson(object: object, text: string): void {
  encoded.set(object, text);
}

/** The object with other metadata; fields given as `undefined` are removed. */
export function withMeta(
  object: Stored,
  changes: { [K in keyof ObjectMeta]?: ObjectMeta[K] | undefined },
): Stored {
  return { ...object, metadata: compact({ ...object.metadata, ...changes }) };
}

/** The record without its `undefined` values. */
export function compact(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

/** The record without some keys. */
export function omit(
  record: Readonly<Record<string, unknown>>,
  ...keys: readonly string[]
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !keys.includes(key)));
}

/** The value under a path of keys, or `undefined` where the path ends early. */
export function dig(value: unknown, ...path: readonly (string | number)[]): unknown {
  let at = value;
  for (const key of path) {
    if (Array.isArray(at)) at = at[Number(key)];
    else if (isRecord(at)) at = at[String(key)];
    else return undefined;
  }
  return at;
}

/** The text of a scalar; nothing for a list or an object. */
export function scalarText(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/** The string under a path, or the empty string. */
export function digString(value: unknown, ...path: readonly (string | number)[]): string {
  const found = dig(value, ...path);
  return typeof found === 'string' ? found : '';
}

/** The list under a path, or an empty one. */
export function digList(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const found = dig(value, ...path);
  return Array.isArray(found) ? (found as unknown[]) : [];
}

/** The list of strings under a path; other values are left out. */
export function digStrings(value: unknown, ...path: readonly (string | number)[]): string[] {
  return digList(value, ...path).filter((item) => typeof item === 'string');
}

/** A copy of the record with the value at the path replaced (or removed, when `undefined`). */
export function setIn(
  record: Readonly<Record<string, unknown>>,
  path: readonly string[],
  value: unknown,
): Record<string, unknown> {
  const [head, ...rest] = path;
  if (head === undefined) return { ...record };
  if (rest.length === 0) return compact({ ...record, [head]: value });
  const inner = record[head];
  return { ...record, [head]: setIn(isRecord(inner) ? inner : {}, rest, value) };
}
