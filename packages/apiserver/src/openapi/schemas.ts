import { isRecord } from '@mural/core';
import { builtinType, type TypeSchema } from '../schema/index.ts';
import type { Document, ServedResource } from './types.ts';

/** OpenAPI 3 as served under `/openapi/v3`, or Swagger 2 as under `/openapi/v2`. */
export type Dialect = 'v3' | 'v2';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
const INT_OR_STRING = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString';

/** The schemas of a document: those of its resources, their lists, and all that they refer to. */
export class SchemaCollector {
  readonly schemas: Document = {};
  readonly #dialect: Dialect;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /** Adds a resource and its list. Returns the names of both schemas. */
  addResource(resource: ServedResource): { readonly object: string; readonly list: string } {
    const { group, version, kind } = resource;
    const name =
      resource.schema.builtin === true && resource.schema.name !== undefined
        ? resource.schema.name
        : customName(resource);
    const object = name;
    const list = `${name}List`;
    this.schemas[object] ??= {
      ...this.#describe(resource.schema, true),
      'x-kubernetes-group-version-kind': [{ group, version, kind }],
    };
    this.schemas[list] ??= this.#listOf(object, resource);
    return { object, list };
  }

  /** A reference to a named schema. */
  reference(name: string): Document {
    return { $ref: `${this.#dialect === 'v3' ? '#/components/schemas/' : '#/definitions/'}${name}` };
  }

  #listOf(item: string, resource: ServedResource): Document {
    const { group, version, kind } = resource;
    return {
      description: `${kind}List is a list of ${kind}`,
      type: 'object',
      required: ['items'],
      properties: {
        apiVersion: { type: 'string' },
        items: { description: `List of ${resource.plural}.`, type: 'array', items: this.reference(item) },
        kind: { type: 'string' },
        metadata: this.#named(`${META}.ListMeta`, LIST_META),
      },
      'x-kubernetes-group-version-kind': [{ group, version, kind: `${kind}List` }],
    };
  }

  #named(name: string, document: Document): Document {
    this.schemas[name] ??= document;
    return this.reference(name);
  }

  /** A schema in place: a reference where it has a name, else written out. */
  #inline(schema: TypeSchema): Document {
    const reference = this.#referenceTo(schema);
    if (reference === undefined) return this.#describe(schema, false);
    const extras = { ...aboutType(schema), ...describing(schema), ...extensions(schema) };
    if (schema.name !== undefined && builtinType(schema.name)?.mapType === schema.mapType) {
      Reflect.deleteProperty(extras, 'x-kubernetes-map-type');
    }
    if (Object.keys(extras).length === 0) return reference;
    // Beside a $ref nothing else is read, so what is said of the field wraps it.
    return this.#dialect === 'v3' ? { ...extras, allOf: [reference] } : { ...extras, ...reference };
  }

  #referenceTo(schema: TypeSchema): Document | undefined {
    if (schema.builtin !== true) {
      return schema.name === undefined ? undefined : this.#refer(schema.name, schema);
    }
    if (schema.quantity === true) return this.#named(QUANTITY, this.#scalars('string', 'number'));
    if (schema.intOrString === true) {
      const scalars = { format: 'int-or-string', ...this.#scalars('integer', 'string') };
      return this.#named(INT_OR_STRING, scalars);
    }
    if (schema.format === 'date-time')
      return this.#named(`${META}.Time`, { type: 'string', format: 'date-time' });
    if (schema.format === 'date-time-micro') {
      return this.#named(`${META}.MicroTime`, { type: 'string', format: 'date-time' });
    }
    return schema.name === undefined ? undefined : this.#refer(schema.name, schema);
  }

  #scalars(...types: string[]): Document {
    return this.#dialect === 'v3' ? { oneOf: types.map((type) => ({ type })) } : { type: 'string' };
  }

  #refer(name: string, schema: TypeSchema): Document {
    if (!Object.hasOwn(this.schemas, name)) {
      // The place is taken first: a type may contain itself.
      const document: Document = {};
      this.schemas[name] = document;
      Object.assign(document, this.#describe(builtinType(name) ?? schema, false));
    }
    return this.reference(name);
  }

  #describe(schema: TypeSchema, root: boolean): Document {
    const v3 = this.#dialect === 'v3';
    const document: Document = { ...describing(schema), ...extensions(schema) };
    if (schema.type !== undefined) document['type'] = schema.type;
    else if (schema.builtin === true && v3) document['x-kubernetes-preserve-unknown-fields'] = true;
    for (const key of CHECKS) if (schema[key] !== undefined) document[key] = schema[key];
    if (schema.properties !== undefined) {
      document['properties'] = Object.fromEntries(
        Object.entries(schema.properties).map(([key, child]) => [key, this.#inline(child)]),
      );
    }
    if (schema.additionalProperties !== undefined)
      document['additionalProperties'] = this.#inline(schema.additionalProperties);
    if (schema.items !== undefined) document['items'] = this.#inline(schema.items);
    if (!v3) return document;
    if (schema.nullable === true) document['nullable'] = true;
    for (const key of ['allOf', 'anyOf', 'oneOf'] as const) {
      const branches = schema[key];
      if (branches !== undefined) document[key] = branches.map((branch) => this.#describe(branch, root));
    }
    if (schema.not !== undefined) document['not'] = this.#describe(schema.not, root);
    return document;
  }
}

const CHECKS = [
  'required',
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
] as const;

function describing(schema: TypeSchema): Document {
  const value = schema.default ?? schema.implied;
  return {
    ...(schema.description !== undefined && { description: schema.description }),
    ...(value !== undefined && { default: value }),
  };
}

/** What is said of a field's type, for fields of which nothing is said: better than nothing. */
function aboutType({ name }: TypeSchema): Document {
  const description = name === undefined ? undefined : builtinType(name)?.description;
  return description === undefined ? {} : { description };
}

function extensions(schema: TypeSchema): Document {
  const document: Document = {};
  const set = (key: string, value: unknown): void => {
    if (value !== undefined) document[`x-kubernetes-${key}`] = value;
  };
  set(
    'list-type',
    schema.listType ?? (schema.builtin === true && schema.type === 'array' ? 'atomic' : undefined),
  );
  set('list-map-keys', schema.listMapKeys);
  set('map-type', schema.mapType);
  set('patch-strategy', schema.patchStrategy?.join(','));
  set('patch-merge-key', schema.patchMergeKey);
  set('preserve-unknown-fields', schema.preserveUnknownFields);
  set('embedded-resource', schema.embeddedResource);
  if (schema.builtin !== true) set('int-or-string', schema.intOrString);
  set('validations', schema.validations?.filter(isRecord));
  return document;
}

const LIST_META: Document = {
  description:
    'ListMeta describes metadata that synthetic resources must have, including lists and various status objects.',
  type: 'object',
  properties: {
    continue: { type: 'string' },
    remainingItemCount: { type: 'integer', format: 'int64' },
    resourceVersion: { type: 'string' },
    selfLink: { type: 'string' },
  },
};

/** `x.e.v1.Foo` for kind Foo of `e.x/v1`, as the API names the schemas of custom resources. */
function customName({ group, version, kind }: ServedResource): string {
  return [...group.split('.').reverse(), version, kind].join('.');
}
