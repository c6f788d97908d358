import { isRecord, jsonEqual, MuralError } from '@mural/core';
import type { KustomizationSpec, UnstructuredObject } from '@mural/kube';
import { parseApiVersion } from '@mural/kube';
import { strategicMerge } from './strategic-merge.ts';
import { parseManifests } from './yaml.ts';

type PatchSpec = NonNullable<KustomizationSpec['patches']>[number];
type Target = NonNullable<PatchSpec['target']>;

/** A patch of `spec.patches` that cannot be read or applied. */
export class PatchError extends MuralError<'PatchInvalid'> {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super('PatchInvalid', message, options);
  }
}

/**
 * Applies `spec.patches`, in order: a list is a JSON patch (RFC 6902) and needs a target, a map is a
 * strategic merge patch whose own name and kind are the target unless one is given.
 *
 * @throws PatchError when a patch is not valid or a strategic merge patch without target matches nothing
 */
export function applyPatches(
  objects: readonly UnstructuredObject[],
  patches: readonly PatchSpec[],
): UnstructuredObject[] {
  let result = [...objects];
  for (const [index, patch] of patches.entries()) {
    const what = `spec.patches[${index}]`;
    for (const document of parseManifests(patch.patch, what)) {
      result = applyOne(result, document, patch.target, what);
    }
  }
  return result;
}

function applyOne(
  objects: readonly UnstructuredObject[],
  document: unknown,
  target: Target | undefined,
  what: string,
): UnstructuredObject[] {
  if (Array.isArray(document)) {
    if (target === undefined) throw new PatchError(`${what}: a JSON patch needs a target`);
    return objects.map((object) =>
      matchesTarget(object, target) ? (jsonPatch(object, document, what) as UnstructuredObject) : object,
    );
  }
  if (!isRecord(document)) throw new PatchError(`${what}: is neither a JSON patch nor an object`);
  const matches = target === undefined ? own(document, what) : matcherOf(target);
  if (target === undefined && !objects.some(matches)) {
    const { kind, metadata } = document as unknown as UnstructuredObject;
    const place = metadata.namespace === undefined ? '' : ` in namespace ${metadata.namespace}`;
    throw new PatchError(`${what}: no object matches ${kind} ${metadata.name ?? ''}${place}`);
  }
  return objects.flatMap((object) => {
    if (!matches(object)) return [object];
    if (document['$patch'] === 'delete') return [];
    return [keepIdentity(object, strategicMerge(object, document, object) as UnstructuredObject)];
  });
}

function matcherOf(target: Target): (object: UnstructuredObject) => boolean {
  return (object) => matchesTarget(object, target);
}

/** A patch without target is for the one object of its own kind, namespace and name. */
function own(document: Record<string, unknown>, what: string): (object: UnstructuredObject) => boolean {
  const { apiVersion, kind, metadata } = document;
  const { name, namespace = 'default' } = isRecord(metadata) ? metadata : {};
  if (typeof kind !== 'string' || typeof name !== 'string') {
    throw new PatchError(`${what}: names neither a target nor kind and metadata.name`);
  }
  return (object) =>
    object.kind === kind &&
    object.metadata.name === name &&
    (object.metadata.namespace ?? 'default') === namespace &&
    (apiVersion === undefined || object.apiVersion === apiVersion);
}

