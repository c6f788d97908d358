import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { dig, digList, digString } from '../objects.ts';
import { age, humanDuration } from './ages.ts';
import type { Cell, CellOf } from './cells.ts';
import { containers, count, joined, orNone, pairs } from './cells.ts';

/** `a=b,c in (d,e)`: a label selector as a query. */
export function selectorText(selector: unknown): string {
  if (!isRecord(selector)) return '<none>';
  const labels = dig(selector, 'matchLabels');
  const plain = isRecord(labels)
    ? Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`)
    : [];
  const operators: Readonly<Record<string, string>> = { In: 'in', NotIn: 'notin' };
  const expressions = digList(selector, 'matchExpressions').map((one) => {
    const key = digString(one, 'key');
    const operator = digString(one, 'operator');
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operators[operator] ?? operator} (${digList(one, 'values').map(String).join(',')})`;
  });
  return joined([...plain, ...expressions]);
}

const TEMPLATE_CELLS: Readonly<Record<string, CellOf>> = {
  Containers: (o) => containers(dig(o, 'spec', 'template', 'spec')).names,
  Images: (o) => containers(dig(o, 'spec', 'template', 'spec')).images,
  Selector: (o) => selectorText(dig(o, 'spec', 'selector')),
};

const REPLICA_CELLS: Readonly<Record<string, CellOf>> = {
  ...TEMPLATE_CELLS,
  Desired: (o) => count(o, 'spec', 'replicas'),
  Current: (o) => count(o, 'status', 'replicas'),
  Ready: (o) => count(o, 'status', 'readyReplicas'),
};

function readyOf(object: Stored): Cell {
  return `${count(object, 'status', 'readyReplicas')}/${count(object, 'spec', 'replicas')}`;
}

function restarts(pod: Stored): number {
  return digList(pod, 'status', 'containerStatuses').reduce<number>(
    (sum, one) => sum + count(one, 'restartCount'),
    0,
  );
}

function podReady(pod: Stored): string {
  const ready = digList(pod, 'status', 'containerStatuses').filter((one) => dig(one, 'ready') === true);
  return `${ready.length}/${digList(pod, 'spec', 'containers').length}`;
}

/** The state of a pod in one word, the most telling first: deletion, a waiting or ended container, the phase. */
function podStatus(pod: Stored): string {
  const reason = digString(pod, 'status', 'reason');
  if (pod.metadata.deletionTimestamp !== undefined) return reason === 'NodeLost' ? 'Unknown' : 'Terminating';
  for (const status of digList(pod, 'status', 'containerStatuses').toReversed()) {
    const waiting = digString(status, 'state', 'waiting', 'reason');
    const ended = digString(status, 'state', 'terminated', 'reason');
    if (waiting !== '' || ended !== '') return waiting || ended;
  }
  return reason || digString(pod, 'status', 'phase');
}

function jobStatus(job: Stored): string {
  const holds = (type: string): boolean =>
    digList(job, 'status', 'conditions').some(
      (one) => dig(one, 'type') === type && dig(one, 'status') === 'True',
    );
  if (holds('Complete')) return 'Complete';
  if (holds('Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (holds('Suspended')) return 'Suspended';
  return holds('FailureTarget') ? 'FailureTarget' : 'Running';
}

function jobCompletions(job: Stored): string {
  const wanted = dig(job, 'spec', 'completions');
  const succeeded = count(job, 'status', 'succeeded');
  if (typeof wanted === 'number') return `${succeeded}/${wanted}`;
  const parallelism = count(job, 'spec', 'parallelism');
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function jobDuration(job: Stored, now: number): string {
  const start = Date.parse(digString(job, 'status', 'startTime'));
  if (Number.isNaN(start)) return '';
  const end = Date.parse(digString(job, 'status', 'completionTime'));
  return humanDuration((Number.isNaN(end) ? now : end) - start);
}

/** Cells of workloads by storage name and column. */
export const WORKLOAD_CELLS: Readonly<Record<string, Readonly<Record<string, CellOf>>>> = {
  pods: {
    Ready: podReady,
    Status: podStatus,
    Restarts: (o) => String(restarts(o)),
    IP: (o) => orNone(digString(o, 'status', 'podIP')),
    Node: (o) => orNone(digString(o, 'spec', 'nodeName')),
    'Nominated Node': (o) => orNone(digString(o, 'status', 'nominatedNodeName')),
    'Readiness Gates': () => '<none>',
  },
  'apps/deployments': {
    ...TEMPLATE_CELLS,
    Ready: readyOf,
    'Up-to-date': (o) => count(o, 'status', 'updatedReplicas'),
    Available: (o) => count(o, 'status', 'availableReplicas'),
  },
  'apps/statefulsets': { ...TEMPLATE_CELLS, Ready: readyOf },
  'apps/replicasets': REPLICA_CELLS,
  replicationcontrollers: { ...REPLICA_CELLS, Selector: (o) => pairs(dig(o, 'spec', 'selector')) },
  'apps/daemonsets': {
    ...TEMPLATE_CELLS,
    Desired: (o) => count(o, 'status', 'desiredNumberScheduled'),
    Current: (o) => count(o, 'status', 'currentNumberScheduled'),
    Ready: (o) => count(o, 'status', 'numberReady'),
    'Up-to-date': (o) => count(o, 'status', 'updatedNumberScheduled'),
    Available: (o) => count(o, 'status', 'numberAvailable'),
    'Node Selector': (o) => pairs(dig(o, 'spec', 'template', 'spec', 'nodeSelector')),
  },
  'apps/controllerrevisions': {
    Controller: (o) => {
      const owner = o.metadata.ownerReferences?.find((one) => one.controller === true);
      return owner === undefined ? '<none>' : `${owner.kind.toLowerCase()}.apps/${owner.name}`;
    },
    Revision: (o) => String(count(o, 'revision')),
  },
  'batch/jobs': {
    ...TEMPLATE_CELLS,
    Status: jobStatus,
    Completions: jobCompletions,
    Duration: jobDuration,
  },
  'batch/cronjobs': {
    Schedule: (o) => digString(o, 'spec', 'schedule'),
    Timezone: (o) => orNone(digString(o, 'spec', 'timeZone')),
    Suspend: (o) => dig(o, 'spec', 'suspend') === true,
    Active: (o) => digList(o, 'status', 'active').length,
    'Last Schedule': (o, now) => {
      const last = digString(o, 'status', 'lastScheduleTime');
      return last === '' ? '<none>' : age(last, now);
    },
    Containers: (o) => containers(dig(o, 'spec', 'jobTemplate', 'spec', 'template', 'spec')).names,
    Images: (o) => containers(dig(o, 'spec', 'jobTemplate', 'spec', 'template', 'spec')).images,
    Selector: (o) => selectorText(dig(o, 'spec', 'jobTemplate', 'spec', 'selector')),
  },
};
