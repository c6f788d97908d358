import { isRecord } from '@mural/core';
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml';
import type { Finding } from './finding.ts';

/** Where something stands in the tree: keys and, in lists, indices. */
export type Path = readonly (string | number)[];

/** A parsed file that can tell where each key and value stands. */
export interface ValuesDocument {
  readonly file: string;
  /** The content with what is `null` left out: to Helm, null unsets a key. */
  readonly data: unknown;
  /** A finding at the value of `path`, or, with `'key'`, at the key that leads to it. */
  finding(path: Path, about: Omit<Finding, 'file' | 'line' | 'column'>, at?: 'key' | 'value'): Finding;
}

const MAX_ALIASES = 100;

/** Reads YAML text. What is not YAML, or not one mapping, comes back as findings without a document. */
export function readDocument(
  text: string,
  file: string,
): { readonly document?: ValuesDocument; readonly findings: readonly Finding[] } {
  const lines = new LineCounter();
  const position = (offset: number): Pick<Finding, 'file' | 'line' | 'column'> => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const error = (offset: number, rule: string, message: string): Finding => ({
    ...position(offset),
    level: 'error',
    message,
    rule,
  });
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const documents = 'empty' in parsed ? [] : parsed;
  const findings = documents.flatMap((document) =>
    document.errors.map(({ code, message, pos }) =>
      code === 'DUPLICATE_KEY'
        ? error(pos[0], 'duplicate-key', `the key ${keyAt(text, pos[0])} stands twice in one mapping`)
        : error(pos[0], 'yaml', `invalid YAML: ${message}`),
    ),
  );
  const [first, second] = documents;
  if (second !== undefined && findings.length === 0) {
    findings.push(error(second.range[0], 'single-document', 'a values file holds one YAML document'));
  }
  if (findings.length > 0) return { findings };
  const data = content(first);
  if (typeof data === 'string') return { findings: [error(0, 'yaml', `invalid YAML: ${data}`)] };
  if (first !== undefined && data.value !== undefined && !isRecord(data.value)) {
    return { findings: [error(start(first.contents) ?? 0, 'mapping', 'a values file is a mapping')] };
  }
  const document: ValuesDocument = {
    file,
    data: data.value ?? {},
    finding: (path, about, at = 'value') => ({ ...position(offsetOf(first, path, at)), ...about }),
  };
  return { document, findings: [] };
}

/** The content as plain values, or what is wrong with its aliases. */
function content(document: Document | undefined): { readonly value: unknown } | string {
  try {
    return { value: withoutNulls(document?.toJS({ maxAliasCount: MAX_ALIASES })) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function withoutNulls(value: unknown): unknown {
  if (value === null) return undefined;
  if (Array.isArray(value)) return value.map((item: unknown) => withoutNulls(item));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNulls(inner)]),
  );
}

/** The offset of what `path` leads to, or of the deepest part of it that the file holds. */
function offsetOf(document: Document | undefined, path: Path, at: 'key' | 'value'): number {
  let node: unknown = document?.contents;
  let offset = start(node) ?? 0;
  for (const [index, step] of path.entries()) {
    const next = child(document, node, step);
    if (next === undefined) break;
    const last = index === path.length - 1;
    offset = (last && at === 'value' ? start(next.value) : start(next.key)) ?? offset;
    node = next.value;
  }
  return offset;
}

function child(
  document: Document | undefined,
  parent: unknown,
  step: string | number,
): { readonly key: unknown; readonly value: unknown } | undefined {
  const node: unknown = isAlias(parent) && document !== undefined ? parent.resolve(document) : parent;
  if (isSeq(node)) {
    const item = node.items[Number(step)];
    return item === undefined ? undefined : { key: item, value: item };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(
    (item) => isPair(item) && String(isScalar(item.key) ? item.key.value : item.key) === String(step),
  );
  return pair === undefined ? undefined : { key: pair.key, value: pair.value ?? pair.key };
}

function start(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}

function keyAt(text: string, offset: number): string {
  const line = text.slice(offset, offset + 200).split('\n')[0] ?? '';
  return (line.split(':')[0] ?? '').trim();
}
