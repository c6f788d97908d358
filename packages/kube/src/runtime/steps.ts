import { MuralError } from '@mural/core';
import type { Condition } from '../objects.ts';
import { type ConditionInput, removeCondition, setCondition } from './conditions.ts';
import type { ReconcileResult } from './controller.ts';
import { ReconcileError } from './reconcile-error.ts';

/** How a step ended: go on, end here with success, or go on and come back after a while. */
export type StepResult = 'done' | 'stop' | { readonly requeueAfterMs: number };

/** One named part of a reconcile. It changes the state and never writes status. */
export interface Step<S> {
  readonly name: string;
  run(state: S, signal: AbortSignal): Promise<StepResult>;
}

/** How a run of steps ended. */
export interface Outcome {
  readonly result: 'done' | 'stop' | 'failed';
  /** The earliest wish to come back, in milliseconds. */
  readonly requeueAfterMs?: number | undefined;
  readonly error?: Error | undefined;
  readonly failedStep?: string | undefined;
}

/** Runs the steps in order, to the end, to the first `stop` or to the first error, which it does not throw. */
export async function runSteps<S>(
  steps: readonly Step<S>[],
  state: S,
  signal: AbortSignal,
): Promise<Outcome> {
  let requeueAfterMs: number | undefined;
  for (const step of steps) {
    try {
      signal.throwIfAborted();
      const result = await step.run(state, signal);
      if (result === 'stop') return { result, requeueAfterMs };
      if (result !== 'done') {
        requeueAfterMs = Math.min(requeueAfterMs ?? Number.POSITIVE_INFINITY, result.requeueAfterMs);
      }
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      return { result: 'failed', requeueAfterMs, error: failure, failedStep: step.name };
    }
  }
  return { result: 'done', requeueAfterMs };
}

/** What {@link summarize} says of a success, and by what it is known. */
export interface SummaryOptions {
  readonly observedGeneration?: number | undefined;
  /** The condition `Ready` when all went well; `True` unless it says otherwise. */
  readonly ready: Pick<ConditionInput, 'reason' | 'message'> & { readonly status?: Condition['status'] };
  /** Conditions such as `FetchFailed` that this reconcile sets on failure and takes back on success. */
  readonly negative?: readonly string[] | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Turns an outcome into the conditions `Ready`, `Reconciling` and `Stalled`, by the conventions of
 * kstatus as Flux follows them: success leaves `Ready` alone; a failure that is tried again is
 * `Reconciling` for `ProgressingWithRetry`; one that needs a change of the object is `Stalled`.
 */
export function summarize(
  conditions: readonly Condition[] | undefined,
  outcome: Outcome,
  options: SummaryOptions,
): Condition[] {
  const { observedGeneration, now, ready, negative = [] } = options;
  if (outcome.error === undefined) {
    const cleared = removeCondition(conditions, 'Reconciling', 'Stalled', ...negative);
    return setCondition(cleared, { type: 'Ready', status: 'True', ...ready, observedGeneration }, now);
  }
  const failure = describeFailure(outcome.error);
  const cause = { reason: failure.reason, message: failure.message, observedGeneration };
  let next = removeCondition(conditions, ...negative.filter((type) => type !== failure.conditionType));
  if (failure.conditionType !== undefined) {
    next = setCondition(next, { type: failure.conditionType, status: 'True', ...cause }, now);
  }
  next = setCondition(next, { type: 'Ready', status: 'False', ...cause }, now);
  if (failure.stalled) {
    next = removeCondition(next, 'Reconciling');
    return setCondition(next, { type: 'Stalled', status: 'True', ...cause }, now);
  }
  next = removeCondition(next, 'Stalled');
  const retrying = { ...cause, type: 'Reconciling', status: 'True', reason: 'ProgressingWithRetry' } as const;
  return setCondition(next, retrying, now);
}

/** The conditions of an object whose reconcile begins: `Reconciling` for `Progressing`, `Ready` unknown. */
export function progressing(
  conditions: readonly Condition[] | undefined,
  message: string,
  options: { readonly observedGeneration?: number | undefined; readonly now: number },
): Condition[] {
  const { observedGeneration, now } = options;
  const cause = { reason: 'Progressing', message, observedGeneration };
  const next = setCondition(
    removeCondition(conditions, 'Stalled'),
    { type: 'Reconciling', status: 'True', ...cause },
    now,
  );
  return setCondition(next, { type: 'Ready', status: 'Unknown', ...cause }, now);
}

/** What a reconcile gives its controller: throws the error of a failure, answers when to come back else. */
export function conclude(outcome: Outcome): ReconcileResult {
  if (outcome.error !== undefined) throw outcome.error;
  return { requeueAfterMs: outcome.requeueAfterMs };
}

function describeFailure(error: Error): {
  readonly reason: string;
  readonly message: string;
  readonly conditionType: string | undefined;
  readonly stalled: boolean;
} {
  const known = error instanceof ReconcileError ? error : undefined;
  const code = error instanceof MuralError ? (error as MuralError).code : 'ReconciliationFailed';
  return {
    // `metav1.Condition` allows no other reasons.
    reason: /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/.test(code) ? code : 'ReconciliationFailed',
    message: error.message,
    conditionType: known?.conditionType,
    stalled: known?.kind === 'stalling',
  };
}
