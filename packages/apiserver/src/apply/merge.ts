import { isRecord } from '@mural/core';
import { setField, type TypeSchema } from '../schema/types.ts';
import { atomOf, fieldSchema, type Fields, isNamedField, itemKey } from './atoms.ts';
import type { FieldSet } from './field-set.ts';

/** The live object with everything that the applied one says laid over it. */
export function mergeObjects(live: Fields, applied: Fields, schema: TypeSchema | undefined): Fields {
  return mergeFields(live, applied, schema);
}

function merge(live: unknown, applied: unknown, schema: TypeSchema | undefined): unknown {
  if (applied === undefined) return live;
  if (live === undefined || live === null || applied === null) return applied;
  const atom = atomOf(schema, applied);
  if (atom === 'map' && isRecord(live)) return mergeFields(live, applied as Fields, schema);
  if (atom === 'list' && Array.isArray(live)) return mergeItems(live, applied as readonly unknown[], schema);
  return applied;
}

function mergeFields(live: Fields, applied: Fields, schema: TypeSchema | undefined): Fields {
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(applied)) {
    const before = Object.hasOwn(live, key) ? live[key] : undefined;
    const after = merge(before, applied[key], fieldSchema(schema, key));
    if (after !== before) setField((result ??= { ...live }), key, after);
  }
  return result ?? live;
}

/**
 * Merges two lists whose items have identity. The order of the applied list wins among its items;
 * an item that only the live list has stays behind the item it followed.
 */
function mergeItems(
  live: readonly unknown[],
  applied: readonly unknown[],
  schema: TypeSchema | undefined,
): unknown[] {
  const liveKeys = live.map((item) => itemKey(schema, item));
  const appliedKeys = applied.map((item) => itemKey(schema, item));
  const liveItems = new Map<string, unknown>();
  // Of several live items with one identity none can be merged into: the applied one replaces all.
  liveKeys.forEach((key, index) => liveItems.set(key, liveItems.has(key) ? undefined : live[index]));
  const wanted = new Set(appliedKeys);
  const shared = appliedKeys.filter((key) => liveItems.has(key));
  const done = new Set<string>();
  const merged: unknown[] = [];
  let next = 0;
  const take = (index: number): void => {
    const key = appliedKeys[index] ?? '';
    done.add(key);
    merged.push(merge(liveItems.get(key), applied[index], schema?.items));
    if (key === shared[next]) next++;
  };
  let left = 0;
  let right = 0;
  while (left < live.length || right < applied.length) {
    const key = liveKeys[left];
    if (key !== undefined && right < applied.length) {
      if (key === appliedKeys[right]) {
        take(right++);
        left++;
        continue;
      }
      if (wanted.has(key) && shared[next] !== undefined && shared[next] !== key) {
        // Shared, but the applied list has it elsewhere: it comes when its turn is there.
        left++;
        continue;
      }
    }
    if (key !== undefined) {
      if (!wanted.has(key)) {
        merged.push(live[left++]);
        continue;
      }
      if (done.has(key)) left++;
    }
    if (right < applied.length) take(right++);
  }
  return merged;
}

/**
 * Removes from a merged object the fields that its applier used to own, no longer applies, and that
 * nobody else owns.
 */
export function removeAbandoned(
  merged: Fields,
  last: FieldSet,
  owned: FieldSet,
  schema: TypeSchema | undefined,
): Fields {
  return removeFields(merged, last, { owned, lost: false }, schema);
}

interface Owners {
  /** What is owned below here, by anybody. */
  readonly owned: FieldSet | undefined;
  /** Whether something above is owned by nobody, so that what hangs below falls with it. */
  readonly lost: boolean;
}

type Verdict = 'remove' | 'keep' | 'descend';

function judge(last: FieldSet, owners: Owners, named: boolean): { verdict: Verdict; owners: Owners } {
  const was = last.member || (named && last.children !== undefined && last.children.size > 0);
  const { owned } = owners;
  const is =
    owned !== undefined &&
    (owned.member || (named && owned.children !== undefined && owned.children.size > 0));
  const lost = owners.lost || !is;
  if (was && lost) return { verdict: 'remove', owners };
  return { verdict: last.children === undefined ? 'keep' : 'descend', owners: { owned, lost } };
}

function removeBelow(
  value: unknown,
  last: FieldSet,
  owners: Owners,
  schema: TypeSchema | undefined,
): unknown {
  switch (atomOf(schema, value)) {
    case 'map':
      return removeFields(value as Fields, last, owners, schema);
    case 'list':
      return removeItems(value as readonly unknown[], last, owners, schema);
    case 'leaf':
      return value;
  }
}

function removeFields(map: Fields, last: FieldSet, owners: Owners, schema: TypeSchema | undefined): Fields {
  let result: Record<string, unknown> | undefined;
  for (const [element, lastChild] of last.children ?? []) {
    if (!element.startsWith('f:')) continue;
    const key = element.slice(2);
    if (!Object.hasOwn(map, key)) continue;
    const value = map[key];
    const judged = judge(
      lastChild,
      { ...owners, owned: owners.owned?.children?.get(element) },
      isNamedField(schema, key),
    );
    if (judged.verdict === 'remove') {
      Reflect.deleteProperty((result ??= { ...map }), key);
    } else if (judged.verdict === 'descend') {
      const after = removeBelow(value, lastChild, judged.owners, fieldSchema(schema, key));
      if (after !== value) setField((result ??= { ...map }), key, after);
    }
  }
  return result ?? map;
}

function removeItems(
  list: readonly unknown[],
  last: FieldSet,
  owners: Owners,
  schema: TypeSchema | undefined,
): readonly unknown[] {
  let changed = false;
  const result: unknown[] = [];
  for (const item of list) {
    const element = itemKey(schema, item);
    const lastChild = last.children?.get(element);
    if (lastChild === undefined) {
      result.push(item);
      continue;
    }
    const judged = judge(lastChild, { ...owners, owned: owners.owned?.children?.get(element) }, false);
    if (judged.verdict === 'remove') {
      changed = true;
      continue;
    }
    const after =
      judged.verdict === 'keep' ? item : removeBelow(item, lastChild, judged.owners, schema?.items);
    if (after !== item) changed = true;
    result.push(after);
  }
  return changed ? result : list;
}
