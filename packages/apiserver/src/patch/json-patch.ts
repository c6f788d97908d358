import { isRecord, jsonEqual } from '@mural/core';
import { setField } from '../schema/types.ts';
import { PatchError } from './errors.ts';

interface Operation {
  readonly op: unknown;
  readonly path: readonly string[];
  readonly from: readonly string[] | undefined;
  readonly value: unknown;
}

/** As many operations as the API takes in one patch. */
const MAX_OPERATIONS = 10_000;
/** Copies may grow an object by at most this many bytes of JSON, as the API limits them. */
const MAX_COPIED = 3 * 1024 * 1024;

/**
 * Applies a JSON patch (RFC 6902). The input is not changed.
 *
 * As the API does, `replace` of a key that is not there adds it.
 *
 * @throws {PatchError} `BadRequest` when the patch is not one, `Invalid` when it does not fit.
 */
export function jsonPatch(doc: unknown, ops: unknown): unknown {
  if (!Array.isArray(ops)) throw new PatchError('BadRequest', 'a JSON patch is a list of operations');
  if (ops.length > MAX_OPERATIONS) {
    throw new PatchError(
      'BadRequest',
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${ops.length}`,
    );
  }
  const root = { value: structuredClone(doc) };
  let copied = 0;
  for (const entry of ops as unknown[]) {
    const operation = parse(entry);
    if (operation.op === 'copy' && operation.from !== undefined) {
      copied += JSON.stringify(get(root.value, operation.from)).length;
      if (copied > MAX_COPIED)
        throw new PatchError('BadRequest', 'the copies of the JSON patch are too large');
    }
    run(root, operation);
  }
  return root.value;
}

function invalid(message: string): PatchError {
  return new PatchError('Invalid', 'the server rejected our request due to an error in our request', {
    facts: { problem: message },
  });
}

function parse(entry: unknown): Operation {
  if (!isRecord(entry)) throw new PatchError('BadRequest', 'an operation of a JSON patch is an object');
  const { op, path, from } = entry;
  if (typeof path !== 'string') throw invalid('an operation has no path');
  return {
    op,
    path: pointer(path),
    from: typeof from === 'string' ? pointer(from) : undefined,
    value: entry['value'],
  };
}

/** The keys of a JSON pointer (RFC 6901). */
function pointer(text: string): readonly string[] {
  if (text === '') return [];
  if (!text.startsWith('/')) throw invalid(`"${text}" is not a JSON pointer`);
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function run(root: { value: unknown }, operation: Operation): void {
  const { path, from } = operation;
  switch (operation.op) {
    case 'add':
      put(root, path, valueOf(operation), true);
      return;
    case 'replace':
      put(root, path, valueOf(operation), false);
      return;
    case 'remove':
      remove(root, path);
      return;
    case 'test':
      if (!jsonEqual(find(root.value, path) ?? null, operation.value ?? null)) throw invalid('a test failed');
      return;
    case 'move': {
      if (from === undefined) throw invalid('a move has no from');
      const value = get(root.value, from);
      if (path.length > from.length && from.every((key, index) => key === path[index])) {
        throw invalid('a move into itself');
      }
      remove(root, from);
      put(root, path, value, true);
      return;
    }
    case 'copy':
      if (from === undefined) throw invalid('a copy has no from');
      put(root, path, structuredClone(get(root.value, from)), true);
      return;
    default:
      throw invalid('unknown operation');
  }
}

/** An operation without a value means null, as the API takes it. */
function valueOf(operation: Operation): unknown {
  return structuredClone(operation.value ?? null);
}

function find(value: unknown, path: readonly string[]): unknown {
  let at = value;
  for (const key of path) {
    if (Array.isArray(at)) at = at[indexOf(key, at.length - 1)];
    else if (isRecord(at) && Object.hasOwn(at, key)) at = at[key];
    else return undefined;
  }
  return at;
}

function get(value: unknown, path: readonly string[]): unknown {
  const found = find(value, path);
  if (found === undefined) throw invalid('a path does not exist');
  return found;
}

function put(root: { value: unknown }, path: readonly string[], value: unknown, insert: boolean): void {
  const key = path.at(-1);
  if (key === undefined) {
    root.value = value;
    return;
  }
  const parent = get(root.value, path.slice(0, -1));
  if (Array.isArray(parent)) {
    if (!insert) parent[indexOf(key, parent.length - 1)] = value;
    else if (key === '-') parent.push(value);
    else parent.splice(indexOf(key, parent.length), 0, value);
  } else if (isRecord(parent)) {
    setField(parent, key, value);
  } else throw invalid('a path leads into a scalar');
}

function remove(root: { value: unknown }, path: readonly string[]): void {
  const key = path.at(-1);
  if (key === undefined) throw invalid('the whole object cannot be removed');
  const parent = get(root.value, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(indexOf(key, parent.length - 1), 1);
  else if (isRecord(parent) && Object.hasOwn(parent, key)) Reflect.deleteProperty(parent, key);
  else throw invalid('a path to remove does not exist');
}

/** The index that a key names; one below zero counts from the end, beyond what RFC 6902 asks. */
function indexOf(key: string, max: number): number {
  if (!/^(?:0|-?[1-9]\d{0,8})$/.test(key)) throw invalid('an index is no number');
  const index = Number(key) < 0 ? max + 1 + Number(key) : Number(key);
  if (index < 0 || index > max) throw invalid('an index is out of range');
  return index;
}
