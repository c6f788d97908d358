/** The JSON types a schema can ask for. Absent in a {@link TypeSchema} that takes any value. */
export type SchemaType = 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';

/** One rule of `x-kubernetes-validations`. */
export interface ValidationRule {
  /** A CEL expression over `self` and, in a transition rule, `oldSelf`. */
  readonly rule: string;
  readonly message?: string | undefined;
  /** A CEL expression that gives the message; used before `message` when it evaluates to a string. */
  readonly messageExpression?: string | undefined;
  readonly reason?: string | undefined;
  /** JSON path below the schema's value that the error is reported at, such as `.spec.x`. */
  readonly fieldPath?: string | undefined;
  /** Whether a rule with `oldSelf` also runs when there is no old value. */
  readonly optionalOldSelf?: boolean | undefined;
}

/** Checks on a value that do not shape it. Only schemas of custom resources have them. */
export interface ValueChecks {
  readonly enum?: readonly unknown[] | undefined;
  readonly format?: string | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly exclusiveMinimum?: boolean | undefined;
  readonly exclusiveMaximum?: boolean | undefined;
  readonly multipleOf?: number | undefined;
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly pattern?: string | undefined;
  readonly minItems?: number | undefined;
  readonly maxItems?: number | undefined;
  readonly uniqueItems?: boolean | undefined;
  readonly minProperties?: number | undefined;
  readonly maxProperties?: number | undefined;
  readonly required?: readonly string[] | undefined;
  readonly allOf?: readonly TypeSchema[] | undefined;
  readonly anyOf?: readonly TypeSchema[] | undefined;
  readonly oneOf?: readonly TypeSchema[] | undefined;
  readonly not?: TypeSchema | undefined;
}

/**
 * A node of a structural schema: of a built-in kind or of a custom resource.
 *
 * References are already followed: `properties`, `items` and `additionalProperties` of a recursive
 * type unfold as they are read, so never walk a schema without walking a value beside it.
 */
export interface TypeSchema extends ValueChecks {
  readonly type?: SchemaType | undefined;
  /** Full name of the named type, such as `io.k8s.api.core.v1.Container`. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  /** Has no prototype, so any name can be looked up. */
  readonly properties?: Readonly<Record<string, TypeSchema>> | undefined;
  readonly additionalProperties?: TypeSchema | undefined;
  readonly items?: TypeSchema | undefined;
  readonly nullable?: boolean | undefined;
  /** The default of a custom resource's field; see {@link TypeSchema.implied} for built-in kinds. */
  readonly default?: unknown;
  /**
   * What an absent field of a built-in type counts as: `{}` for a structure that is always there,
   * or the value that completes the key of a list item (`protocol: TCP`).
   */
  readonly implied?: unknown;
  readonly preserveUnknownFields?: boolean | undefined;
  readonly embeddedResource?: boolean | undefined;
  readonly intOrString?: boolean | undefined;
  /** A `resource.Quantity`: a string or a number. */
  readonly quantity?: boolean | undefined;
  readonly listType?: 'atomic' | 'set' | 'map' | undefined;
  readonly listMapKeys?: readonly string[] | undefined;
  readonly mapType?: 'atomic' | 'granular' | undefined;
  /** Strategies of a strategic merge patch: `merge`, `replace`, `retainKeys`. */
  readonly patchStrategy?: readonly string[] | undefined;
  readonly patchMergeKey?: string | undefined;
  readonly validations?: readonly ValidationRule[] | undefined;
  /** Whether this belongs to a built-in kind. */
  readonly builtin?: boolean | undefined;
}

/** Where the schemas of kinds are found. */
export interface SchemaSource {
  schemaFor(apiVersion: string, kind: string): TypeSchema | undefined;
}

/** A record that has no prototype, for names that come from outside. */
export function bareRecord<T>(entries: Iterable<readonly [string, T]> = []): Record<string, T> {
  const record = Object.create(null) as Record<string, T>;
  for (const [key, value] of entries) record[key] = value;
  return record;
}

/** The schema of a field: its own, or that of any key. */
export function childSchema(schema: TypeSchema | undefined, key: string): TypeSchema | undefined {
  return schema?.properties?.[key] ?? schema?.additionalProperties;
}

/** The record without some of its keys. */
export function omit(record: Readonly<Record<string, unknown>>, ...keys: string[]): Record<string, unknown> {
  const rest = { ...record };
  for (const key of keys) Reflect.deleteProperty(rest, key);
  return rest;
}

/** Sets a field under any name, `__proto__` included. */
export function setField(record: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    record[key] = value;
  }
}
