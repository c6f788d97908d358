import { describe, expect, it } from 'vitest';
import type { Condition } from '../objects.ts';
import { findCondition, isTrue, removeCondition, setCondition } from './conditions.ts';
import { ReconcileError } from './reconcile-error.ts';
import {
  conclude,
  type Outcome,
  progressing,
  runSteps,
  type Step,
  type StepResult,
  summarize,
} from './steps.ts';

const T0 = Date.UTC(2026, 0, 1);
const signal = new AbortController().signal;

function step(name: string, result: StepResult | Error): Step<string[]> {
  return {
    name,
    async run(state) {
      state.push(name);
      if (result instanceof Error) throw result;
      return result;
    },
  };
}

describe('runSteps', () => {
  it('runs in order and answers the earliest wish to come back', async () => {
    const ran: string[] = [];
    const steps = [step('a', { requeueAfterMs: 50 }), step('b', { requeueAfterMs: 20 }), step('c', 'done')];
    expect(await runSteps(steps, ran, signal)).toEqual({ result: 'done', requeueAfterMs: 20 });
    expect(ran).toEqual(['a', 'b', 'c']);
  });

  it('ends at stop and at the first error, which it names', async () => {
    const ran: string[] = [];
    expect(await runSteps([step('a', 'stop'), step('b', 'done')], ran, signal)).toMatchObject({
      result: 'stop',
    });
    const error = new Error('no');
    const outcome = await runSteps([step('c', error), step('d', 'done')], ran, signal);
    expect(outcome).toEqual({ result: 'failed', requeueAfterMs: undefined, error, failedStep: 'c' });
    expect(ran).toEqual(['a', 'c']);
    expect(() => conclude(outcome)).toThrow(error);
  });

  it('starts no step once the signal has aborted', async () => {
    const stop = new AbortController();
    stop.abort(new Error('stopped'));
    const ran: string[] = [];
    expect(await runSteps([step('a', 'done')], ran, stop.signal)).toMatchObject({ failedStep: 'a' });
    expect(ran).toEqual([]);
  });
});

function states(conditions: readonly Condition[]): Record<string, string> {
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

describe('summarize', () => {
  const options = {
    observedGeneration: 2,
    ready: { reason: 'Succeeded', message: 'stored' },
    negative: ['FetchFailed'],
    now: T0,
  };
  const failed = (error: Error): Outcome => ({ result: 'failed', error, failedStep: 'x' });
  const fetch = new ReconcileError('generic', 'AuthenticationFailed', 'who?', {
    conditionType: 'FetchFailed',
  });

  it('leaves only Ready after success', () => {
    const before = summarize(progressing([], 'begins', { now: T0 }), failed(fetch), options);
    const after = summarize(before, { result: 'done' }, options);
    expect(states(after)).toEqual({ Ready: 'True Succeeded' });
    expect(findCondition(after, 'Ready')?.observedGeneration).toBe(2);
  });

  it('says that a failure is tried again', () => {
    expect(states(summarize([], failed(fetch), options))).toEqual({
      FetchFailed: 'True AuthenticationFailed',
      Ready: 'False AuthenticationFailed',
      Reconciling: 'True ProgressingWithRetry',
    });
  });

  it('says that a failure needs a change of the object', () => {
    const error = new ReconcileError('stalling', 'URLInvalid', 'no');
    const before = summarize([], failed(fetch), options);
    expect(states(summarize(before, failed(error), options))).toEqual({
      Ready: 'False URLInvalid',
      Stalled: 'True URLInvalid',
    });
  });

  it('has a reason for errors without a usable one', () => {
    expect(states(summarize([], failed(new TypeError('bug')), options))['Ready']).toBe(
      'False ReconciliationFailed',
    );
  });
});

describe('conditions', () => {
  it('change their time only with their status', () => {
    const input = { type: 'Ready', status: 'True', reason: 'A', message: '' } as const;
    const first = setCondition(undefined, input, T0);
    const second = setCondition(first, { ...input, reason: 'B' }, T0 + 60_000);
    expect(second).toEqual([{ ...input, reason: 'B', lastTransitionTime: '2026-01-01T00:00:00Z' }]);
    const third = setCondition(second, { ...input, status: 'False' }, T0 + 60_000);
    expect(third[0]?.lastTransitionTime).toBe('2026-01-01T00:01:00Z');
    expect(isTrue(second, 'Ready')).toBe(true);
    expect(removeCondition(third, 'Ready')).toEqual([]);
  });
});
