import { isRecord } from '@mural/core';
import type { Condition, KubeObject, UnstructuredObject } from './objects.ts';
import { parseApiVersion } from './objects.ts';
import { findCondition } from './runtime/conditions.ts';

/** What kstatus (`sigs.k8s.io/cli-utils/pkg/kstatus`) says of an object. */
export interface ObjectStatus {
  readonly status: 'Current' | 'InProgress' | 'Failed' | 'Terminating' | 'NotFound' | 'Unknown';
  readonly message: string;
}

/** The fields that the rules read, with zero for absent numbers. */
interface View {
  readonly object: UnstructuredObject;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>>;
  readonly conditions: readonly Condition[];
}
type Rule = (view: View) => ObjectStatus;

const CURRENT: ObjectStatus = { status: 'Current', message: 'Resource is current' };

/**
 * Judges an object by the rules of kstatus: deletion, observed generation and the conditions
 * `Reconciling` and `Stalled` first, then the rules of its kind, then its condition `Ready`.
 *
 * A Job is in progress until it is complete (as Flux waits for it), and a pod that cannot be
 * scheduled is in progress however long that lasts.
 */
export function objectStatus(object: KubeObject | undefined): ObjectStatus {
  if (object === undefined) return { status: 'NotFound', message: 'Resource not found' };
  const whole = object as UnstructuredObject;
  const status = record(whole['status']);
  const view: View = {
    object: whole,
    spec: record(whole['spec']),
    status,
    conditions: Array.isArray(status['conditions']) ? (status['conditions'] as Condition[]) : [],
  };
  return generic(view) ?? (RULES[kindOf(object)] ?? readyCondition)(view);
}

const NEED_NODES: ReadonlySet<string> = new Set([
  'Pod',
  'ReplicationController',
  'PersistentVolumeClaim',
  'apps/Deployment',
  'apps/StatefulSet',
  'apps/DaemonSet',
  'apps/ReplicaSet',
  'batch/Job',
]);

/** Whether an object becomes healthy only where pods run. A CronJob does not: it is current at once. */
export function needsNodes(object: KubeObject): boolean {
  return NEED_NODES.has(kindOf(object));
}

function generic({ object, status, conditions }: View): ObjectStatus | undefined {
  const { deletionTimestamp, generation } = object.metadata;
  if (deletionTimestamp !== undefined) {
    return { status: 'Terminating', message: 'Resource scheduled for deletion' };
  }
  const observed = status['observedGeneration'];
  if (typeof observed === 'number' && generation !== undefined && observed !== generation) {
    return inProgress(
      `${object.kind} generation is ${generation}, but latest observed generation is ${observed}`,
    );
  }
  const reconciling = findCondition(conditions, 'Reconciling');
  if (reconciling?.status === 'True') return inProgress(reconciling.message);
  const stalled = findCondition(conditions, 'Stalled');
  return stalled?.status === 'True' ? failed(stalled.message) : undefined;
}

function readyCondition({ conditions }: View): ObjectStatus {
  const ready = findCondition(conditions, 'Ready');
  if (ready === undefined || ready.status === 'True') return CURRENT;
  return inProgress(ready.message);
}

function deployment({ spec, status, conditions }: View): ObjectStatus {
  const progress = findCondition(conditions, 'Progressing');
  if (progress?.reason === 'ProgressDeadlineExceeded') return failed('Progress deadline exceeded');
  const wanted = count(spec['replicas'], 1);
  const replicas = count(status['replicas']);
  const updated = count(status['updatedReplicas']);
  const available = count(status['availableReplicas']);
  const ready = count(status['readyReplicas']);
  if (replicas < wanted) return inProgress(`replicas: ${replicas}/${wanted}`);
  if (updated < wanted) return inProgress(`Updated: ${updated}/${wanted}`);
  if (replicas > wanted) return inProgress(`Pending termination: ${replicas - wanted}`);
  if (updated > available) return inProgress(`Available: ${available}/${updated}`);
  if (ready < wanted) return inProgress(`Ready: ${ready}/${wanted}`);
  if (findCondition(conditions, 'Available')?.status !== 'True')
    return inProgress('Deployment not Available');
  return current(`Deployment is available. Replicas: ${replicas}`);
}

function replicaSet({ spec, status, conditions }: View): ObjectStatus {
  if (findCondition(conditions, 'ReplicaFailure')?.status === 'True') {
    return inProgress('Replica Failure condition. Check Pods');
  }
  const wanted = count(spec['replicas'], 1);
  const replicas = count(status['replicas']);
  const labelled = count(status['fullyLabeledReplicas']);
  const available = count(status['availableReplicas']);
  const ready = count(status['readyReplicas']);
  if (labelled < wanted) return inProgress(`Labelled: ${labelled}/${wanted}`);
  if (available < wanted) return inProgress(`Available: ${available}/${wanted}`);
  if (ready < wanted) return inProgress(`Ready: ${ready}/${wanted}`);
  if (replicas > wanted) return inProgress(`Pending termination: ${replicas - wanted}`);
  return current(`ReplicaSet is available. Replicas: ${replicas}`);
}

