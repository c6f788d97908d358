import { type Document, isAlias, isMap, isNode, isPair, isScalar, isSeq, type Node, type Scalar } from 'yaml';

/** Where something stands in the tree: keys and, in lists, indices. */
export type Path = readonly (string | number)[];

/** A key or list item of a file, with the nodes that hold it. */
export interface Place {
  readonly key: unknown;
  readonly value: unknown;
  /** The mapping or list around it. */
  readonly parent: unknown;
  /** Whether an alias or an anchor lies on the way: what stands there stands elsewhere too. */
  readonly shared: boolean;
}

/** The place that `path` leads to; `undefined` when the file holds no such place itself. */
export function placeOf(document: Document, path: Path): Place | undefined {
  let place: Place = { key: undefined, value: document.contents, parent: undefined, shared: false };
  for (const step of path) {
    const next = child(document, place, step);
    if (next === undefined) return undefined;
    place = next;
  }
  return place;
}

/** The offset of what `path` leads to, or of the deepest part of it that the file holds. */
export function offsetOf(document: Document | undefined, path: Path, at: 'key' | 'value'): number {
  if (document === undefined) return 0;
  let offset = startOf(document.contents) ?? 0;
  let place: Place = { key: undefined, value: document.contents, parent: undefined, shared: false };
  for (const [index, step] of path.entries()) {
    const next = child(document, place, step);
    if (next === undefined) break;
    const last = index === path.length - 1;
    offset = (last && at === 'value' ? startOf(next.value) : startOf(next.key)) ?? offset;
    place = next;
  }
  return offset;
}

/** Where a node starts in the text. */
export function startOf(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}

function child(document: Document, { value: holder, shared: before }: Place, step: string | number) {
  const parent: unknown = isAlias(holder) ? holder.resolve(document) : holder;
  const shared = before || isAlias(holder) || anchored(parent);
  if (isSeq(parent)) {
    const item = parent.items[Number(step)];
    return item === undefined
      ? undefined
      : { key: item, value: item, parent, shared: shared || shares(item) };
  }
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find((item) => isPair(item) && nameOf(item.key) === String(step));
  if (pair === undefined) return undefined;
  const value = pair.value ?? pair.key;
  return { key: pair.key, value, parent, shared: shared || shares(value) };
}

function shares(node: unknown): boolean {
  return isAlias(node) || anchored(node);
}

/** Whether a node carries an anchor, under which it may stand elsewhere too. */
export function anchored(node: unknown): boolean {
  return isNode(node) && (node as { readonly anchor?: string | undefined }).anchor !== undefined;
}

function nameOf(key: unknown): string {
  return String(isScalar(key) ? key.value : key);
}

/** Every scalar of a file once, with its path; what an alias repeats is not repeated. */
export function* scalarsOf(
  node: unknown,
  path: Path = [],
): Iterable<{ readonly path: Path; readonly scalar: Scalar; readonly at: 'key' | 'value' }> {
  if (isScalar(node)) yield { path, scalar: node, at: 'value' };
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) yield* scalarsOf(item, [...path, index]);
  }
  if (!isMap(node)) return;
  for (const { key, value } of node.items) {
    const below = [...path, nameOf(key)];
    if (isScalar(key)) yield { path: below, scalar: key, at: 'key' };
    yield* scalarsOf(value, below);
  }
}
