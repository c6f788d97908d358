import { isRecord, jsonEqual } from '@mural/core';
import type { Stored } from '../objects.ts';
import { compact, dig, digStrings, omit, setIn } from '../objects.ts';
import type { FieldError } from '../schema/index.ts';
import type { ApiResource } from './types.ts';

/** Built-in resources whose metadata counts the generations of their spec. */
const GENERATIONS = new Set([
  'pods',
  'replicationcontrollers',
  'apps/daemonsets',
  'apps/deployments',
  'apps/replicasets',
  'apps/statefulsets',
  'batch/cronjobs',
  'batch/jobs',
  'networking.k8s.io/ingresses',
  'networking.k8s.io/ingressclasses',
  'networking.k8s.io/networkpolicies',
  'policy/poddisruptionbudgets',
  'scheduling.k8s.io/priorityclasses',
  'admissionregistration.k8s.io/mutatingadmissionpolicies',
  'admissionregistration.k8s.io/mutatingadmissionpolicybindings',
  'admissionregistration.k8s.io/mutatingwebhookconfigurations',
  'admissionregistration.k8s.io/validatingadmissionpolicies',
  'admissionregistration.k8s.io/validatingadmissionpolicybindings',
  'admissionregistration.k8s.io/validatingwebhookconfigurations',
  'apiextensions.k8s.io/customresourcedefinitions',
  'discovery.k8s.io/endpointslices',
  'flowcontrol.apiserver.k8s.io/flowschemas',
  'flowcontrol.apiserver.k8s.io/prioritylevelconfigurations',
]);

/** Fields that may never change, by resource. */
const IMMUTABLE: Readonly<Record<string, readonly string[]>> = {
  secrets: ['type'],
  'apps/deployments': ['spec.selector'],
  'apps/daemonsets': ['spec.selector'],
  'apps/replicasets': ['spec.selector'],
  'batch/jobs': ['spec.selector', 'spec.template', 'spec.completionMode'],
  'rbac.authorization.k8s.io/clusterrolebindings': ['roleRef'],
  'rbac.authorization.k8s.io/rolebindings': ['roleRef'],
  'scheduling.k8s.io/priorityclasses': ['value'],
  'storage.k8s.io/storageclasses': ['provisioner', 'parameters', 'reclaimPolicy', 'volumeBindingMode'],
  'apiextensions.k8s.io/customresourcedefinitions': ['spec.group', 'spec.names.plural', 'spec.scope'],
};

/** Resources whose status is set by whoever creates them. */
const STATUS_FROM_CREATOR = new Set(['nodes']);

/** Whether the resource counts generations. */
export function hasGeneration(resource: ApiResource): boolean {
  return resource.custom !== undefined || GENERATIONS.has(resource.storage);
}

/** An object as its creator may set it: without status, of the first generation. */
export function prepareCreate(object: Stored, resource: ApiResource): Stored {
  const keepsStatus = !resource.subresources.has('status') || STATUS_FROM_CREATOR.has(resource.storage);
  const prepared = keepsStatus ? object : (omit(object, 'status') as Stored);
  if (resource.storage === 'namespaces') return prepareNamespace(prepared);
  return prepared;
}

/** The finalizer of namespaces and the label that always carries their name. */
function prepareNamespace(object: Stored): Stored {
  const finalizers = digStrings(object, 'spec', 'finalizers');
  const withKubernetes = finalizers.includes('kubernetes') ? finalizers : [...finalizers, 'kubernetes'];
  return labelledNamespace({
    ...(setIn(object, ['spec', 'finalizers'], withKubernetes) as Stored),
    status: { phase: 'Active' },
  });
}

/** `kubernetes.io/metadata.name` cannot be taken off a namespace. */
export function labelledNamespace(object: Stored): Stored {
  const labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name ?? '' };
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** What an update may change: everything but the status, or the status alone. */
export function prepareUpdate(
  object: Stored,
  live: Stored,
  resource: ApiResource,
  subresource: string,
): Stored {
  if (subresource === 'status' || subresource === 'approval') {
    const status = dig(object, 'status');
    return compact({ ...live, status }) as Stored;
  }
  let prepared = object;
  if (resource.subresources.has('status')) {
    prepared = compact({ ...object, status: dig(live, 'status') }) as Stored;
  }
  if (resource.storage === 'namespaces') {
    // Finalizers of a namespace's spec change through its subresource `finalize` only.
    if (subresource !== 'finalize') {
      prepared = setIn(prepared, ['spec', 'finalizers'], dig(live, 'spec', 'finalizers')) as Stored;
    }
    prepared = labelledNamespace(prepared);
  }
  return prepared;
}

/** Whether a change between two states starts a new generation. */
export function startsGeneration(before: Stored, after: Stored, resource: ApiResource): boolean {
  if (!hasGeneration(resource)) return false;
  return !jsonEqual(desired(before, resource), desired(after, resource));
}

/** The part of an object that its generation counts: all but metadata, and status where it is apart. */
function desired(object: Stored, resource: ApiResource): unknown {
  const fields = ['metadata', 'apiVersion', 'kind'];
  return omit(object, ...fields, ...(resource.subresources.has('status') ? ['status'] : []));
}

/** Errors for fields that changed although they may not. */
export function immutableErrors(before: Stored, after: Stored, resource: ApiResource): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of IMMUTABLE[resource.storage] ?? []) {
    const path = field.split('.');
    const value = dig(after, ...path);
    if (!jsonEqual(dig(before, ...path), value)) {
      errors.push({ field, type: 'Invalid', detail: 'field is immutable', badValue: value });
    }
  }
  return [...errors, ...frozenDataErrors(before, after, resource)];
}

/** ConfigMaps and Secrets with `immutable: true`. */
function frozenDataErrors(before: Stored, after: Stored, resource: ApiResource): FieldError[] {
  if (resource.storage !== 'configmaps' && resource.storage !== 'secrets') return [];
  if (before['immutable'] !== true) return [];
  const detail = 'field is immutable when `immutable` is set';
  const errors: FieldError[] = [];
  if (after['immutable'] !== true) errors.push({ field: 'immutable', type: 'Forbidden', detail });
  for (const field of ['data', 'binaryData']) {
    if (!jsonEqual(before[field], after[field])) errors.push({ field, type: 'Forbidden', detail });
  }
  return errors;
}

/** The limit on the data of one ConfigMap or Secret, in bytes. */
const DATA_LIMIT = 1_048_576;

/** Errors for ConfigMaps and Secrets that hold too much. */
export function sizeErrors(object: Stored, resource: ApiResource): FieldError[] {
  const secret = resource.storage === 'secrets';
  if (!secret && resource.storage !== 'configmaps') return [];
  const data = Object.values(isRecord(object['data']) ? object['data'] : {});
  const binary = Object.values(isRecord(object['binaryData']) ? object['binaryData'] : {});
  const decoded = secret ? data : binary;
  let size = secret ? 0 : data.reduce<number>((sum, value) => sum + Buffer.byteLength(String(value)), 0);
  for (const value of decoded) size += Math.floor((String(value).length * 3) / 4);
  if (size <= DATA_LIMIT) return [];
  const detail = `may not be more than ${DATA_LIMIT} bytes`;
  return [{ field: secret ? 'data' : '[]', type: 'TooLong', detail }];
}
