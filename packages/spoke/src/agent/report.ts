import {
  conditionsOf,
  findCondition,
  type Kustomization,
  MURAL_NAMESPACE,
  type SpokeWorkload,
  WORKLOAD_NAME_LABEL,
  WORKLOAD_NAMESPACE_LABEL,
} from '@mural/kube';
import { digestOfRevision } from '../apply/run.ts';
import { revisionOf } from '../apply/summary.ts';

/** Name of the OCIRepository and the Kustomization that deliver a spoke's root. */
export const ROOT_NAME = 'mural-root';

/** What a spoke runs, as it reports it. */
export interface SpokeReport {
  readonly rootDigest: string | undefined;
  readonly workloads: readonly SpokeWorkload[];
}

/** Reads the report off the spoke's Kustomizations. */
export function reportOf(kustomizations: readonly Kustomization[]): SpokeReport {
  const root = kustomizations.find(
    ({ metadata }) => metadata.namespace === MURAL_NAMESPACE && metadata.name === ROOT_NAME,
  );
  return {
    rootDigest: appliedDigest(root),
    workloads: kustomizations
      .flatMap((kustomization) => workloadOf(kustomization) ?? [])
      .sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name)),
  };
}

function workloadOf(kustomization: Kustomization): SpokeWorkload | undefined {
  const { labels, deletionTimestamp, generation } = kustomization.metadata;
  const name = labels?.[WORKLOAD_NAME_LABEL];
  const namespace = labels?.[WORKLOAD_NAMESPACE_LABEL];
  if (name === undefined || namespace === undefined || deletionTimestamp !== undefined) return undefined;
  const conditions = conditionsOf(kustomization);
  const ready = findCondition(conditions, 'Ready');
  const healthy = findCondition(conditions, 'Healthy');
  const digest = appliedDigest(kustomization);
  // A condition about an older spec says nothing about this one.
  const stale = ready?.observedGeneration !== undefined && ready.observedGeneration !== generation;
  const readyTime = ready?.status === 'True' && !stale ? readyTimeOf(kustomization) : undefined;
  return {
    name,
    namespace,
    ...(digest === undefined ? {} : { digest }),
    objects: kustomization.status?.inventory?.entries.length ?? 0,
    ready: stale ? 'Unknown' : (ready?.status ?? 'Unknown'),
    ...(healthy === undefined ? {} : { healthy: healthy.status, healthReason: healthy.reason }),
    ...(ready === undefined || stale ? {} : { reason: ready.reason, message: ready.message }),
    ...(readyTime === undefined ? {} : { readyTime }),
  };
}

/** When the revision that is applied was first ready; the history knows, and outlives a flapping condition. */
function readyTimeOf({ status }: Kustomization): string | undefined {
  const entry = status?.history?.find(
    (record) =>
      record['lastReconciledStatus'] === 'ReconciliationSucceeded' &&
      revisionOf(record) === status.lastAppliedRevision,
  );
  const first = entry?.['firstReconciled'];
  return typeof first === 'string' ? first : findCondition(status?.conditions, 'Ready')?.lastTransitionTime;
}

function appliedDigest(kustomization: Kustomization | undefined): string | undefined {
  const revision = kustomization?.status?.lastAppliedRevision;
  return revision === undefined ? undefined : digestOfRevision(revision);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
