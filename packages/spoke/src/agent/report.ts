import {
  type Condition,
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
  const { labels = {}, deletionTimestamp, generation } = kustomization.metadata;
  const { [WORKLOAD_NAME_LABEL]: name, [WORKLOAD_NAMESPACE_LABEL]: namespace } = labels;
  if (name === undefined || namespace === undefined || deletionTimestamp !== undefined) return undefined;
  const conditions = conditionsOf(kustomization);
  const ready = findCondition(conditions, 'Ready');
  const digest = appliedDigest(kustomization);
  // A condition about an older spec says nothing about this one.
  const stale = ready?.observedGeneration !== undefined && ready.observedGeneration !== generation;
  const readyTime = ready?.status === 'True' && !stale ? readyTimeOf(kustomization) : undefined;
  return {
    name,
    namespace,
    ...(digest === undefined ? {} : { digest }),
    objects: objectsOf(kustomization),
    ...readiness(stale ? undefined : ready),
    ...health(findCondition(conditions, 'Healthy')),
    ...(readyTime === undefined ? {} : { readyTime }),
  };
}

function objectsOf({ status }: Kustomization): number {
  return status?.inventory?.entries.length ?? 0;
}

function health(healthy: Condition | undefined): Pick<SpokeWorkload, 'healthy' | 'healthReason'> {
  return healthy === undefined ? {} : { healthy: healthy.status, healthReason: healthy.reason };
}

function readiness(ready: Condition | undefined): Pick<SpokeWorkload, 'ready' | 'reason' | 'message'> {
  if (ready === undefined) return { ready: 'Unknown' };
  return { ready: ready.status, reason: ready.reason, message: ready.message };
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
