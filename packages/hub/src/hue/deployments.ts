import { type Clock, jitter, jsonEqual, type Logger, type Random } from '@mural/core';
import {
  type Controller,
  createController,
  type EventRecorder,
  isKubeError,
  type KubeClient,
  type Outcome,
  type ReconcileError,
  type ReconcileResult,
  runSteps,
  type Spoke,
  watching,
  WORKLOAD_DEPLOYMENTS,
  WORKLOAD_FINALIZER,
  type WorkloadDeployment,
  type WorkloadDeploymentStatus,
} from '@mural/kube';
import { Batch } from '../batch.ts';
import { reportChanges } from './deployment-events.ts';
import { toReconcileError } from './failure.ts';
import { foldSpokes, type SpokeRecord } from './fold.ts';
import type { Roots } from './roots.ts';
import { type Finished, HUE_STEPS, type HueTools, type Turn } from './steps.ts';
import { begun, type Publication, statedConditions, summarise } from './summary.ts';
import { stillPublished } from './withdraw.ts';

export interface DeploymentsOptions {
  readonly client: KubeClient;
  readonly tools: HueTools;
  readonly roots: Roots;
  readonly events: EventRecorder;
  /** How often published artifacts are looked for in the registry, in milliseconds. */
  readonly recheckMs: number;
  /** How long reports of spokes are collected before they are folded in, in milliseconds. */
  readonly foldMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface Memory {
  finished?: Finished;
  stalled?: { readonly input: string; readonly error: ReconcileError };
}

/** How soon a write that met another one is tried again. */
const AFTER_CONFLICT_MS = 100;

/** hue: takes each WorkloadDeployment from its spec to the registry, and its spokes' reports to its status. */
export class Deployments {
  readonly #options: DeploymentsOptions;
  readonly #controller: Controller;
  readonly #memory = new Map<string, Memory>();
  readonly #reports: Batch;
  #unsubscribe: (() => void) | undefined;

