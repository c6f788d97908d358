import { isRecord } from '@mural/core';
import { z } from 'zod';
import { BasicAuth, FOREIGN_TREES, Values } from './schema.ts';

type Schema = Record<string, unknown>;

/**
 * The JSON Schema of a values file (draft-07: what Helm and editors take), made from {@link Values}.
 *
 * It holds types, words, patterns and keys. Keys of other charts stay open; one that differs from
 * one of ours by case alone is refused, since Helm would ignore it. What concerns several keys at
 * once is the lint's.
 */
export function valuesSchema(): Readonly<Schema> {
  const { $schema, ...schema } = z.toJSONSchema(Values, {
    target: 'draft-07',
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      // A later file takes the section of an earlier one out with null; Helm keeps it, having no default.
      if (zodSchema === BasicAuth) Object.assign(jsonSchema, { type: ['object', 'null'] });
    },
  }) as Schema;
  return {
    $schema,
    title: 'values.yaml of the chart mural',
    ...(closeCase(schema, FOREIGN_TREES) as Schema),
  };
}

/** Refuses, in every mapping that is open for others' keys, ours in another case. */
function closeCase(schema: unknown, foreign: readonly string[] = []): unknown {
  if (Array.isArray(schema)) return schema.map((item) => closeCase(item));
  if (!isRecord(schema)) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closeCase(value)]));
  if (!isRecord(schema.properties) || schema.additionalProperties === false) return inner;
  const { additionalProperties: _open, ...rest } = inner;
  const names = [...Object.keys(schema.properties), ...foreign];
  return { ...rest, propertyNames: { anyOf: [{ enum: names }, { not: { pattern: anyCase(names) } }] } };
}

/** A pattern for the names in whatever case. Helm's expressions know neither flags nor looking ahead. */
function anyCase(names: readonly string[]): string {
  const letter = (char: string) =>
    /[a-z]/i.test(char) ? `[${char.toLowerCase()}${char.toUpperCase()}]` : char.replace(/[^\w-]/g, '\\$&');
  return `^(?:${names.map((name) => Array.from(name, letter).join('')).join('|')})$`;
}
