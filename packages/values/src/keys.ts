import { isRecord, nearest } from '@mural/core';
import { z } from 'zod';
import type { Path, ValuesDocument } from './document.ts';
import type { Finding } from './finding.ts';
import { FOREIGN_TREES, Values } from './schema.ts';

/**
 * Compares every key of the file with those of the schema. A key in the wrong case is an error
 * everywhere (Helm ignores it in silence); an unknown key is one in the trees that are ours. In the
 * trees of other charts further keys are theirs.
 */
export function* checkKeys(document: ValuesDocument): Iterable<Finding> {
  yield* walk(document, Values, document.data, []);
}

function* walk(document: ValuesDocument, schema: z.ZodType, value: unknown, path: Path): Iterable<Finding> {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      yield* walk(document, inner.element as z.ZodType, item, [...path, index]);
    }
  }
  if (!(inner instanceof z.ZodObject) || !isRecord(value)) return;
  const shape = inner.shape as Record<string, z.ZodType>;
  const strict = inner.def.catchall instanceof z.ZodNever;
  for (const [key, below] of Object.entries(value)) {
    const at = [...path, key];
    const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (known === undefined) yield* unknownKey(document, at, { names: Object.keys(shape), strict });
    else yield* walk(document, known, below, at);
  }
}

function* unknownKey(
  document: ValuesDocument,
  path: Path,
  tree: { readonly names: readonly string[]; readonly strict: boolean },
): Iterable<Finding> {
  const key = String(path.at(-1));
  const where = formatPath(path);
  if (path.length === 1 && FOREIGN_TREES.includes(key)) return;
  const sameWord = tree.names.find((name) => name.toLowerCase() === key.toLowerCase());
  if (sameWord !== undefined) {
    const right = formatPath([...path.slice(0, -1), sameWord]);
    const message = `unknown key ${where}: it is written ${right}, and Helm ignores any other case`;
    yield document.finding(path, { level: 'error', message, rule: 'key-case', fix: sameWord }, 'key');
    return;
  }
  const meant = nearest(key, tree.names);
  if (!tree.strict && path.length > 1) return;
  const suggestion = meant === undefined ? {} : { fix: meant };
  const right = meant ?? nearest(key, FOREIGN_TREES);
  const hint =
    right !== undefined
      ? `, did you mean ${right}?`
      : tree.strict
        ? `; the keys here are ${tree.names.join(', ')}`
        : '; no part of mural reads it';
  yield document.finding(
    path,
    {
      level: tree.strict || meant !== undefined ? 'error' : 'warning',
      message: `unknown key ${where}${hint}`,
      rule: 'unknown-key',
      ...suggestion,
    },
    'key',
  );
}

/** The schema below defaults and optionality. */
function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodNullable
  ) {
    inner = inner.unwrap() as z.ZodType;
  }
  return inner;
}

/** A path as it is written in documentation: `fleetConfig.spokes[0].name`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}
