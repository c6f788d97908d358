import {
  type Condition,
  type ConditionInput,
  type OCIRepository,
  type OCIRepositoryStatus,
  type ReconcileError,
  removeCondition,
  setCondition,
} from '@mural/kube';
import { conditionMessage, requestedAt } from '../status.ts';
import type { SourceRun } from './steps.ts';

const NEGATIVE = ['FetchFailed', 'StorageOperationFailed', 'ArtifactOutdated', 'Reconciling', 'Stalled'];

/**
 * The status after a run: the one place where results become conditions.
 *
 * @param failure what a step failed with, or `undefined` when all were done
 * @param now milliseconds since the epoch
 */
export function summarizeSource(
  run: SourceRun,
  failure: ReconcileError | undefined,
  now: number,
): OCIRepositoryStatus {
  const { object, spec, artifact } = run;
  const generation = object.metadata.generation ?? 0;
  const handled = requestedAt(object);
  const before = object.status ?? {};
  const settled = failure === undefined || failure.kind === 'stalling';
  return {
    ...withoutArtifact(before),
    conditions: conditionsAfter(run, failure, generation, now),
    ...(settled ? { observedGeneration: generation } : {}),
    ...(handled === undefined ? {} : { lastHandledReconcileAt: handled }),
    ...(artifact === undefined ? {} : { artifact, url: artifact.url }),
    ...(failure === undefined ? observed(spec) : {}),
  };
}

function withoutArtifact(status: OCIRepositoryStatus): OCIRepositoryStatus {
  const { artifact: _artifact, url: _url, ...rest } = status;
  return rest;
}

/** How the artifact was made; unset fields must overwrite those of the run before. */
function observed(spec: SourceRun['spec']): OCIRepositoryStatus {
  const { ignore, layerSelector } = spec;
  return {
    observedIgnore: ignore,
    observedLayerSelector: layerSelector,
  } as OCIRepositoryStatus;
}

function conditionsAfter(
  run: SourceRun,
  failure: ReconcileError | undefined,
  observedGeneration: number,
  now: number,
): Condition[] {
  const stored = `stored artifact for digest '${run.artifact?.revision ?? ''}'`;
  let conditions = removeCondition(run.object.status?.conditions, ...negativesToClear(failure));
  const set = (condition: Omit<ConditionInput, 'observedGeneration'>): void => {
    conditions = setCondition(conditions, { ...condition, observedGeneration }, now);
  };
  if (failure === undefined) {
    conditions = removeCondition(conditions, 'SourceVerified');
    set({ type: 'Ready', status: 'True', reason: 'Succeeded', message: stored });
    set({ type: 'ArtifactInStorage', status: 'True', reason: 'Succeeded', message: stored });
    return conditions;
  }
  const message = conditionMessage(failure);
  const reason = failure.code;
  set({ type: 'Ready', status: 'False', reason, message });
  if (failure.kind === 'stalling') set({ type: 'Stalled', status: 'True', reason, message });
  else
    set({
      type: 'Reconciling',
      status: 'True',
      reason: 'ProgressingWithRetry',
      message: 'reconciliation in progress',
    });
  if (failure.conditionType === 'SourceVerified')
    set({ type: 'SourceVerified', status: 'False', reason, message });
  else set({ type: failure.conditionType ?? 'FetchFailed', status: 'True', reason, message });
  if (run.artifact === undefined) conditions = removeCondition(conditions, 'ArtifactInStorage');
  else if (run.resolved !== undefined && run.resolved.revision !== run.artifact.revision) {
    const outdated = `new upstream revision '${run.resolved.revision}'`;
    set({ type: 'ArtifactOutdated', status: 'True', reason: 'NewRevision', message: outdated });
  }
  return conditions;
}

/** What this run found anew; the rest is taken back. */
function negativesToClear(failure: ReconcileError | undefined): string[] {
  const found = failure === undefined ? [] : [failure.conditionType ?? 'FetchFailed'];
  found.push(failure?.kind === 'stalling' ? 'Stalled' : failure === undefined ? '' : 'Reconciling');
  return NEGATIVE.filter((type) => !found.includes(type));
}

/** Whether the object was not ready before, so that its recovery is worth an event. */
export function hadFailed(object: OCIRepository): boolean {
  return object.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'False';
}
