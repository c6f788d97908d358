import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { dig, digList, digString, digStrings } from '../objects.ts';
import { compileCrdSchema, type TypeSchema } from '../schema/index.ts';
import type { ApiResource, Column, CustomResource, Subresource } from './types.ts';

/** Discovery lists the verbs of custom resources in this order, unlike those of built-in ones. */
const VERBS = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];

/** Whether clients may use a CRD: its names are accepted and it is established. */
export function isEstablished(crd: Stored): boolean {
  return digList(crd, 'status', 'conditions').some(
    (condition) => dig(condition, 'type') === 'Established' && dig(condition, 'status') === 'True',
  );
}

/** The resources that an established CRD serves: one for each served version, the preferred first. */
export function customResources(crd: Stored): ApiResource[] {
  if (!isEstablished(crd)) return [];
  return digList(crd, 'spec', 'versions')
    .filter((version) => dig(version, 'served') === true)
    .map((version) => customResource(crd, version))
    .sort((a, b) => compareVersions(a.version, b.version));
}

function customResource(crd: Stored, version: unknown): ApiResource {
  const group = digString(crd, 'spec', 'group');
  const names = dig(crd, 'status', 'acceptedNames') ?? dig(crd, 'spec', 'names');
  const plural = digString(names, 'plural');
  const kind = digString(names, 'kind');
  const source = dig(version, 'schema', 'openAPIV3Schema');
  let schema: TypeSchema | undefined;
  return {
    group,
    version: digString(version, 'name'),
    plural,
    kind,
    listKind: digString(names, 'listKind') || `${kind}List`,
    singular: digString(names, 'singular') || kind.toLowerCase(),
    namespaced: digString(crd, 'spec', 'scope') === 'Namespaced',
    shortNames: digStrings(names, 'shortNames'),
    categories: digStrings(names, 'categories'),
    verbs: VERBS,
    subresources: subresources(version, kind),
    storage: `${group}/${plural}`,
    schema: () => (schema ??= compileCrdSchema(source ?? { type: 'object' })),
    custom: customPart(crd, version),
  };
}

function subresources(version: unknown, kind: string): ReadonlyMap<string, Subresource> {
  const found = new Map<string, Subresource>();
  const verbs = ['get', 'patch', 'update'];
  if (isRecord(dig(version, 'subresources', 'status'))) found.set('status', { name: 'status', kind, verbs });
  if (isRecord(dig(version, 'subresources', 'scale'))) {
    found.set('scale', { name: 'scale', kind: 'Scale', verbs, group: 'autoscaling', version: 'v1' });
  }
  return found;
}

function customPart(crd: Stored, version: unknown): CustomResource {
  const scale = dig(version, 'subresources', 'scale');
  const selector = digString(scale, 'labelSelectorPath');
  return {
    crd: crd.metadata.name ?? '',
    columns: columns(version),
    scale: isRecord(scale)
      ? {
          spec: digString(scale, 'specReplicasPath'),
          status: digString(scale, 'statusReplicasPath'),
          ...(selector === '' ? {} : { selector }),
        }
      : undefined,
    warning: deprecation(crd, version),
    selectable: digList(version, 'selectableFields').map((field) => digString(field, 'jsonPath')),
    terminating: crd.metadata.deletionTimestamp !== undefined,
  };
}

function deprecation(crd: Stored, version: unknown): string | undefined {
  if (dig(version, 'deprecated') !== true) return undefined;
  const kind = digString(crd, 'spec', 'names', 'kind');
  const given = digString(version, 'deprecationWarning');
  return given || `${digString(crd, 'spec', 'group')}/${digString(version, 'name')} ${kind} is deprecated`;
}

function columns(version: unknown): Column[] {
  const name: Column = { name: 'Name', type: 'string', format: 'name', priority: 0 };
  const given = digList(version, 'additionalPrinterColumns').map((column) => {
    const priority = dig(column, 'priority');
    return {
      name: digString(column, 'name'),
      type: digString(column, 'type'),
      format: digString(column, 'format'),
      priority: typeof priority === 'number' ? priority : 0,
      description: digString(column, 'description'),
      jsonPath: digString(column, 'jsonPath'),
    };
  });
  if (given.length > 0) return [name, ...given];
  return [
    name,
    { name: 'Age', type: 'date', format: '', priority: 0, jsonPath: '.metadata.creationTimestamp' },
  ];
}

const VERSION = /^v(\d+)(?:(alpha|beta)(\d+))?$/;
const STAGES: Readonly<Record<string, number>> = { alpha: 0, beta: 1 };

/** Kubernetes' order of preference: stable before beta before alpha, higher numbers first, others last. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [VERSION.exec(a), VERSION.exec(b)];
  if (left === null || right === null) {
    if (left !== null) return -1;
    if (right !== null) return 1;
    return a < b ? -1 : 1;
  }
  const rank = (parts: RegExpExecArray): number[] => [
    parts[2] === undefined ? 2 : (STAGES[parts[2]] ?? 0),
    Number(parts[1]),
    Number(parts[3] ?? 0),
  ];
  const [x, y] = [rank(left), rank(right)];
  for (let index = 0; index < x.length; index += 1) {
    const difference = (y[index] ?? 0) - (x[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
