import { isRecord, nearest } from '@mural/core';
import type { Finding } from '@mural/values';
import { type Document, isMap, isNode, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import { z } from 'zod';

/** Where something stands in a file: keys and, in lists, indices. */
export type Path = readonly (string | number)[];

/** A YAML file that fits a schema and can tell where each of its values stands. */
export interface ConfigDocument<T> {
  readonly value: T;
  /** An error at what `path` leads to, or at the deepest part of it that the file holds. */
  error(path: Path, message: string, rule: string): Finding;
}

const MAX_ALIASES = 100;

/** Reads YAML text by a schema. What does not fit comes back as findings without a document. */
export function readConfig<T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
): ConfigDocument<T> | { readonly findings: readonly Finding[] } {
  const lines = new LineCounter();
  const at = (offset: number, message: string, rule: string): Finding => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col), level: 'error', message, rule };
  };
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const documents: readonly Document.Parsed[] = Array.isArray(parsed) ? parsed : [];
  const [document, second] = documents;
  const broken = documents.flatMap(({ errors }) => errors);
  // The parser's own texts can repeat what stands in the file, which may be a secret.
  if (broken.length > 0) {
    return { findings: broken.map(({ code, pos }) => at(pos[0], `invalid YAML: ${said(code)}`, 'yaml')) };
  }
  if (second !== undefined) {
    return { findings: [at(second.range[0], 'the file holds one YAML document', 'single-document')] };
  }
  const data = plain(document);
  if (data === undefined) return { findings: [at(0, 'invalid YAML: its aliases repeat too much', 'yaml')] };
  const error = (path: Path, message: string, rule: string): Finding =>
    at(offsetOf(document, path), `${nameOf(path)}${message}`, rule);
  const result = schema.safeParse(data.value ?? {});
  if (result.success) return { value: result.data, error };
  return { findings: result.error.issues.flatMap((issue) => findingsOf(issue, schema, error)) };
}

/** `a.b[0].c: `, and nothing for the whole. */
function nameOf(path: Path): string {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('');
  return text === '' ? '' : `${text.replace(/^\./, '')}: `;
}

function said(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
}

function plain(document: Document | undefined): { readonly value: unknown } | undefined {
  try {
    return { value: document?.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch {
    return undefined;
  }
}

function offsetOf(document: Document | undefined, path: Path): number {
  let node: unknown = document?.contents;
  let offset = startOf(node) ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(key) === String(step));
      offset = startOf(pair?.key) ?? offset;
      node = pair?.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = startOf(node) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

type Tell = (path: Path, message: string, rule: string) => Finding;

function findingsOf(issue: z.core.$ZodIssue, schema: z.ZodType, tell: Tell): Finding[] {
  const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const meant = nearest(key, keysAt(schema, path));
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      return tell([...path, key], `is not a known key${hint}`, 'unknown-key');
    });
  }
  const message = /received undefined$/.test(issue.message) ? 'is missing' : issue.message;
  return [tell(path, lowered(message), 'schema')];
}

function lowered(message: string): string {
  return message.replace(/^Invalid (?:input|option): /, '').replace(/^Invalid/, 'invalid');
}

/** The keys that the schema knows where `path` leads to. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  let json: unknown = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  for (const step of path) {
    if (!isRecord(json)) return [];
    const next = typeof step === 'number' ? json['items'] : undefined;
    json = next ?? (isRecord(json['properties']) ? json['properties'][step] : undefined);
  }
  return isRecord(json) && isRecord(json['properties']) ? Object.keys(json['properties']) : [];
}
