import { isRecord } from '@mural/core';
import { objectMetaSchema } from './builtin.ts';
import { bareRecord, type SchemaType, type TypeSchema, type ValidationRule } from './types.ts';

const STRING: TypeSchema = { type: 'string' };
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
  const embedded = source['x-kubernetes-embedded-resource'] === true;
  const properties = record(source['properties'], depth);
  const schema: Record<string, unknown> = {
    type: source['x-kubernetes-int-or-string'] === true ? undefined : typeOf(source['type']),
    properties: embedded ? withTypeMeta(properties, false) : properties,
    items: isRecord(source['items']) ? compile(source['items'], depth + 1) : undefined,
    additionalProperties: additional(source['additionalProperties'], depth),
    listType: source['x-kubernetes-list-type'],
    listMapKeys: source['x-kubernetes-list-map-keys'],
    mapType: source['x-kubernetes-map-type'],
    preserveUnknownFields: source['x-kubernetes-preserve-unknown-fields'] === true ? true : undefined,
    intOrString: source['x-kubernetes-int-or-string'] === true ? true : undefined,
    embeddedResource: embedded ? true : undefined,
    validations: rules(source['x-kubernetes-validations']),
    not: isRecord(source['not']) ? compile(source['not'], depth + 1) : undefined,
  };
  for (const key of PLAIN) schema[key] = source[key];
  for (const key of ['allOf', 'anyOf', 'oneOf'] as const) {
    const branches = source[key];
    if (Array.isArray(branches)) schema[key] = branches.map((branch) => compile(branch, depth + 1));
  }
  for (const key of Object.keys(schema)) {
    // Deleting here is cheaper for every later reader than carrying thirty undefined keys.
    if (schema[key] === undefined) Reflect.deleteProperty(schema, key);
  }
  return schema;
}

const PLAIN = [
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
  'uniqueItems',
  'minProperties',
  'maxProperties',
  'required',
] as const;

function record(source: unknown, depth: number): Record<string, TypeSchema> | undefined {
  if (!isRecord(source)) return undefined;
  const properties = bareRecord<TypeSchema>();
  for (const key of Object.keys(source)) properties[key] = compile(source[key], depth + 1);
  return properties;
}

function additional(source: unknown, depth: number): TypeSchema | undefined {
  if (source === true) return ANY;
  return isRecord(source) ? compile(source, depth + 1) : undefined;
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

function rules(source: unknown): readonly ValidationRule[] | undefined {
  if (!Array.isArray(source)) return undefined;
  return source.filter(
    (rule): rule is ValidationRule => isRecord(rule) && typeof rule['rule'] === 'string',
  );
}

function withTypeMeta(
  properties: Readonly<Record<string, TypeSchema>> | undefined,
  root: boolean,
): Readonly<Record<string, TypeSchema>> {
  const result = bareRecord(Object.entries(properties ?? {}));
  const metadata = result['metadata'];
  result['apiVersion'] = STRING;
  result['kind'] = STRING;
  // A definition may restrict metadata.name with a pattern: keep what it says beside the real type.
  result['metadata'] = metadata === undefined ? objectMetaSchema() : merged(metadata, root);
  return result;
}

function merged(declared: TypeSchema, root: boolean): TypeSchema {
  const full = objectMetaSchema();
  const properties = bareRecord(Object.entries(full.properties ?? {}));
  for (const [key, value] of Object.entries(declared.properties ?? {})) {
    const known = properties[key];
    properties[key] = known === undefined ? value : { ...value, listType: known.listType, listMapKeys: known.listMapKeys };
  }
  return { ...declared, type: 'object', name: root ? full.name : undefined, properties };
}
