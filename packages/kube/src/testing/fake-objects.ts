import { isRecord } from '@mural/core';
import type { ApplyOptions, ListOptions, ObjectRef } from '../client.ts';
import { KubeError } from '../errors.ts';
import { type KubeObject, objectKey, type Resource, type UnstructuredObject } from '../objects.ts';
import { matchesRequirements, parseSelector } from '../selectors.ts';
import { WITH_STATUS } from './fake-kinds.ts';

/** A shallow copy without some fields. */
export function without<T extends object>(object: T, ...keys: readonly string[]): T {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key))) as T;
}

/** Metadata that the API keeps to itself. */
export function combine(
  resource: Resource,
  before: UnstructuredObject,
  after: UnstructuredObject,
  subresource: string | undefined,
): UnstructuredObject {
  const { uid, creationTimestamp, resourceVersion, deletionTimestamp, generation } = before.metadata;
  const fixed = { uid, creationTimestamp, resourceVersion, deletionTimestamp, generation };
  const own = Object.fromEntries(Object.entries(fixed).filter(([, value]) => value !== undefined));
  if (subresource === 'status') return { ...before, ...statusOf(after) };
  const metadata = { ...after.metadata, ...own };
  if (!WITH_STATUS.has(resource.kind)) return { ...after, metadata };
  return { ...without(after, 'status'), metadata, ...statusOf(before) };
}

export function statusOf(object: KubeObject): { status?: unknown } {
  const { status } = object as UnstructuredObject;
  return status === undefined ? {} : { status };
}

export function contentOf(object: UnstructuredObject): unknown {
  return without(object, 'metadata', 'status');
}

/** The API keeps `stringData` of a Secret as `data`. */
export function withStringData(object: UnstructuredObject): UnstructuredObject {
  const { stringData, ...rest } = object;
  if (object.kind !== 'Secret' || !isRecord(stringData)) return object;
  const encoded = Object.entries(stringData).map(([key, value]) => [
    key,
    Buffer.from(String(value)).toString('base64'),
  ]);
  return {
    ...rest,
    data: { ...(isRecord(rest['data']) ? rest['data'] : {}), ...Object.fromEntries(encoded) },
  };
}

export function matcher(options: ListOptions): (object: UnstructuredObject) => boolean {
  const requirements = parseSelector(options.labelSelector ?? '');
  const fields = (options.fieldSelector ?? '').split(',').filter((term) => term !== '');
  const wanted = fields.map((term) => {
    const [path = '', value = ''] = term.split(/==?/, 2);
    return { keys: path.split('.'), value };
  });
  return (object) =>
    ((options.namespace ?? '') === '' || object.metadata.namespace === options.namespace) &&
    matchesRequirements(requirements, object.metadata.labels) &&
    wanted.every(({ keys, value }) => {
      const found = keys.reduce<unknown>((at, key) => (isRecord(at) ? at[key] : undefined), object);
      return (found ?? '') === value;
    });
}

export function managerOf(options: ApplyOptions): string {
  return `${options.fieldManager}/${options.subresource ?? ''}`;
}

export function keyOf(ref: ObjectRef): string {
  return objectKey({
    metadata: { name: ref.name, ...(ref.namespace === undefined ? {} : { namespace: ref.namespace }) },
  });
}

export function refOf(resource: Resource, { metadata }: KubeObject): ObjectRef {
  return { name: metadata.name ?? '', namespace: resource.namespaced ? metadata.namespace : undefined };
}

export function qualified({ plural, group }: Resource): string {
  return group === '' ? plural : `${plural}.${group}`;
}

export function notFound(resource: Resource, { name }: ObjectRef): KubeError {
  return failure('NotFound', 404, `${qualified(resource)} "${name}" not found`);
}

export function conflict(resource: Resource, { name }: ObjectRef): KubeError {
  return failure(
    'Conflict',
    409,
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
  );
}

export function failure(code: KubeError['code'], httpStatus: number, message: string): KubeError {
  return new KubeError(code, message, { httpStatus });
}
