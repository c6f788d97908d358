import {
  backoff,
  formatDuration,
  jitter,
  jsonEqual,
  parseDuration,
  type Random,
  withDeadline,
} from '@mural/core';
import {
  type EventRecorder,
  type Kustomization,
  KUSTOMIZATIONS,
  type KustomizationStatus,
  ReconcileError,
  type ReconcileResult,
  type UnstructuredObject,
} from '@mural/kube';
import { deadlineOf } from '../deadline.ts';
import type { LatestObjects } from '../latest.ts';
import { conditionMessage, ensureFinalizer, inputsOf, patchStatus } from '../status.ts';
import { ConfidentialValues } from './confidential.ts';
import { finalize } from './finalize.ts';
import { HealthJudge } from './health.ts';
import { describeObject } from './order.ts';
import type { ApplyOutcome, ApplyRun, HealthWatch } from './run.ts';
import {
  apply,
  type ApplyTools,
  build,
  changesOf,
  checkDependencies,
  findArtifact,
  healthTargets,
  prune,
  sourceKey,
  timeoutOf,
  validateSpec,
} from './steps.ts';
import { statusBeforeApply, summarizeApply, wasReadyAt, withHistory } from './summary.ts';

/** What a {@link KustomizationReconciler} works with. */
export interface ReconcilerOptions {
  readonly tools: ApplyTools;
  readonly objects: LatestObjects<Kustomization>;
  readonly events: EventRecorder;
  readonly random: Random;
}

/** What is remembered of a Kustomization between runs; lost without harm. */
interface Memory {
  /** What the last settled run was made for; absent while something is waited for. */
  inputs: string | undefined;
  dueAt: number;
  failures: number;
  waitingSince: number | undefined;
  health: HealthWatch | undefined;
  readonly records: ApplyRun['records'];
}

/**
 * For finalizers and statuses, as Flux names it. Not the manager of applied objects: what that wrote by updates is
 * taken back when a Kustomization is itself applied by another one, and its finalizer must not be.
 */
const FIELD_MANAGER = 'gotk-kustomize-controller';
const INTERVAL_JITTER = 0.05;
/** A source made together with its Kustomization gets this long before its absence is worth a status write. */
const GRACE_MS = 2000;
const MAX_CHANGES_TOLD = 50;

/** Reconciles one Kustomization at a time: decides whether to run, runs the steps, tells the result. */
export class KustomizationReconciler {
  readonly #tools: ApplyTools;
  readonly #options: ReconcilerOptions;
  readonly #judge: HealthJudge;
  readonly #memory = new Map<string, Memory>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#tools = options.tools;
    this.#judge = new HealthJudge(options.tools.client, options.tools.clock);
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { tools } = this.#options;
    const found = this.#options.objects.get(key);
    if (found === undefined) {
      this.#memory.delete(key);
      return {};
    }
    const write = { fieldManager: FIELD_MANAGER, signal };
    if (found.metadata.deletionTimestamp !== undefined) {
      await finalize(found, tools, this.#options.events, write);
      return {};
    }
    if (found.spec.suspend === true) {
      this.#memory.delete(key);
      return {};
    }
    const object = await ensureFinalizer(tools.client, KUSTOMIZATIONS, found, write);
    if (object !== found) this.#options.objects.wrote(object);
    const memory = this.#memoryOf(key);
    const artifact = tools.findSource(sourceKey(object))?.status?.artifact;
    const inputs = inputsOf(object, artifact?.digest, artifact?.revision);
    if (memory.inputs === inputs) {
      if (memory.health !== undefined) return this.#checkHealth(memory.health, object, memory, signal);
      const early = memory.dueAt - tools.clock.now();
      if (early > 0) return requeue(early);
    }
    memory.health = undefined;
    return this.#run(key, object, memory, inputs, signal);
  }

