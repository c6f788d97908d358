import { readFileSync } from 'node:fs';
import { systemCode } from '@mural/core';
import { bareRecord, type SchemaSource, type SchemaType, type TypeSchema } from './types.ts';

/** A field as `scripts/generate-kubernetes-schemas.ts` writes it. */
interface CompactField {
  readonly t?: string;
  readonly f?: string;
  readonly r?: string;
  readonly i?: CompactField;
  readonly d?: unknown;
  readonly e?: readonly unknown[];
  readonly l?: {
    readonly listType?: 'atomic' | 'set' | 'map';
    readonly mapKeys?: readonly string[];
    readonly mapType?: 'atomic' | 'granular';
    readonly patchStrategy?: string;
    readonly mergeKey?: string;
  };
}

interface CompactType {
  readonly r?: readonly string[];
  /** 1 when the type is one value under server-side apply. */
  readonly a?: 1;
  readonly p: Readonly<Record<string, CompactField>>;
}

interface Generated {
  readonly kinds: Readonly<Record<string, string>>;
  readonly types: Readonly<Record<string, CompactType>>;
}

let generated: Generated | undefined;
let descriptions: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined;

function load(): Generated {
  generated ??= readGenerated('kubernetes-schemas.json') as Generated;
  return generated;
}

function describe(type: string, field: string): string | undefined {
  descriptions ??= readDescriptions();
  return descriptions[type]?.[field];
}

function readGenerated(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../generated/${file}`, import.meta.url), 'utf8'));
}

/**
 * The texts that `kubectl explain` shows. They are Kubernetes' own and so no part of this repository:
 * they are written when its dependencies are installed, and everything else works without them.
 */
function readDescriptions(): NonNullable<typeof descriptions> {
  try {
    return readGenerated('kubernetes-descriptions.json') as NonNullable<typeof descriptions>;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return {};
    throw error;
  }
}

/** The properties of a named type, shared by all fields that refer to it. */
const sharedProperties = new Map<string, Readonly<Record<string, TypeSchema>>>();

function propertiesOf(name: string): Readonly<Record<string, TypeSchema>> | undefined {
  let properties = sharedProperties.get(name);
  if (properties === undefined) {
    const type = load().types[name];
    if (type === undefined) return undefined;
    properties = bareRecord(
      Object.entries(type.p).map(([field, compact]) => [field, new BuiltinNode(compact, name, field)]),
    );
    sharedProperties.set(name, properties);
  }
  return properties;
}

const NO_MERGING: NonNullable<CompactField['l']> = {};

/** A node of a built-in kind's schema, unfolded from the generated file as it is read. */
class BuiltinNode implements TypeSchema {
  readonly builtin = true;
  readonly type: SchemaType | undefined;
  readonly name: string | undefined;
  readonly format: string | undefined;
  readonly enum: readonly unknown[] | undefined;
  readonly implied: unknown;
  readonly intOrString: boolean | undefined;
  readonly quantity: boolean | undefined;
  readonly listType: 'atomic' | 'set' | 'map' | undefined;
  readonly listMapKeys: readonly string[] | undefined;
  readonly mapType: 'atomic' | 'granular' | undefined;
  readonly patchStrategy: readonly string[] | undefined;
  readonly patchMergeKey: string | undefined;
  readonly required: readonly string[] | undefined;
  readonly items: TypeSchema | undefined;
  readonly additionalProperties: TypeSchema | undefined;
  readonly #owner: string;
  readonly #field: string;
  #properties: Readonly<Record<string, TypeSchema>> | undefined;

  constructor(compact: CompactField, owner: string, field: string) {
    const referred = compact.r === undefined ? undefined : load().types[compact.r];
    this.#owner = owner;
    this.#field = field;
    this.name = compact.r;
    this.type = compact.r === undefined ? schemaType(compact.t) : 'object';
    this.format = compact.f;
    this.enum = compact.e;
    this.implied = compact.d;
    this.intOrString = compact.t === 'intOrString' ? true : undefined;
    this.quantity = compact.t === 'quantity' ? true : undefined;
    const merging = compact.l ?? NO_MERGING;
    this.listType = merging.listType;
    this.listMapKeys = merging.mapKeys;
    this.mapType = merging.mapType ?? (referred?.a === 1 ? 'atomic' : undefined);
    this.patchStrategy = merging.patchStrategy?.split(',');
    this.patchMergeKey = merging.mergeKey;
    this.required = referred?.r;
    const inner = compact.i === undefined ? undefined : new BuiltinNode(compact.i, owner, '');
    this.items = this.type === 'array' ? inner : undefined;
    this.additionalProperties = this.type === 'object' ? inner : undefined;
  }

  get properties(): Readonly<Record<string, TypeSchema>> | undefined {
    if (this.name !== undefined) this.#properties ??= propertiesOf(this.name);
    return this.#properties;
  }

  get description(): string | undefined {
    // Only what is said of the field itself: what its type says stands with the type.
    if (this.#field !== '') return describe(this.#owner, this.#field);
    return this.name === this.#owner ? describe(this.name, '') : undefined;
  }
}

function schemaType(compact: string | undefined): SchemaType | undefined {
  switch (compact) {
    case 'object':
    case 'array':
    case 'string':
    case 'integer':
    case 'number':
    case 'boolean':
      return compact;
    default:
      return undefined;
  }
}

const byName = new Map<string, TypeSchema>();

/** The schema of a named built-in type, such as `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`. */
export function builtinType(name: string): TypeSchema | undefined {
  let schema = byName.get(name);
  if (schema === undefined && Object.hasOwn(load().types, name)) {
    schema = new BuiltinNode({ r: name }, name, '');
    byName.set(name, schema);
  }
  return schema;
}

/** `metav1.ObjectMeta`, which every kind has. */
export function objectMetaSchema(): TypeSchema {
  const schema = builtinType('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta');
  if (schema === undefined) throw new Error('the generated schemas lack ObjectMeta');
  return schema;
}

/** The schemas of Kubernetes' built-in kinds. Read from disk at the first look-up. */
export function builtinSchemas(): SchemaSource {
  return {
    schemaFor(apiVersion, kind) {
      const key = `${apiVersion} ${kind}`;
      const { kinds } = load();
      const name = Object.hasOwn(kinds, key) ? kinds[key] : undefined;
      return name === undefined ? undefined : builtinType(name);
    },
  };
}