/** A strategic merge patch with a target may carry any name: it does not rename. */
function keepIdentity(before: UnstructuredObject, after: UnstructuredObject): UnstructuredObject {
  const { name, namespace } = before.metadata;
  return {
    ...after,
    apiVersion: before.apiVersion,
    kind: before.kind,
    metadata: {
      ...after.metadata,
      ...(name === undefined ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
    },
  };
}

/**
 * Whether an object is meant: name, namespace, kind, group and version are whole-string expressions. An object that
 * names no namespace counts as one of `default`.
 */
export function matchesTarget(object: UnstructuredObject, target: Target): boolean {
  const { group, version } = parseApiVersion(object.apiVersion);
  const fields: readonly (readonly [string | undefined, string])[] = [
    [target.kind, object.kind],
    [target.name, object.metadata.name ?? ''],
    [target.namespace, object.metadata.namespace ?? 'default'],
    [target.version, version],
    [target.group, group],
  ];
  if (!fields.every(([wanted, actual]) => matchesExpression(wanted, actual))) return false;
  return (
    matchesLabels(target.labelSelector, object.metadata.labels ?? {}) &&
    matchesLabels(target.annotationSelector, object.metadata.annotations ?? {})
  );
}

function matchesExpression(wanted: string | undefined, actual: string): boolean {
  if (wanted === undefined || wanted === '' || wanted === actual) return true;
  try {
    return new RegExp(`^(?:${wanted})$`).test(actual);
  } catch (cause) {
    throw new PatchError(`target "${wanted}" is not a regular expression`, { cause });
  }
}

/** A label selector in its text form: `a=b,c!=d,e,!f,g in (h,i)`. */
function matchesLabels(selector: string | undefined, labels: Readonly<Record<string, string>>): boolean {
  if (selector === undefined || selector.trim() === '') return true;
  return selector.split(/,(?![^(]*\))/).every((term) => {
    const set = /^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$/.exec(term);
    if (set !== null) {
      const values = (set[3] ?? '').split(',').map((value) => value.trim());
      return values.includes(labels[set[1] ?? ''] ?? '\0') === (set[2] === 'in');
    }
    const pair = /^\s*([^!=\s]+)\s*(==|=|!=)\s*(\S*)\s*$/.exec(term);
    if (pair !== null) return (labels[pair[1] ?? ''] === (pair[3] ?? '')) === (pair[2] !== '!=');
    const key = term.trim();
    return key.startsWith('!') ? !(key.slice(1) in labels) : key in labels;
  });
}

/**
 * JSON patch, RFC 6902, save that `replace` adds a field that is not there. The input is not changed.
 *
 * @throws PatchError
 */
export function jsonPatch(document: unknown, operations: readonly unknown[], what: string): unknown {
  const root = { value: structuredClone(document) };
  for (const operation of operations) {
    if (
      !isRecord(operation) ||
      typeof operation['op'] !== 'string' ||
      typeof operation['path'] !== 'string'
    ) {
      throw new PatchError(`${what}: an operation has no op or no path`);
    }
    runOperation(root, operation['op'], operation['path'], operation, what);
  }
  return root.value;
}

function runOperation(
  root: { value: unknown },
  op: string,
  path: string,
  operation: Record<string, unknown>,
  what: string,
): void {
  const from = typeof operation['from'] === 'string' ? operation['from'] : '';
  switch (op) {
    case 'add':
      put(root, path, structuredClone(operation['value']), 'insert', what);
      return;
    case 'replace':
      // What is not there is added, as kustomize does; a place in a list must be there.
      put(root, path, structuredClone(operation['value']), 'set', what);
      return;
    case 'remove':
      remove(root, path, what);
      return;
    case 'copy':
      put(root, path, structuredClone(read(root, from, what)), 'insert', what);
      return;
    case 'move': {
      const value = read(root, from, what);
      remove(root, from, what);
      put(root, path, value, 'insert', what);
      return;
    }
    case 'test':
      if (jsonEqual(read(root, path, what), operation['value'])) return;
      throw new PatchError(`${what}: test of ${path} failed`);
    default:
      throw new PatchError(`${what}: "${op}" is not an operation`);
  }
}

function segmentsOf(path: string, what: string): string[] {
  if (path !== '' && !path.startsWith('/'))
    throw new PatchError(`${what}: path "${path}" has no leading slash`);
  const segments = path
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (segments.includes('__proto__')) throw new PatchError(`${what}: path "${path}" is not allowed`);
  return segments;
}

function read(root: { value: unknown }, path: string, what: string): unknown {
  let value = root.value;
  for (const segment of segmentsOf(path, what)) {
    const next = Array.isArray(value)
      ? (value as unknown[])[Number(segment)]
      : isRecord(value) && Object.hasOwn(value, segment)
        ? value[segment]
        : undefined;
    if (next === undefined) throw new PatchError(`${what}: there is nothing at ${path}`);
    value = next;
  }
  return value;
}

function parentOf(root: { value: unknown }, path: string, what: string): { parent: unknown; key: string } {
  const segments = segmentsOf(path, what);
  const key = segments.at(-1) ?? '';
  const parent = path.slice(0, path.lastIndexOf('/'));
  return { parent: read(root, parent, what), key };
}

function put(
  root: { value: unknown },
  path: string,
  value: unknown,
  how: 'insert' | 'set',
  what: string,
): void {
  if (path === '') {
    root.value = value;
    return;
  }
  const { parent, key } = parentOf(root, path, what);
  if (Array.isArray(parent)) {
    const index = key === '-' ? parent.length : Number(key);
    const last = how === 'set' ? parent.length - 1 : parent.length;
    if (!/^(?:-|0|[1-9]\d*)$/.test(key) || index > last) {
      throw new PatchError(`${what}: ${path} is outside the list`);
    }
    parent.splice(index, how === 'set' ? 1 : 0, value);
  } else if (isRecord(parent)) parent[key] = value;
  else throw new PatchError(`${what}: ${path} is inside a scalar`);
}

function remove(root: { value: unknown }, path: string, what: string): void {
  read(root, path, what);
  const { parent, key } = parentOf(root, path, what);
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else if (isRecord(parent)) Reflect.deleteProperty(parent, key);
}