  async #run(
    key: string,
    object: Kustomization,
    memory: Memory,
    inputs: string,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const run = this.#begin(key, object, memory);
    // Until the result is told, the next wake-up must begin anew, whatever was due before.
    memory.dueAt = 0;
    memory.inputs = inputs;
    const failure = await this.#steps(run, signal);
    if (failure !== undefined) return this.#finish(run, { kind: 'failed', error: failure }, memory, signal);
    const targets = healthTargets(run);
    if (targets.length === 0) return this.#finish(run, { kind: 'done', verdict: undefined }, memory, signal);
    const deadlineAt = this.#tools.clock.now() + run.timeoutMs;
    return this.#checkHealth({ run, targets, deadlineAt, polls: 0 }, run.object, memory, signal);
  }

  #begin(key: string, object: Kustomization, memory: Memory): ApplyRun {
    const known = object.status?.inventory?.entries ?? [];
    return {
      key,
      object,
      spec: object.spec,
      startedAt: this.#tools.clock.now(),
      timeoutMs: timeoutOf(object.spec),
      known,
      records: memory.records,
      artifact: undefined,
      objects: [],
      buildDigest: undefined,
      inventory: known,
      applied: [],
      deleted: [],
      confidential: new ConfidentialValues(),
    };
  }

  async #steps(run: ApplyRun, signal: AbortSignal): Promise<ReconcileError | undefined> {
    const tools = this.#tools;
    try {
      validateSpec(run);
      findArtifact(run, tools);
      checkDependencies(run, tools);
      await withDeadline(deadlineOf(tools.clock, run.timeoutMs, signal), async (inner) => {
        await build(run, tools, inner);
        await this.#recordInventory(run, inner);
        await apply(run, tools, inner);
        await prune(run, tools, inner);
      });
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ReconcileError) return error;
      return new ReconcileError('generic', 'ReconciliationFailed', conditionMessage(error), { cause: error });
    }
  }

  /**
   * Writes what is about to be applied before it is: killed in between, the next run still knows every object
   * that may exist, and can prune it.
   */
  async #recordInventory(run: ApplyRun, signal: AbortSignal): Promise<void> {
    if (jsonEqual(run.inventory, run.known)) return;
    await this.#write(run, statusBeforeApply(run, this.#tools.clock.now()), signal);
  }

  async #checkHealth(
    watch: HealthWatch,
    object: Kustomization,
    memory: Memory,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { clock } = this.#tools;
    const { run } = watch;
    run.object = object;
    // At the first look the objects are at hand, from the answers to their application.
    const known = watch.polls === 0 ? liveObjects(run) : new Map<string, UnstructuredObject>();
    watch.polls += 1;
    const verdict = await this.#judge.judge(watch.targets, run.spec.healthCheckExprs ?? [], known, signal);
    if (verdict.state === 'healthy' || verdict.state === 'no-nodes') {
      return this.#finish(run, { kind: 'done', verdict }, memory, signal);
    }
    const elapsed = formatDuration(clock.now() - run.startedAt);
    if (verdict.state === 'failed') {
      const message = `health check failed after ${elapsed}: failed early due to stalled resources: ${verdict.message}`;
      return this.#finish(run, { kind: 'failed', error: unhealthy(message) }, memory, signal);
    }
    if (clock.now() >= watch.deadlineAt) {
      const message = `health check failed after ${elapsed}: timeout waiting for: ${verdict.message}`;
      return this.#finish(run, { kind: 'failed', error: unhealthy(message) }, memory, signal);
    }
    memory.health = watch;
    const timeout = formatDuration(run.timeoutMs);
    const message = `Running health checks for revision ${run.artifact?.revision ?? ''} with a timeout of ${timeout}`;
    await this.#write(run, summarizeApply(run, { kind: 'checking', message }, clock.now()), signal);
    return requeue(Math.min(5000, 250 * 2 ** Math.min(watch.polls, 5), watch.deadlineAt - clock.now() + 1));
  }

  /** Turns a result into status, events, and the next wake-up. */
  async #finish(
    run: ApplyRun,
    outcome: Exclude<ApplyOutcome, { kind: 'checking' }>,
    memory: Memory,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const now = this.#tools.clock.now();
    memory.health = undefined;
    if (outcome.kind === 'failed' && outcome.error.kind === 'waiting') {
      memory.inputs = undefined;
      const patience = this.#patience(outcome.error, memory, now);
      if (patience > 0) return requeue(patience);
    } else memory.waitingSince = undefined;
    const before = run.object;
    const status = summarizeApply(run, outcome, now);
    if (!jsonEqual(status, before.status))
      await this.#write(run, withHistory(status, run, outcome, now), signal);
    memory.failures = outcome.kind === 'failed' ? memory.failures + 1 : 0;
    const wait = this.#wait(run.spec, outcome, memory.failures);
    memory.dueAt = this.#tools.clock.now() + wait;
    this.#tell(run, before, outcome, wait);
    return requeue(wait);
  }

  /** How much longer a source that has just been made may take, in milliseconds, before that is a failure. */
  #patience(error: ReconcileError, memory: Memory, now: number): number {
    if (error.code !== 'ArtifactFailed') return 0;
    memory.waitingSince ??= now;
    return memory.waitingSince + GRACE_MS - now;
  }

  async #write(run: ApplyRun, status: KustomizationStatus, signal: AbortSignal): Promise<void> {
    const { objects } = this.#options;
    const written = await patchStatus(this.#tools.client, KUSTOMIZATIONS, run.object, status, {
      fieldManager: FIELD_MANAGER,
      signal,
    });
    if (written === undefined) return;
    objects.wrote(written);
    run.object = written;
  }

  #tell(
    run: ApplyRun,
    before: Kustomization,
    outcome: Exclude<ApplyOutcome, { kind: 'checking' }>,
    wait: number,
  ): void {
    const { events, tools } = { events: this.#options.events, tools: this.#tools };
    const revision = run.artifact?.revision;
    const annotations =
      revision === undefined ? undefined : { 'kustomize.toolkit.fluxcd.io/revision': revision };
    const changes = changesOf(run);
    if (changes.length > 0) {
      const more = changes.length - MAX_CHANGES_TOLD;
      const told = [...changes.slice(0, MAX_CHANGES_TOLD), ...(more > 0 ? [`and ${more} more`] : [])];
      events.event(before, 'Normal', 'Progressing', told.join('\n'), annotations);
    }
    if (outcome.kind === 'failed') {
      const { error } = outcome;
      tools.log.warn(
        { kustomization: run.key, reason: error.code, err: error },
        'the Kustomization is not ready',
      );
      const type = error.kind === 'waiting' ? 'Normal' : 'Warning';
      events.event(before, type, error.code, conditionMessage(error), annotations);
      return;
    }
    if (changes.length === 0 && wasReadyAt(before, revision)) return;
    const took = formatDuration(tools.clock.now() - run.startedAt);
    tools.log.info({ kustomization: run.key, revision, changes: changes.length, took }, 'applied');
    const message = `Reconciliation finished in ${took}, next run in ${formatDuration(Math.round(wait))}`;
    events.event(before, 'Normal', 'ReconciliationSucceeded', message, annotations);
  }

  /**
   * In milliseconds: the interval after success, the retry interval after a failure. Failures that pass by
   * themselves, and those without a retry interval of the user's, are tried again sooner, with back-off.
   */
  #wait(spec: Kustomization['spec'], outcome: ApplyOutcome, failures: number): number {
    const interval = duration(spec.interval, 60_000);
    if (outcome.kind !== 'failed') return jitter(interval, INTERVAL_JITTER, this.#options.random);
    const { error } = outcome;
    if (error.kind === 'stalling') return Number.POSITIVE_INFINITY;
    if (error.kind === 'waiting') return error.requeueAfterMs ?? interval;
    const retry = duration(spec.retryInterval, interval);
    if (spec.retryInterval !== undefined && !hasRetryableCause(error)) return retry;
    return backoff(failures, 1000, Math.max(retry, 1000), this.#options.random);
  }

  #memoryOf(key: string): Memory {
    const known = this.#memory.get(key);
    if (known !== undefined) return known;
    const memory: Memory = {
      inputs: undefined,
      dueAt: 0,
      failures: 0,
      waitingSince: undefined,
      health: undefined,
      records: new Map(),
    };
    this.#memory.set(key, memory);
    return memory;
  }
}

function liveObjects(run: ApplyRun): Map<string, UnstructuredObject> {
  return new Map(run.applied.map(({ live }) => [describeObject(live), live]));
}

function unhealthy(message: string): ReconcileError {
  return new ReconcileError('generic', 'HealthCheckFailed', message, { retryable: false });
}

function hasRetryableCause(error: ReconcileError): boolean {
  return error.retryable;
}

function duration(text: string | undefined, otherwise: number): number {
  try {
    return text === undefined ? otherwise : Math.max(parseDuration(text), 100);
  } catch {
    return otherwise;
  }
}

function requeue(ms: number): ReconcileResult {
  return Number.isFinite(ms) ? { requeueAfterMs: Math.max(1, ms) } : {};
}
