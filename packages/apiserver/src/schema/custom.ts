import { isRecord } from '@mural/core';
import { builtinType, objectMetaSchema } from './builtin.ts';
import { bareRecord, type SchemaType, type TypeSchema, type ValidationRule } from './types.ts';

/** A kind whose `apiVersion` and `kind` are as those of any other. */
const ANY_KIND = 'io.k8s.api.core.v1.ConfigMap';
const ANY: TypeSchema = { preserveUnknownFields: true };

/**
 * The schema of a custom resource, from `spec.versions[].schema.openAPIV3Schema` of its definition.
 * `apiVersion`, `kind` and `metadata` are added at the root and in embedded resources.
 *
 * Takes what a server may have stored: what is malformed is left out; see `validateCrd` for checks.
 */
export function compileCrdSchema(openAPIV3Schema: unknown): TypeSchema {
  const schema = compile(openAPIV3Schema, 0);
  return { ...schema, type: 'object', properties: withTypeMeta(schema.properties, true) };
}

/** Deeper schemas than this are cut: their values are kept as they are. */
const MAX_DEPTH = 128;

function compile(source: unknown, depth: number): TypeSchema {
  if (!isRecord(source) || depth > MAX_DEPTH) return ANY;
  // Only what the source says is set, so that the many small nodes of a large definition stay small.
  const schema: Record<string, unknown> = {};
  for (const key of Object.keys(source)) {
    const value = source[key];
    if (PLAIN.has(key)) schema[key] = value;
    else structural(schema, key, value, depth);
  }
  if (schema['intOrString'] === true) schema['type'] = undefined;
  if (schema['embeddedResource'] === true) {
    schema['properties'] = withTypeMeta((schema as TypeSchema).properties, false);
  }
  return schema;
}

function structural(schema: Record<string, unknown>, key: string, value: unknown, depth: number): void {
  switch (key) {
    case 'type':
      schema['type'] = typeOf(value);
      return;
    case 'properties':
      if (isRecord(value)) schema['properties'] = record(value, depth);
      return;
    case 'items':
    case 'not':
      if (isRecord(value)) schema[key] = compile(value, depth + 1);
      return;
    case 'additionalProperties':
      if (value === true) schema[key] = ANY;
      else if (isRecord(value)) schema[key] = compile(value, depth + 1);
      return;
    case 'allOf':
    case 'anyOf':
    case 'oneOf':
      if (Array.isArray(value)) schema[key] = value.map((branch) => compile(branch, depth + 1));
      return;
    default:
      extension(schema, key, value);
  }
}

function extension(schema: Record<string, unknown>, key: string, value: unknown): void {
  const flag = FLAGS[key];
  if (flag !== undefined) {
    if (value === true) schema[flag] = true;
    return;
  }
  const name = EXTENSIONS[key];
  if (name !== undefined) schema[name] = value;
  else if (key === 'x-kubernetes-validations' && Array.isArray(value)) schema['validations'] = rules(value);
}

const FLAGS: Readonly<Record<string, string | undefined>> = {
  'x-kubernetes-preserve-unknown-fields': 'preserveUnknownFields',
  'x-kubernetes-embedded-resource': 'embeddedResource',
  'x-kubernetes-int-or-string': 'intOrString',
};

const EXTENSIONS: Readonly<Record<string, string | undefined>> = {
  'x-kubernetes-list-type': 'listType',
  'x-kubernetes-list-map-keys': 'listMapKeys',
  'x-kubernetes-map-type': 'mapType',
};

const PLAIN: ReadonlySet<string> = new Set([
  'description',
  'default',
  'nullable',
  'enum',
  'format',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'required',
]);

function record(source: Readonly<Record<string, unknown>>, depth: number): Record<string, TypeSchema> {
  const properties = bareRecord<TypeSchema>();
  for (const key of Object.keys(source)) properties[key] = compile(source[key], depth + 1);
  return properties;
}

function typeOf(type: unknown): SchemaType | undefined {
  switch (type) {
    case 'object':
    case 'array':
    case 'string':
    case 'integer':
    case 'number':
    case 'boolean':
      return type;
    default:
      return undefined;
  }
}

function rules(source: readonly unknown[]): readonly ValidationRule[] {
  return source.filter((rule): rule is ValidationRule => isRecord(rule) && typeof rule['rule'] === 'string');
}

function withTypeMeta(
  properties: Readonly<Record<string, TypeSchema>> | undefined,
  root: boolean,
): Readonly<Record<string, TypeSchema>> {
  const result = bareRecord(Object.entries(properties ?? {}));
  const metadata = result['metadata'];
  for (const key of ['apiVersion', 'kind'] as const) {
    result[key] = builtinType(ANY_KIND)?.properties?.[key] ?? { type: 'string' };
  }
  // A definition may restrict metadata.name with a pattern: keep what it says beside the real type.
  result['metadata'] = metadata === undefined ? objectMetaSchema() : merged(metadata, root);
  return result;
}

function merged(declared: TypeSchema, root: boolean): TypeSchema {
  const full = objectMetaSchema();
  const properties = bareRecord(Object.entries(full.properties ?? {}));
  for (const [key, value] of Object.entries(declared.properties ?? {})) {
    const known = properties[key];
    properties[key] =
      known === undefined ? value : { ...value, listType: known.listType, listMapKeys: known.listMapKeys };
  }
  return { ...declared, type: 'object', name: root ? full.name : undefined, properties };
}
