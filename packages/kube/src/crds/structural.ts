import { isRecord } from '@mural/core';
import { z } from 'zod';

/** A structural schema, `apiextensions.k8s.io/v1` JSONSchemaProps. */
export type StructuralSchema = Readonly<Record<string, unknown>>;

const KEPT = [
  'type',
  'description',
  'default',
  'enum',
  'pattern',
  'format',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'required',
] as const;

/**
 * The structural schema of a zod type. Unknown fields are pruned by the API rather than refused by
 * the schema; a record of unknown values keeps everything in it.
 */
export function structuralSchema(schema: z.ZodType): StructuralSchema {
  return convert(z.toJSONSchema(schema, { io: 'input', reused: 'inline' }), '');
}

function convert(schema: Readonly<Record<string, unknown>>, name: string): StructuralSchema {
  const out: Record<string, unknown> = {};
  for (const key of KEPT) if (schema[key] !== undefined) out[key] = schema[key];
  if (Array.isArray(schema['enum'])) out['type'] = 'string';
  if (isRecord(schema['properties'])) {
    out['properties'] = Object.fromEntries(
      Object.entries(schema['properties']).map(([key, value]) => [key, convert(asRecord(value), key)]),
    );
  } else if (isRecord(schema['additionalProperties'])) {
    const values = schema['additionalProperties'];
    if (Object.keys(values).length === 0) out['x-kubernetes-preserve-unknown-fields'] = true;
    else out['additionalProperties'] = convert(values, '');
  }
  if (isRecord(schema['items'])) {
    out['items'] = convert(schema['items'], '');
    if (name === 'conditions') {
      out['x-kubernetes-list-type'] = 'map';
      out['x-kubernetes-list-map-keys'] = ['type'];
    }
  }
  // What zod would also check by a pattern of 300 characters.
  if (out['format'] === 'date-time') delete out['pattern'];
  copyBounds(schema, out);
  return out;
}

/** zod bounds every integer by what a double can hold; only bounds that say more are kept. */
function copyBounds(schema: Readonly<Record<string, unknown>>, out: Record<string, unknown>): void {
  const { minimum, maximum } = schema;
  if (typeof minimum === 'number' && minimum !== Number.MIN_SAFE_INTEGER) out['minimum'] = minimum;
  if (typeof maximum === 'number' && maximum !== Number.MAX_SAFE_INTEGER) out['maximum'] = maximum;
  if (schema['type'] === 'integer') out['format'] = 'int64';
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}
