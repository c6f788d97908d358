import { isRecord } from '@mural/core';
import type { UnstructuredObject } from '@mural/kube';
import { type Document, LineCounter, parseAllDocuments, type ScalarTag, type Tags } from 'yaml';
import { RenderError } from '../errors.ts';

/** Where a text comes from, for the messages about it. */
export interface TextOrigin {
  readonly component: string;
  /** File within the component, when its input is files. */
  readonly file?: string;
}

/** A Kubernetes object and where it was read. */
export interface Located {
  readonly object: UnstructuredObject;
  /** For messages: `document 3 (line 41)`, `deploy.yaml document 1 (line 1)`, `object 2`. */
  readonly where: string;
}

/** Floating-point numbers as go-yaml knows them; the library also takes `e0` and `.` for numbers. */
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)$/;
const FLOAT_EXPONENT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$/;

// YAML 1.1 as the parsers of kubectl, helm and kustomize have it: octal numbers and merge keys,
// but neither sexagesimal numbers nor timestamps, which they keep as text.
const options = {
  version: '1.1',
  customTags: (tags: Tags): Tags => tags.filter((tag) => !isForeign(tag)).map(strictFloat),
} as const;

function isForeign(tag: Tags[number]): boolean {
  return typeof tag !== 'string' && (tag.format === 'TIME' || tag.tag.endsWith(':timestamp'));
}

function strictFloat(tag: Tags[number]): Tags[number] {
  if (typeof tag === 'string' || tag.tag !== 'tag:yaml.org,2002:float' || !('test' in tag)) return tag;
  const source = String(tag.test);
  if (/nan|inf/i.test(source)) return tag;
  return { ...tag, test: tag.format === 'EXP' ? FLOAT_EXPONENT : FLOAT } as ScalarTag;
}

/**
 * Reads the Kubernetes objects of a multi-document YAML text. Empty documents are skipped, lists
 * (`kind: List`) flattened.
 *
 * @throws RenderError `RenderFailed` with component, line and column
 */
export function parseManifests(text: string, origin: TextOrigin): Located[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    ...options,
    lineCounter: lines,
    intAsBigInt: true,
    prettyErrors: false,
    logLevel: 'silent',
  });
  if (!Array.isArray(documents)) return [];
  // Syntax first: one broken document makes the text as a whole unusable.
  for (const document of documents) refuseErrors(document, lines, origin);
  const found: Located[] = [];
  documents.forEach((document: Document.Parsed, index: number) => {
    const value = plain(toValue(document, origin), origin);
    if (value === null || value === undefined) return;
    const start = document.contents?.range[0] ?? document.range[0];
    const prefix = origin.file === undefined ? '' : `${origin.file} `;
    const where = `${prefix}document ${index + 1} (line ${lines.linePos(start).line})`;
    found.push(...checkObject(value, origin, where));
  });
  return found;
}

/**
 * Checks that a value is a Kubernetes object that can be applied, and flattens a list.
 *
 * @throws RenderError `RenderFailed` naming what is missing and where
 */
export function checkObject(value: unknown, origin: TextOrigin, where: string): Located[] {
  if (!isRecord(value)) throw failed(origin, `${where} is not an object but ${nameOf(value)}`);
  for (const field of ['apiVersion', 'kind'] as const) {
    if (typeof value[field] !== 'string' || value[field] === '') {
      throw failed(origin, `${where} has no ${field}`);
    }
  }
  if (Array.isArray(value['items']) && String(value['kind']).endsWith('List')) {
    return value['items'].flatMap((item, index) => checkObject(item, origin, `${where} item ${index + 1}`));
  }
  const metadata = value['metadata'];
  if (isRecord(metadata) && ['number', 'boolean'].includes(typeof metadata['name'])) {
    throw failed(origin, `${where}: metadata.name is not a text: put it in quotes`);
  }
  if (!isRecord(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '') {
    throw failed(origin, `${where} (${String(value['kind'])}) has no metadata.name`);
  }
  return [{ object: value as unknown as UnstructuredObject, where }];
}

/** One document of any shape. */
export function parseYamlValue(text: string, origin: TextOrigin): unknown {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { ...options, lineCounter: lines, prettyErrors: false });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (document === undefined) return null;
  refuseErrors(document, lines, origin);
  return toValue(document, origin);
}

/** @throws RenderError for the first error of a document, at the place where it is to be put right */
function refuseErrors(document: Document.Parsed, lines: LineCounter, origin: TextOrigin): void {
  const [error, next] = document.errors;
  if (error === undefined) return;
  // For a line that is indented too far the parser points at the value before it; what is wrong is
  // where its next error, of the key that seems to go over several lines, ends.
  const indented = error.code === 'BLOCK_AS_IMPLICIT_KEY' && next?.code === 'MULTILINE_IMPLICIT_KEY';
  const message = indented ? 'a mapping is not allowed here; check the indentation' : error.message;
  const { line, col } = lines.linePos(indented ? next.pos[1] : error.pos[0]);
  throw failed(origin, `invalid YAML at line ${line}, column ${col}: ${message}`, { line, column: col });
}

function toValue(document: Document.Parsed, origin: TextOrigin): unknown {
  try {
    return document.toJS({ maxAliasCount: 1000 });
  } catch (error) {
    throw failed(origin, `invalid YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Values as JSON has them: integers that a double holds exactly become numbers, keys text. */
function plain(value: unknown, origin: TextOrigin): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw failed(origin, `${String(value)} is not a number that Kubernetes can store`);
  }
  if (Array.isArray(value)) return value.map((item) => plain(item, origin));
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, origin)]));
}

function nameOf(value: unknown): string {
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}

function failed(origin: TextOrigin, message: string, facts: Record<string, unknown> = {}): RenderError {
  const file = origin.file === undefined ? '' : `, ${origin.file}`;
  return new RenderError('RenderFailed', `component ${origin.component}${file}: ${message}`, {
    facts: { ...origin, ...facts },
  });
}
