import { parseApiVersion } from '@mural/kube';
import discovery from '../generated/resources.json' with { type: 'json' };
import type { SchemaSource } from '../schema/index.ts';
import type { ApiResource, Subresource } from './types.ts';

/** A line of `generated/resources.json`, as discovery of a real server has it. */
interface Line {
  readonly kind: string;
  readonly name: string;
  readonly namespaced: boolean;
  readonly singularName?: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly verbs: readonly string[];
  readonly group?: string;
  readonly version?: string;
}

/** Groups whose objects are kept with those of another group: one thing under two names. */
const SHARED_STORAGE: Readonly<Record<string, string>> = { 'events.k8s.io/events': 'events' };

/** Resources that need a scheduler, nodes or containers to mean anything; they are not served. */
const NOT_SERVED = new Set([
  'bindings',
  'componentstatuses',
  'nodes/proxy',
  'pods/attach',
  'pods/binding',
  'pods/ephemeralcontainers',
  'pods/exec',
  'pods/portforward',
  'pods/proxy',
  'pods/resize',
  'services/proxy',
]);

/** The resources built into Kubernetes, in the order of discovery. */
export function builtinResources(schemas: SchemaSource): ApiResource[] {
  return Object.entries(discovery as Readonly<Record<string, readonly Line[]>>).flatMap(
    ([apiVersion, lines]) =>
      lines
        .filter((line) => !line.name.includes('/') && !NOT_SERVED.has(line.name))
        .map((line) => builtinResource(apiVersion, line, lines, schemas)),
  );
}

function builtinResource(
  apiVersion: string,
  line: Line,
  lines: readonly Line[],
  schemas: SchemaSource,
): ApiResource {
  const { group, version } = parseApiVersion(apiVersion);
  const subresources = lines
    .filter((other) => other.name.startsWith(`${line.name}/`) && !NOT_SERVED.has(other.name))
    .map((other) => subresource(line.name, other));
  const storage = group === '' ? line.name : `${group}/${line.name}`;
  return {
    group,
    version,
    plural: line.name,
    kind: line.kind,
    listKind: `${line.kind}List`,
    singular: line.singularName ?? line.kind.toLowerCase(),
    namespaced: line.namespaced,
    shortNames: line.shortNames ?? [],
    categories: line.categories ?? [],
    verbs: line.verbs,
    subresources: new Map(subresources.map((sub) => [sub.name, sub])),
    storage: SHARED_STORAGE[storage] ?? storage,
    schema: () => schemas.schemaFor(apiVersion, line.kind),
    custom: undefined,
  };
}

function subresource(plural: string, line: Line): Subresource {
  return {
    name: line.name.slice(plural.length + 1),
    kind: line.kind,
    verbs: line.verbs,
    ...(line.group === undefined ? {} : { group: line.group }),
    ...(line.version === undefined ? {} : { version: line.version }),
  };
}
