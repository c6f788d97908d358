import { type KubeObject, parseApiVersion } from '@mural/kube';

/** Applied before anything else, in this order; from Flux's `ssa.SortableUnstructureds`. */
const FIRST = [
  ...['CustomResourceDefinition', 'Namespace', 'ClusterRole', 'ClusterClass', 'RuntimeClass'],
  ...['PriorityClass', 'StorageClass', 'VolumeSnapshotClass', 'IngressClass', 'GatewayClass'],
  ...['ClusterRoleBinding', 'ResourceQuota', 'ServiceAccount', 'Role', 'RoleBinding', 'ConfigMap'],
  ...['Secret', 'Service', 'LimitRange', 'Deployment', 'StatefulSet', 'CronJob', 'PodDisruptionBudget'],
];
/** Applied after everything else: they judge what is written while they are there. */
const LAST = ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'];
const DEFINITIONS: ReadonlySet<string> = new Set(['CustomResourceDefinition', 'Namespace', 'ClusterRole']);

function rank(kind: string): number {
  const first = FIRST.indexOf(kind);
  if (first >= 0) return first;
  const last = LAST.indexOf(kind);
  return last >= 0 ? FIRST.length + 1 + last : FIRST.length;
}

/** The order of application: by kind, then by namespace and name. */
export function compareObjects(a: KubeObject, b: KubeObject): number {
  const byRank = rank(a.kind) - rank(b.kind);
  return byRank === 0 ? compareText(sortKey(a), sortKey(b)) : byRank;
}

/** One group of objects that are applied together, before the next is begun. */
export interface Stage {
  readonly objects: readonly (KubeObject & Record<string, unknown>)[];
  /** Whether these must be established before the next stage can be applied. */
  readonly wait: boolean;
}

/** Cuts objects into stages: what defines, then classes, then the rest. Empty stages are left out. */
export function stagesOf(objects: readonly (KubeObject & Record<string, unknown>)[]): Stage[] {
  const sorted = objects.toSorted(compareObjects);
  const definitions = sorted.filter(({ kind }) => DEFINITIONS.has(kind));
  const classes = sorted.filter(({ kind }) => !DEFINITIONS.has(kind) && kind.endsWith('Class'));
  const rest = sorted.filter(({ kind }) => !DEFINITIONS.has(kind) && !kind.endsWith('Class'));
  return [
    { objects: definitions, wait: true },
    { objects: classes, wait: true },
    { objects: rest, wait: false },
  ].filter((stage) => stage.objects.length > 0);
}

function sortKey(object: KubeObject): string {
  const { group } = parseApiVersion(object.apiVersion);
  const { namespace = '', name = '' } = object.metadata;
  return `${group}\0${object.kind}\0${namespace}\0${name}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** An object as messages and events name it: `Kind/namespace/name`. */
export function describeObject(object: KubeObject): string {
  const { namespace, name = '' } = object.metadata;
  return [object.kind, ...(namespace === undefined || namespace === '' ? [] : [namespace]), name].join('/');
}
