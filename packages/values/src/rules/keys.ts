import { isRecord, nearest } from '@mural/core';
import { z } from 'zod';
import type { Found, ValuesDocument } from '../document.ts';
import type { Path } from '../place.ts';
import { FOREIGN_TREES, Values } from '../schema.ts';
import { isMisplacedRole } from './irsa.ts';
import { formatPath } from './rule.ts';

/**
 * Compares every key of the file with those of the schema. A key in the wrong case is an error
 * everywhere (Helm ignores it in silence); an unknown key is one in the trees that are ours. In the
 * trees of other charts further keys are theirs.
 */
export function* checkKeys(document: ValuesDocument): Iterable<Found> {
  yield* walk(document, Values, document.data, []);
}

/** The schema of what stands at `path`; `undefined` where others' keys begin. */
export function schemaAt(path: Path): z.ZodType | undefined {
  let schema: z.ZodType | undefined = Values;
  for (const step of path) {
    const inner: z.ZodType = unwrap(schema);
    if (inner instanceof z.ZodArray) schema = inner.element as z.ZodType;
    else if (inner instanceof z.ZodRecord) schema = inner.valueType as z.ZodType;
    else if (inner instanceof z.ZodObject) schema = shapeOf(inner)[String(step)];
    else return undefined;
    if (schema === undefined) return undefined;
  }
  return schema;
}

/** The schemas of the keys of a mapping; no key of an object's prototype is among them. */
export function shapeOf(schema: z.ZodObject): Readonly<Record<string, z.ZodType>> {
  return Object.assign(Object.create(null) as Record<string, z.ZodType>, schema.shape);
}

function* walk(document: ValuesDocument, schema: z.ZodType, value: unknown, path: Path): Iterable<Found> {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      yield* walk(document, inner.element as z.ZodType, item, [...path, index]);
    }
  }
  if (!(inner instanceof z.ZodObject) || !isRecord(value)) return;
  const shape = shapeOf(inner);
  const strict = inner.def.catchall instanceof z.ZodNever;
  for (const [key, below] of Object.entries(value)) {
    const at = [...path, key];
    const known = shape[key];
    if (known !== undefined) yield* walk(document, known, below, at);
    // The finding of a role in the wrong place says more than that its key is not known.
    else if (!isMisplacedRole(at, below))
      yield* unknownKey(document, at, { names: Object.keys(shape), strict });
  }
}

function* unknownKey(
  document: ValuesDocument,
  path: Path,
  tree: { readonly names: readonly string[]; readonly strict: boolean },
): Iterable<Found> {
  const key = String(path.at(-1));
  if (path.length === 1 && FOREIGN_TREES.includes(key)) return;
  const sameWord = tree.names.find((name) => folded(name) === folded(key));
  if (sameWord !== undefined) {
    const right = formatPath([...path.slice(0, -1), sameWord]);
    const message = `unknown key ${formatPath(path)}: it is written ${right}, and Helm ignores any other spelling`;
    const edit = { kind: 'rename', to: sameWord } as const;
    yield document.finding(path, { level: 'error', message, rule: 'key-case', fix: sameWord, edit }, 'key');
    return;
  }
  const meant = nearest(key, tree.names);
  if (!tree.strict && path.length > 1) return;
  // A mapping turned round has the password as its key.
  const secret = path.at(-2) === 'basicAuth' && meant === undefined;
  const where = secret ? `in ${formatPath(path.slice(0, -1))}` : formatPath(path);
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
      ...(meant === undefined ? {} : { fix: meant }),
    },
    'key',
  );
}

/** A key without what people vary: case, dashes and underscores. */
function folded(key: string): string {
  return key.toLowerCase().replace(/[-_]/g, '');
}

/** The schema below defaults and optionality. */
export function unwrap(schema: z.ZodType): z.ZodType {
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
