import type { Stored } from '../objects.ts';
import { dig, scalarText } from '../objects.ts';
import { badRequest } from '../status.ts';
import type { ApiResource } from './types.ts';

/** A field selector: what it names and whether an object meets it. */
export interface FieldSelector {
  readonly matches: (object: Stored) => boolean;
  /** The name it pins down, when it asks for `metadata.name=`. */
  readonly name: string | undefined;
  /** The namespace it pins down. */
  readonly namespace: string | undefined;
}

/** Further fields of built-in resources that selectors may name, beside name and namespace. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  events: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'regarding.kind',
    'regarding.namespace',
    'regarding.name',
    'regarding.uid',
    'reason',
    'reportingComponent',
    'reportingController',
    'source',
    'type',
  ],
  secrets: ['type'],
  namespaces: ['status.phase'],
  nodes: ['spec.unschedulable'],
  services: ['spec.clusterIP', 'spec.type'],
  replicationcontrollers: ['status.replicas'],
  'apps/replicasets': ['status.replicas'],
  'batch/jobs': ['status.successful'],
  'certificates.k8s.io/certificatesigningrequests': ['spec.signerName'],
};

/** Where a field of a selector lies, when it is not under its own name. */
const PLACES: Readonly<Record<string, string>> = {
  'status.successful': 'status.succeeded',
  source: 'source.component',
  'regarding.kind': 'involvedObject.kind',
  'regarding.namespace': 'involvedObject.namespace',
  'regarding.name': 'involvedObject.name',
  'regarding.uid': 'involvedObject.uid',
  reportingController: 'reportingComponent',
};

/** Resources whose error for an unknown field is in the older words. */
const LEGACY_WORDS = new Set(Object.keys(FIELDS));
const TERM = /^([^=!]+?)\s*(==|=|!=)\s*(.*)$/;
const LIMIT = 4096;

/**
 * Reads a field selector (`metadata.name=x,status.phase!=Running`) for a resource.
 *
 * @throws ApiError `BadRequest` for a field that this resource cannot be selected by
 */
export function fieldSelector(selector: string | undefined, resource: ApiResource): FieldSelector {
  const everything = { matches: () => true, name: undefined, namespace: undefined };
  if (selector === undefined || selector.trim() === '') return everything;
  if (selector.length > LIMIT) throw badRequest('the field selector is too long');
  const terms = selector
    .split(',')
    .filter((term) => term.trim() !== '')
    .map((term) => parseTerm(term, resource));
  const pinned = (field: string): string | undefined =>
    terms.find((term) => term.field === field && term.equal)?.value;
  return {
    matches: (object) => terms.every((term) => (valueOf(object, term.field) === term.value) === term.equal),
    name: pinned('metadata.name'),
    namespace: pinned('metadata.namespace'),
  };
}

function parseTerm(
  term: string,
  resource: ApiResource,
): { readonly field: string; readonly equal: boolean; readonly value: string } {
  const parts = TERM.exec(term.trim());
  if (parts === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
  const field = (parts[1] ?? '').trim();
  check(field, resource);
  return { field, equal: parts[2] !== '!=', value: parts[3] ?? '' };
}

function check(field: string, resource: ApiResource): void {
  const selectable = resource.custom?.selectable.map((path) => path.replace(/^\./, '')) ?? [];
  const known = ['metadata.name', 'metadata.namespace', ...(FIELDS[resource.storage] ?? []), ...selectable];
  if (known.includes(field)) return;
  if (resource.custom !== undefined || LEGACY_WORDS.has(resource.storage)) {
    throw badRequest(`field label not supported: ${field}`);
  }
  throw badRequest(`"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`);
}

function valueOf(object: Stored, field: string): string {
  const value = dig(object, ...(PLACES[field] ?? field).split('.'));
  if (value === undefined || value === null) return DEFAULTS[field] ?? '';
  return scalarText(value);
}

/** What an absent field counts as, where that is not the empty string. */
const DEFAULTS: Readonly<Record<string, string>> = {
  'spec.unschedulable': 'false',
  'spec.hostNetwork': 'false',
  'status.replicas': '0',
  'status.successful': '0',
};
