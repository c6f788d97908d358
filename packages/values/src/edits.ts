import { type Document, isMap, isNode, isScalar, type Node, Scalar, visit, type YAMLMap } from 'yaml';
import { anchored, type Path, type Place, placeOf } from './place.ts';

/** A change that a rule is certain of. */
export type Edit =
  | { readonly kind: 'rename'; readonly to: string }
  | { readonly kind: 'set'; readonly to: string | boolean }
  /** Puts quotes around a number or boolean that is meant as a string. */
  | { readonly kind: 'quote' }
  | { readonly kind: 'remove' }
  /** Writes a further key behind the one that the path leads to. */
  | { readonly kind: 'add-after'; readonly key: string; readonly value: string };

/** A change of the text: what lies from `start` to before `end` becomes `text`. */
export interface TextEdit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Where a change falls in the text; nothing around it moves. `undefined` when it cannot be done so:
 * behind an alias, in a block scalar, or for a key that shares its line with others.
 */
export function textEdit(text: string, document: Document, path: Path, edit: Edit): TextEdit | undefined {
  const place = placeOf(document, path);
  if (place === undefined || place.shared) return undefined;
  switch (edit.kind) {
    case 'rename':
      return clashes(place.parent, edit.to) ? undefined : replaceScalar(place.key, edit.to);
    case 'set':
      return replaceScalar(place.value, edit.to);
    case 'quote':
      return quoteScalar(place.value);
    case 'remove':
      return removePair(text, place);
    case 'add-after':
      return clashes(place.parent, edit.key) ? undefined : addPair(text, place, edit);
  }
}

/** Applies changes that do not overlap; of those that do, the first and widest. */
export function applyEdits<T extends TextEdit>(
  text: string,
  edits: readonly T[],
): { readonly text: string; readonly applied: readonly T[] } {
  const ordered = [...edits].sort((a, b) => a.start - b.start || b.end - a.end);
  const applied: T[] = [];
  let result = '';
  let position = 0;
  for (const edit of ordered) {
    const before = applied.at(-1);
    const sameInsertion = before?.start === edit.start && before.end === edit.end;
    if (edit.start < position || sameInsertion) continue;
    result += text.slice(position, edit.start) + edit.text;
    position = edit.end;
    applied.push(edit);
  }
  return { text: result + text.slice(position), applied };
}

function clashes(parent: unknown, key: string): boolean {
  return !isMap(parent) || parent.has(key);
}

function replaceScalar(node: unknown, to: string | boolean): TextEdit | undefined {
  const range = plainRange(node);
  if (range === undefined || !isScalar(node)) return undefined;
  return { ...range, text: typeof to === 'boolean' ? String(to) : inStyle(to, node.type) };
}

function quoteScalar(node: unknown): TextEdit | undefined {
  const range = plainRange(node);
  if (range === undefined || !isScalar(node) || node.type !== Scalar.PLAIN) return undefined;
  return { ...range, text: single(node.source ?? '') };
}

/** The range of a scalar on its own line that carries neither tag nor anchor. */
function plainRange(node: unknown): { readonly start: number; readonly end: number } | undefined {
  if (!isScalar(node) || node.range === undefined || node.range === null) return undefined;
  if (node.tag !== undefined || node.anchor !== undefined) return undefined;
  if (node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL) return undefined;
  return { start: node.range[0], end: node.range[1] };
}

const SAFE = /^[a-zA-Z][a-zA-Z0-9._/-]*$/;
/** Words that a YAML reader takes for something other than a string. */
const WORDS = /^(?:true|false|yes|no|on|off|null|y|n)$/i;

function inStyle(value: string, type: string | undefined): string {
  if (type === Scalar.QUOTE_DOUBLE) return JSON.stringify(value);
  const plain = SAFE.test(value) && !WORDS.test(value);
  const url = /^oci:\/\/[a-zA-Z0-9]\S*$/.test(value) && !/[,[\]{}#'"]|:$/.test(value);
  return type === Scalar.PLAIN && (plain || url) ? value : single(value);
}

function single(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** Takes the lines of a pair of a block mapping out, with the comment behind it. */
function removePair(text: string, place: Place): TextEdit | undefined {
  const map = place.parent;
  const start = isNode(place.key) ? (place.key as Node).range?.[0] : undefined;
  const end = isNode(place.value) ? (place.value as Node).range?.[1] : undefined;
  if (!isMap(map) || map.flow === true || map.items.length < 2) return undefined;
  if (start === undefined || end === undefined || holdsAnchor(place.value)) return undefined;
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  if (text.slice(lineStart, start).trim() !== '') return undefined;
  const newline = text.indexOf('\n', Math.max(end - 1, start));
  return { start: lineStart, end: newline < 0 ? text.length : newline + 1, text: '' };
}

function holdsAnchor(node: unknown): boolean {
  let found = false;
  visit(node as Node, {
    Node: (_key, inner) => {
      if (!anchored(inner)) return undefined;
      found = true;
      return visit.BREAK;
    },
  });
  return found;
}

function addPair(
  text: string,
  place: Place,
  edit: { readonly key: string; readonly value: string },
): TextEdit | undefined {
  const range = plainRange(place.value);
  const start = isNode(place.key) ? (place.key as Node).range?.[0] : undefined;
  if (range === undefined || start === undefined) return undefined;
  const pair = `${edit.key}: ${single(edit.value)}`;
  if ((place.parent as YAMLMap).flow === true) return { start: range.end, end: range.end, text: `, ${pair}` };
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  // In a list, the first key of a mapping stands behind the dash.
  const indent = ' '.repeat(start - lineStart);
  const newline = text.indexOf('\n', range.end);
  const lineEnd = newline < 0 ? text.length : newline;
  const carriage = text[lineEnd - 1] === '\r';
  const at = carriage ? lineEnd - 1 : lineEnd;
  return { start: at, end: at, text: `${carriage ? '\r\n' : '\n'}${indent}${pair}` };
}