function statefulSet({ spec, status }: View): ObjectStatus {
  const strategy = record(spec['updateStrategy']);
  if (strategy['type'] === 'OnDelete') return current('StatefulSet is using the ondelete update strategy');
  const wanted = count(spec['replicas'], 1);
  const replicas = count(status['replicas']);
  const ready = count(status['readyReplicas']);
  if (replicas < wanted) return inProgress(`Replicas: ${replicas}/${wanted}`);
  if (ready < wanted) return inProgress(`Ready: ${ready}/${wanted}`);
  if (replicas > wanted) return inProgress(`Pending termination: ${replicas - wanted}`);
  const partition = count(record(strategy['rollingUpdate'])['partition']);
  if (partition > 0) {
    const updated = count(status['updatedReplicas']);
    const due = wanted - partition;
    if (updated < due) return inProgress(`updated: ${updated}/${due}`);
    return current(`Partition rollout complete. updated: ${updated}`);
  }
  if (count(status['currentReplicas']) < wanted) {
    return inProgress(`current: ${count(status['currentReplicas'])}/${wanted}`);
  }
  if (status['currentRevision'] !== status['updateRevision']) {
    return inProgress('Waiting for updated revision to match current');
  }
  return current(`All replicas scheduled as expected. Replicas: ${replicas}`);
}

function daemonSet({ object, status }: View): ObjectStatus {
  if (status['observedGeneration'] === undefined && object.metadata.generation !== undefined) {
    return inProgress('Generation has not been observed');
  }
  if (status['desiredNumberScheduled'] === undefined)
    return inProgress('Missing .status.desiredNumberScheduled');
  const wanted = count(status['desiredNumberScheduled']);
  const figures = {
    Current: count(status['currentNumberScheduled']),
    Updated: count(status['updatedNumberScheduled']),
    Available: count(status['numberAvailable']),
    Ready: count(status['numberReady']),
  };
  for (const [name, value] of Object.entries(figures)) {
    if (value < wanted) return inProgress(`${name}: ${value}/${wanted}`);
  }
  return current(`All replicas scheduled as expected. Replicas: ${wanted}`);
}

function job({ conditions, status }: View): ObjectStatus {
  const failure = conditions.find(({ type, status: value }) => type === 'Failed' && value === 'True');
  if (failure !== undefined) return failed(`Job Failed. failed: ${count(status['failed'])}`);
  if (conditions.some(({ type, status: value }) => type === 'Complete' && value === 'True')) {
    return current(`Job Completed. succeeded: ${count(status['succeeded'])}`);
  }
  return inProgress(status['startTime'] === undefined ? 'Job not started' : 'Job in progress');
}

function pod({ status, conditions }: View): ObjectStatus {
  switch (status['phase']) {
    case 'Succeeded':
      return current('Pod has completed successfully');
    case 'Failed':
      return failed('Pod has completed, but not successfully');
    case 'Running': {
      if (findCondition(conditions, 'Ready')?.status === 'True') return current('Pod is Ready');
      return crashing(status) ?? inProgress('Pod is running but is not Ready');
    }
    case 'Pending':
      return crashing(status) ?? inProgress('Pod is in the Pending phase');
    default:
      return inProgress('Pod phase not available');
  }
}

function crashing(status: Readonly<Record<string, unknown>>): ObjectStatus | undefined {
  const lists = [status['initContainerStatuses'], status['containerStatuses']];
  const names = lists
    .flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []))
    .map(record)
    .filter((container) => record(record(container['state'])['waiting'])['reason'] === 'CrashLoopBackOff')
    .map((container) => String(container['name']));
  return names.length === 0 ? undefined : failed(`Containers in CrashLoop state: ${names.join(',')}`);
}

function persistentVolumeClaim({ status }: View): ObjectStatus {
  const phase = status['phase'];
  if (phase === 'Bound') return current('PVC is Bound');
  return inProgress(`PVC is not Bound. phase: ${typeof phase === 'string' ? phase : 'unknown'}`);
}

function service({ spec }: View): ObjectStatus {
  const unset = spec['clusterIP'] === undefined || spec['clusterIP'] === '';
  if (spec['type'] === 'LoadBalancer' && unset)
    return inProgress('ClusterIP not set. Service type: LoadBalancer');
  return current('Service is ready');
}

function customResourceDefinition({ conditions }: View): ObjectStatus {
  const names = findCondition(conditions, 'NamesAccepted');
  if (names?.status === 'False') return failed(names.message);
  const established = findCondition(conditions, 'Established');
  if (established?.status === 'True') return current('CRD is established');
  if (established?.status === 'False' && established.reason !== 'Installing')
    return failed(established.message);
  return inProgress('Install in progress');
}

const always: Rule = () => CURRENT;
const RULES: Readonly<Record<string, Rule>> = {
  ConfigMap: always,
  Secret: always,
  PersistentVolumeClaim: persistentVolumeClaim,
  Pod: pod,
  ReplicationController: replicaSet,
  Service: service,
  'apps/DaemonSet': daemonSet,
  'apps/Deployment': deployment,
  'apps/ReplicaSet': replicaSet,
  'apps/StatefulSet': statefulSet,
  'batch/CronJob': always,
  'batch/Job': job,
  'policy/PodDisruptionBudget': always,
  'apiextensions.k8s.io/CustomResourceDefinition': customResourceDefinition,
};

function kindOf({ apiVersion, kind }: KubeObject): string {
  const { group } = parseApiVersion(apiVersion);
  return group === '' ? kind : `${group}/${kind}`;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

function count(value: unknown, absent = 0): number {
  return typeof value === 'number' ? value : absent;
}

function current(message: string): ObjectStatus {
  return { status: 'Current', message };
}

function inProgress(message: string): ObjectStatus {
  return { status: 'InProgress', message };
}

function failed(message: string): ObjectStatus {
  return { status: 'Failed', message };
}