  constructor(options: DeploymentsOptions) {
    const { caches } = options.tools;
    this.#options = options;
    this.#reports = new Batch(options.clock, options.foldMs, (keys) => {
      for (const key of keys) this.#controller.enqueue(key);
    });
    this.#controller = createController<WorkloadDeployment>({
      name: 'hue',
      primary: caches.deployments,
      watches: [
        watching(caches.profiles, ({ metadata }) =>
          this.#keysWhere(
            (other) => sameNamespace(other, metadata) && other.spec.profileRef.name === metadata.name,
          ),
        ),
        watching(caches.environments, ({ metadata }) =>
          this.#keysWhere(
            (other) => sameNamespace(other, metadata) && other.spec.environmentRef.name === metadata.name,
          ),
        ),
      ],
      reconcile: async (key, signal) => this.#reconcile(key, signal),
      concurrency: 4,
      // A registry that is away comes back without a word: look often enough to be there soon after.
      backoff: { baseMs: 750, capMs: 60_000 },
      clock: options.clock,
      random: options.random,
      log: options.log,
    });
  }

  /** Starts when every cache holds everything. */
  async start(): Promise<void> {
    const { deployments, environments, profiles, spokes } = this.#options.tools.caches;
    await Promise.all([deployments, environments, profiles, spokes].map(async (cache) => cache.synced()));
    this.#controller.start();
    this.#unsubscribe = spokes.onChange((_name, now, before) =>
      this.#reports.add(this.#concerned(now, before)),
    );
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#reports.stop();
    await this.#controller.stop();
  }

  /** Asks for a turn of deployments whose spokes or roots went on. */
  enqueue(keys: Iterable<string>): void {
    this.#reports.add(keys);
  }

  /** Asks for a turn of every deployment. */
  refresh(): void {
    this.#reports.add(this.#keysWhere(() => true));
  }

  *#keysWhere(concerns: (deployment: WorkloadDeployment) => boolean): Iterable<string> {
    for (const deployment of this.#options.tools.caches.deployments.list()) {
      if (concerns(deployment)) yield keyOf(deployment);
    }
  }

  /** Deployments that a change of a spoke concerns: all, or those it reports otherwise than before. */
  #concerned(now: Spoke | undefined, before: Spoke | undefined): Iterable<string> {
    if (changesSelection(now, before)) return this.#keysWhere(() => true);
    const reportedBefore = new Map(
      (before?.status?.workloads ?? []).map((report) => [keyOfReport(report), report]),
    );
    const keys: string[] = [];
    for (const report of now?.status?.workloads ?? []) {
      if (!jsonEqual(report, reportedBefore.get(keyOfReport(report)))) keys.push(keyOfReport(report));
      reportedBefore.delete(keyOfReport(report));
    }
    return [...keys, ...reportedBefore.keys()];
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    try {
      const found = await this.#options.client.find<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, refOf(key), {
        signal,
      });
      if (found === undefined) {
        this.#memory.delete(key);
        return undefined;
      }
      if (found.metadata.deletionTimestamp !== undefined) return await this.#withdraw(key, found, signal);
      return await this.#deliver(key, await this.#claim(found, signal), signal);
    } catch (error) {
      // Somebody else wrote in between, or the object went: nothing failed, but what was read is old.
      if (isKubeError(error, 'Conflict', 'NotFound')) return { requeueAfterMs: AFTER_CONFLICT_MS };
      throw error;
    }
  }

  /** Makes sure that the deployment cannot go without being withdrawn. */
  async #claim(deployment: WorkloadDeployment, signal: AbortSignal): Promise<WorkloadDeployment> {
    const { finalizers = [] } = deployment.metadata;
    if (finalizers.includes(WORKLOAD_FINALIZER)) return deployment;
    return await this.#setFinalizers(deployment, [...finalizers, WORKLOAD_FINALIZER], signal);
  }

  async #setFinalizers(
    deployment: WorkloadDeployment,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<WorkloadDeployment> {
    const { resourceVersion } = deployment.metadata;
    return await this.#options.client.patch<WorkloadDeployment>(
      WORKLOAD_DEPLOYMENTS,
      refOf(keyOf(deployment)),
      'merge',
      { metadata: { resourceVersion, finalizers } },
      { fieldManager: 'hue', signal },
    );
  }

  async #withdraw(
    key: string,
    deployment: WorkloadDeployment,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const finalizers = deployment.metadata.finalizers ?? [];
    if (!finalizers.includes(WORKLOAD_FINALIZER)) return undefined;
    const pending = stillPublished(key, deployment, this.#options.tools.caches.spokes, this.#options.roots);
    if (pending.length > 0) {
      for (const spoke of pending) this.#options.roots.enqueue(spoke);
      const failure = pending
        .map((spoke) => this.#options.roots.failureOf(spoke))
        .find((text) => text !== undefined);
      if (failure !== undefined) {
        this.#options.events.event(
          deployment,
          'Warning',
          'PushFailed',
          `cannot be withdrawn yet: ${failure}`,
        );
      }
      // The roots call when they are through; this is for a call that was missed.
      return { requeueAfterMs: jitter(30_000, 0.2, this.#options.random) };
    }
    this.#memory.delete(key);
    this.#options.events.event(deployment, 'Normal', 'Withdrawn', 'withdrawn from every spoke');
    await this.#setFinalizers(
      deployment,
      finalizers.filter((finalizer) => finalizer !== WORKLOAD_FINALIZER),
      signal,
    );
    return undefined;
  }

  async #deliver(
    key: string,
    found: WorkloadDeployment,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const { clock } = this.#options;
    const suspended = found.spec.suspend === true;
    const isNew = found.metadata.generation !== found.status?.observedGeneration;
    const deployment =
      isNew && !suspended ? await this.#write(found, begun(found, clock.now()), signal) : found;
    const turn = this.#turn(key, deployment);
    const outcome: Outcome = suspended ? { result: 'stop' } : await runSteps(HUE_STEPS, turn, signal);
    signal.throwIfAborted();
    const error = outcome.error === undefined ? undefined : toReconcileError(outcome.error, 'RegistryFailed');
    if (!suspended) this.#remember(key, turn, outcome, error);
    const status = this.#status(turn, error, suspended);
    if (!jsonEqual(status, deployment.status)) {
      const written = await this.#write(deployment, status, signal);
      reportChanges(this.#options.events, written, found.status, turn.pushed);
    }
    if (error !== undefined) throw error;
    const dueAt = this.#memory.get(key)?.finished?.dueAt;
    return dueAt === undefined ? undefined : { requeueAfterMs: Math.max(1000, dueAt - clock.now()) };
  }

  #turn(key: string, deployment: WorkloadDeployment): Turn {
    const memory = this.#memory.get(key);
    return {
      tools: this.#options.tools,
      key,
      now: this.#options.clock.now(),
      finished: memory?.finished,
      stalled: memory?.stalled,
      deployment,
      gathered: undefined,
      homes: new Map(),
      input: '',
      records: recordsOf(deployment),
      shared: [],
      packed: [],
      pushed: [],
      held: new Set(),
      rendered: false,
    };
  }

  #remember(key: string, turn: Turn, outcome: Outcome, error: ReconcileError | undefined): void {
    const memory = this.#memory.get(key) ?? {};
    this.#memory.set(key, memory);
    if (error === undefined) delete memory.stalled;
    else if (error.kind === 'stalling') memory.stalled = { input: turn.input, error };
    if (error !== undefined || outcome.result !== 'done') return;
    memory.finished = {
      input: turn.input,
      records: turn.records,
      held: turn.held,
      objects: turn.shared[0]?.rendering.objects ?? 0,
      artifacts: turn.packed.length,
      dueAt: turn.now + jitter(this.#options.recheckMs, 0.1, this.#options.random),
    };
  }

  #status(turn: Turn, error: ReconcileError | undefined, suspended: boolean): WorkloadDeploymentStatus {
    const { namespace = '', name = '' } = turn.deployment.metadata;
    const { spokes } = this.#options.tools.caches;
    return summarise({
      deployment: turn.deployment,
      spokes: foldSpokes(turn.records, (spoke) => spokes.get(spoke), { namespace, name }),
      error,
      rendered: turn.rendered || suspended,
      made: this.#memory.get(turn.key)?.finished,
      publication: this.#publication(turn),
      now: this.#options.clock.now(),
    });
  }

  #publication({ key, deployment, records }: Turn): Publication {
    const { roots } = this.#options;
    const recorded = new Set(recordsOf(deployment).map(({ name, digest }) => `${name} ${digest}`));
    const wasPublished = statedConditions(deployment).some(
      ({ type, status }) => type === 'Published' && status === 'True',
    );
    const pending = records.filter(({ name, digest }) => {
      const published = roots.publishedDigest(name, key);
      // After a start nothing is known yet, and what was said before still holds.
      if (published === undefined) return !(wasPublished && recorded.has(`${name} ${digest}`));
      return published !== digest;
    });
    // Also of spokes that have it from elsewhere: they cannot be moved to where they are to have it from.
    const failure = records.map(({ name }) => roots.failureOf(name)).find((text) => text !== undefined);
    return { pending: pending.map(({ name }) => name), failure };
  }

  /** Writes a status if the object still is the one that was read. */
  async #write(
    deployment: WorkloadDeployment,
    status: WorkloadDeploymentStatus,
    signal: AbortSignal,
  ): Promise<WorkloadDeployment> {
    return await this.#options.client.replace<WorkloadDeployment>(
      WORKLOAD_DEPLOYMENTS,
      { ...deployment, status },
      { subresource: 'status', fieldManager: 'hue', signal },
    );
  }
}

function recordsOf(deployment: WorkloadDeployment): SpokeRecord[] {
  return (deployment.status?.spokes ?? []).flatMap(({ name, tag, digest }) =>
    tag === undefined || digest === undefined ? [] : [{ name, tag, digest }],
  );
}

function changesSelection(now: Spoke | undefined, before: Spoke | undefined): boolean {
  if (now === undefined || before === undefined) return true;
  return (
    !jsonEqual(now.metadata.labels, before.metadata.labels) ||
    !jsonEqual(now.spec, before.spec) ||
    now.metadata.deletionTimestamp !== before.metadata.deletionTimestamp ||
    now.metadata.uid !== before.metadata.uid ||
    (now.status?.lastHeartbeatTime === undefined) !== (before.status?.lastHeartbeatTime === undefined)
  );
}

function sameNamespace(deployment: WorkloadDeployment, metadata: { readonly namespace?: string }): boolean {
  return deployment.metadata.namespace === metadata.namespace;
}

function keyOf({ metadata }: WorkloadDeployment): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}

function keyOfReport(report: { readonly namespace: string; readonly name: string }): string {
  return `${report.namespace}/${report.name}`;
}

function refOf(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
