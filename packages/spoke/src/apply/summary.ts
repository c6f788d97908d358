import { formatDuration, rfc3339 } from '@mural/core';
import {
  type Condition,
  type ConditionInput,
  findCondition,
  type Kustomization,
  type KustomizationStatus,
  type ReconcileError,
  removeCondition,
  setCondition,
} from '@mural/kube';
import { conditionMessage, requestedAt } from '../status.ts';
import type { HealthVerdict } from './health.ts';
import { type ApplyOutcome, type ApplyRun, originOf } from './run.ts';

const HISTORY_RECORDS = 5;

/** The status that is written before anything is applied: what may be in the cluster from now on. */
export function statusBeforeApply(run: ApplyRun, now: number): KustomizationStatus {
  const { object, artifact } = run;
  const revision = artifact?.revision ?? '';
  const observedGeneration = object.metadata.generation ?? 0;
  const message = `Applying revision ${revision}`;
  let conditions = removeCondition(object.status?.conditions, 'Stalled');
  const isNew = object.status?.lastAppliedRevision !== revision;
  for (const type of isNew ? ['Reconciling', 'Ready'] : ['Reconciling']) {
    const status = type === 'Ready' ? 'Unknown' : 'True';
    conditions = setCondition(
      conditions,
      { type, status, reason: 'Progressing', message, observedGeneration },
      now,
    );
  }
  return {
    ...object.status,
    conditions,
    lastAttemptedRevision: revision,
    inventory: { entries: run.inventory },
  };
}

/** The status after a run, or while health is checked: the one place where results become conditions. */
export function summarizeApply(run: ApplyRun, outcome: ApplyOutcome, now: number): KustomizationStatus {
  const before = run.object.status ?? {};
  const handled = requestedAt(run.object);
  const revision = run.artifact?.revision;
  const origin = originOf(run.artifact);
  const settled = outcome.kind === 'done' || (outcome.kind === 'failed' && outcome.error.kind === 'stalling');
  const status: KustomizationStatus = {
    ...before,
    conditions: conditionsAfter(run, outcome, now),
    ...(run.inventory.length === 0 && before.inventory === undefined
      ? {}
      : { inventory: { entries: run.inventory } }),
    ...(settled ? { observedGeneration: run.object.metadata.generation ?? 0 } : {}),
    ...(handled === undefined ? {} : { lastHandledReconcileAt: handled }),
    ...(revision === undefined ? {} : { lastAttemptedRevision: revision }),
    ...(outcome.kind === 'done' && revision !== undefined
      ? {
          lastAppliedRevision: revision,
          ...(origin === undefined ? {} : { lastAppliedOriginRevision: origin }),
        }
      : {}),
  };
  return status;
}

/** Adds the run to the history: the last five different results, the newest first. */
export function withHistory(
  status: KustomizationStatus,
  run: ApplyRun,
  outcome: ApplyOutcome,
  now: number,
): KustomizationStatus {
  if (outcome.kind === 'checking' || run.buildDigest === undefined) return status;
  const result = outcome.kind === 'done' ? 'ReconciliationSucceeded' : outcome.error.code;
  const revision = run.artifact?.revision ?? '';
  const origin = originOf(run.artifact);
  const time = rfc3339(now);
  const [latest, ...older] = status.history ?? [];
  const same =
    latest?.['digest'] === run.buildDigest &&
    latest['lastReconciledStatus'] === result &&
    revisionOf(latest) === revision;
  const entry = {
    digest: run.buildDigest,
    firstReconciled: same ? latest['firstReconciled'] : time,
    lastReconciled: time,
    lastReconciledDuration: formatDuration(now - run.startedAt),
    lastReconciledStatus: result,
    totalReconciliations: same ? Number(latest['totalReconciliations']) + 1 : 1,
    metadata: { revision, ...(origin === undefined ? {} : { originRevision: origin }) },
  };
  const rest = latest === undefined || same ? older : [latest, ...older];
  return { ...status, history: [entry, ...rest].slice(0, HISTORY_RECORDS) };
}

/** The revision that an entry of the history is about. */
export function revisionOf(entry: Readonly<Record<string, unknown>>): string | undefined {
  const metadata = entry['metadata'];
  if (typeof metadata !== 'object' || metadata === null || !('revision' in metadata)) return undefined;
  return typeof metadata.revision === 'string' ? metadata.revision : undefined;
}

function conditionsAfter(run: ApplyRun, outcome: ApplyOutcome, now: number): Condition[] {
  const observedGeneration = run.object.metadata.generation ?? 0;
  let conditions: Condition[] = [...(run.object.status?.conditions ?? [])];
  const set = (condition: Omit<ConditionInput, 'observedGeneration'>): void => {
    conditions = setCondition(conditions, { ...condition, observedGeneration }, now);
  };
  switch (outcome.kind) {
    case 'done': {
      conditions = removeCondition(conditions, 'Reconciling', 'Stalled');
      const message = `Applied revision: ${run.artifact?.revision ?? ''}`;
      set({ type: 'Ready', status: 'True', reason: 'ReconciliationSucceeded', message });
      if (outcome.verdict === undefined) conditions = removeCondition(conditions, 'Healthy');
      else set(healthyCondition(outcome.verdict, run));
      return conditions;
    }
    case 'checking': {
      conditions = removeCondition(conditions, 'Stalled');
      const { message } = outcome;
      set({ type: 'Reconciling', status: 'True', reason: 'Progressing', message });
      set({ type: 'Healthy', status: 'Unknown', reason: 'Progressing', message });
      if (!wasReadyAt(run.object, run.artifact?.revision)) {
        set({ type: 'Ready', status: 'Unknown', reason: 'Progressing', message });
      }
      return conditions;
    }
    case 'failed':
      for (const condition of failedConditions(outcome.error)) set(condition);
      // The two exclude each other.
      return removeCondition(conditions, outcome.error.kind === 'stalling' ? 'Reconciling' : 'Stalled');
  }
}

function failedConditions(error: ReconcileError): Omit<ConditionInput, 'observedGeneration'>[] {
  const message = conditionMessage(error);
  const reason = error.code;
  return [
    ...(reason === 'HealthCheckFailed'
      ? [{ type: 'Healthy', status: 'False', reason, message } as const]
      : []),
    { type: 'Ready', status: 'False', reason, message },
    error.kind === 'stalling'
      ? { type: 'Stalled', status: 'True', reason, message }
      : { type: 'Reconciling', status: 'True', reason: 'ProgressingWithRetry', message },
  ];
}

function healthyCondition(verdict: HealthVerdict, run: ApplyRun): Omit<ConditionInput, 'observedGeneration'> {
  if (verdict.state === 'no-nodes') {
    return { type: 'Healthy', status: 'Unknown', reason: 'NoNodes', message: verdict.message };
  }
  const before = findCondition(run.object.status?.conditions, 'Healthy');
  const kept = before?.status === 'True' ? before.message : undefined;
  return { type: 'Healthy', status: 'True', reason: 'Succeeded', message: kept ?? 'Health check passed' };
}

/** Whether the object already was ready with this revision and its present spec. */
export function wasReadyAt(object: Kustomization, revision: string | undefined): boolean {
  const ready = findCondition(object.status?.conditions, 'Ready');
  return (
    ready?.status === 'True' &&
    object.status?.lastAppliedRevision === revision &&
    object.status?.observedGeneration === object.metadata.generation
  );
}
