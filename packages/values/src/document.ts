import { isRecord } from '@mural/core';
import { type Document, LineCounter, parseAllDocuments, type Scalar, visit } from 'yaml';
import { type Edit, type TextEdit, textEdit } from './edits.ts';
import type { Finding } from './finding.ts';
import { offsetOf, type Path, scalarsOf, startOf } from './place.ts';

/** A finding with the change that would mend it. */
export interface Found extends Finding {
  readonly edit?: TextEdit;
}

/** What a rule says of a place; `edit` is a change at the same place unless `editAt` names another. */
export type About = Omit<Finding, 'file' | 'line' | 'column' | 'fixable'> & {
  readonly edit?: Edit | undefined;
  readonly editAt?: Path;
};

/** A parsed file that can tell where each key and value stands. */
export interface ValuesDocument {
  readonly file: string;
  /** The content with what is `null` left out: to Helm, null unsets a key. */
  readonly data: unknown;
  /** A finding at the value of `path`, or, with `'key'`, at the key that leads to it. */
  finding(path: Path, about: About, at?: 'key' | 'value'): Found;
  /** Every key and every scalar value, with its path. */
  scalars(): Iterable<{ readonly path: Path; readonly scalar: Scalar; readonly at: 'key' | 'value' }>;
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
        : error(pos[0], 'yaml', `invalid YAML: ${WITHOUT_CONTENT[code] ?? withoutStack(message)}`),
    ),
  );
  const [first, second] = documents;
  if (second !== undefined && findings.length === 0) {
    findings.push(error(second.range[0], 'single-document', 'a values file holds one YAML document'));
  }
  if (findings.length > 0) return { findings };
  const data = content(first);
  if ('problem' in data) return { findings: [error(data.offset, 'yaml', `invalid YAML: ${data.problem}`)] };
  if (first !== undefined && data.value !== undefined && !isRecord(data.value)) {
    return { findings: [error(startOf(first.contents) ?? 0, 'mapping', 'a values file is a mapping')] };
  }
  const document: ValuesDocument = {
    file,
    data: data.value ?? {},
    finding: (path, { edit, editAt, ...about }, at = 'value') => {
      const change =
        edit === undefined || first === undefined ? undefined : textEdit(text, first, editAt ?? path, edit);
      const place = position(offsetOf(first, path, at));
      return { ...place, ...about, ...(change === undefined ? {} : { fixable: true, edit: change }) };
    },
    scalars: () => scalarsOf(first?.contents),
  };
  return { document, findings: [] };
}

/** For errors whose own text repeats what stands in the file, which may be a password. */
const WITHOUT_CONTENT: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'an alias (*name) that no anchor stands before; a value that begins with * needs quotes',
  BAD_DIRECTIVE: 'a directive (%NAME) that is not known; a value that begins with % needs quotes',
  BAD_DQ_ESCAPE: 'an escape that is not known in double quotes; use single quotes',
  BAD_SCALAR_START: 'a value that begins with a reserved character needs quotes',
  TAG_RESOLVE_FAILED: 'a tag (!name) that cannot be read; a value that begins with ! needs quotes',
  UNEXPECTED_TOKEN: 'something stands here that cannot; a value with special characters needs quotes',
};

type Content = { readonly value: unknown } | { readonly problem: string; readonly offset: number };

function withoutStack(message: string): string {
  return message.includes('call stack') ? 'it is nested too deeply' : message;
}

/** The content as plain values, or what is wrong with its aliases. */
function content(document: Document | undefined): Content {
  try {
    return { value: withoutNulls(document?.toJS({ maxAliasCount: MAX_ALIASES })) };
  } catch (error) {
    const lost = document === undefined ? undefined : lostAlias(document);
    if (lost !== undefined) return { problem: WITHOUT_CONTENT.BAD_ALIAS ?? '', offset: lost };
    const merge = error instanceof Error && error.message.startsWith('Merge');
    return { problem: merge ? 'what << merges must be a mapping' : 'its aliases repeat too much', offset: 0 };
  }
}

/** Where an alias stands that names no anchor. */
function lostAlias(document: Document): number | undefined {
  let offset: number | undefined;
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document) !== undefined) return undefined;
      offset = alias.range?.[0] ?? 0;
      return visit.BREAK;
    },
  });
  return offset;
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

function keyAt(text: string, offset: number): string {
  const line = text.slice(offset, offset + 200).split('\n')[0] ?? '';
  return (line.split(':')[0] ?? '').trim();
}
