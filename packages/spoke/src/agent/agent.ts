import { backoff, type Clock, jitter, jsonEqual, type Logger, type Random, rfc3339 } from '@mural/core';
import {
  type Cache,
  changedBesidesStatus,
  type Condition,
  createCache,
  type KubeClient,
  type Kustomization,
  type OCIRepository,
  PUBLISHED_ROOT_ANNOTATION,
  removeCondition,
  setCondition,
  type Spoke,
  SPOKES,
  type SpokeStatus,
} from '@mural/kube';
import { LatestObjects } from '../latest.ts';
import { Nudges } from './nudges.ts';
import { fetchFailureOf, reportOf } from './report.ts';

/** What {@link startAgent} needs. */
export interface AgentOptions {
  /** The spoke's own API. */
  readonly client: KubeClient;
  readonly hub: KubeClient;
  /** The spoke's name in the hub. */
  readonly name: string;
  readonly sources: Cache<OCIRepository>;
  readonly kustomizations: Cache<Kustomization>;
  readonly version: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The connection of a spoke to its hub. */
export interface SpokeAgent {
  stop(): Promise<void>;
}

const FIELD_MANAGER = 'spoke-agent';
const HEARTBEAT_MS = 30_000;
const HEARTBEAT_JITTER = 0.1;
const DEBOUNCE_MS = 100;
const FIRST_LOOK_MS = 2000;
const RETRY = { baseMs: 1000, capMs: 30_000 };

/** Starts reporting to the hub, and listening for its nudges. Neither is needed for delivery. */
export function startAgent(options: AgentOptions): SpokeAgent {
  const agent = new Agent(options);
  agent.start();
  return agent;
}

class Agent implements SpokeAgent {
  readonly #options: AgentOptions;
  readonly #spokes: Cache<Spoke>;
  readonly #stop = new AbortController();
  readonly #subscriptions: (() => void)[] = [];
  #running: Promise<unknown> | undefined;
  #changed = Promise.withResolvers<undefined>();
  readonly #nudges: Nudges;
  /** What the hub has: its cache, or our own last write while the cache lags behind. */
  readonly #told: LatestObjects<Spoke>;
  #reported: SpokeStatus | undefined;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { hub, name, clock, random, log } = options;
    this.#spokes = createCache<Spoke>({
      client: hub,
      resource: SPOKES,
      fieldSelector: `metadata.name=${name}`,
      clock,
      random,
      log,
    });
    this.#told = new LatestObjects(this.#spokes);
    this.#nudges = new Nudges({ ...options, fieldManager: FIELD_MANAGER, signal: this.#stop.signal });
  }

  start(): void {
    const { kustomizations, sources } = this.#options;
    const changed = (): void => this.#changed.resolve(undefined);
    this.#subscriptions.push(
      kustomizations.onChange(changed),
      sources.onChange(() => {
        this.#nudge();
        changed();
      }),
      this.#spokes.onChange((_name, now, before) => {
        this.#nudge();
        // Another one's write, such as the hub's about missed heartbeats, is answered; our own is not.
        const foreign = !jsonEqual(now?.status?.conditions, this.#reported?.conditions);
        if (foreign || changedBesidesStatus(now, before)) changed();
      }),
    );
    this.#spokes.start();
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#stop.abort(new Error('the agent is stopped'));
    await Promise.all([this.#running, this.#spokes.stop(), this.#nudges.stopped()]);
  }

  /** Reports at every change, debounced, and at every heartbeat; after a failure with back-off. */
  async #run(): Promise<void> {
    const { clock, random, log, kustomizations } = this.#options;
    const { signal } = this.#stop;
    await Promise.race([kustomizations.synced(), aborted(signal)]);
    // What the hub has already need not be told again; a hub that is away is not waited for.
    await Promise.race([this.#spokes.synced(), pause(clock, FIRST_LOOK_MS, signal)]);
    let failures = 0;
    while (!signal.aborted) {
      this.#changed = Promise.withResolvers<undefined>();
      try {
        await this.#report(signal);
        failures = 0;
      } catch (error) {
        if (this.#stopped()) return;
        failures += 1;
        log[failures === 1 ? 'warn' : 'debug'](
          { err: error },
          'the hub did not take the report; it will be told later',
        );
      }
      if (failures > 0) await pause(clock, backoff(failures, RETRY.baseMs, RETRY.capMs, random), signal);
      else await this.#nextReport(signal);
    }
  }

  #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #nextReport(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const woken = new AbortController();
    const heartbeat = pause(
      clock,
      jitter(HEARTBEAT_MS, HEARTBEAT_JITTER, random),
      AbortSignal.any([woken.signal, signal]),
    );
    const changed = this.#changed.promise.then(() => pause(clock, DEBOUNCE_MS, signal));
    await Promise.race([heartbeat, changed]);
    woken.abort();
  }

  async #report(signal: AbortSignal): Promise<void> {
    const { hub, name, kustomizations, sources, clock, version } = this.#options;
    const told = this.#told.get(name)?.status;
    const fetched = sources.list();
    const { workloads, ...delivery } = reportOf(kustomizations.list(), fetched);
    const now = clock.now();
    const unready = workloads.filter(({ ready }) => ready !== 'True').length;
    const status: SpokeStatus = {
      conditions: setCondition(
        this.#fetching(told?.conditions, fetched, now),
        this.#readiness(unready, workloads.length),
        now,
      ),
      workloads: [...workloads],
      ...(version === undefined ? {} : { agentVersion: version }),
      ...delivery,
    };
    const change = differing(status, told ?? {});
    const early = now - this.#reportedAt < HEARTBEAT_MS / 2;
    if (early && Object.keys(change).length === 0) return;
    this.#reported = status;
    const stored = await hub.patch<Spoke>(
      SPOKES,
      { name },
      'merge',
      { status: { ...change, lastHeartbeatTime: rfc3339(now) } },
      { fieldManager: FIELD_MANAGER, subresource: 'status', signal },
    );
    this.#told.wrote(stored);
    this.#reportedAt = now;
  }

  #readiness(unready: number, all: number): Parameters<typeof setCondition>[1] {
    const generation = this.#spokes.get(this.#options.name)?.metadata.generation;
    const message =
      unready === 0 ? `${all} of ${all} workloads ready` : `${unready} of ${all} workloads not ready`;
    return {
      type: 'Ready',
      status: unready === 0 ? 'True' : 'False',
      reason: unready === 0 ? 'WorkloadsReady' : 'WorkloadsNotReady',
      message,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  }

  /** `FetchFailed` while a source of the delivery fails, as the source itself has it. */
  #fetching(
    conditions: readonly Condition[] | undefined,
    sources: readonly OCIRepository[],
    now: number,
  ): Condition[] {
    const failure = fetchFailureOf(sources);
    if (failure === undefined) return removeCondition(conditions, 'FetchFailed');
    return setCondition(conditions, { type: 'FetchFailed', status: 'True', ...failure }, now);
  }

  /** When the hub has published something else than what is stored here, the source is asked to look at once. */
  #nudge(): void {
    const spoke = this.#spokes.get(this.#options.name);
    this.#nudges.compare(spoke?.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION]);
  }
}

/** The fields that the hub does not have so, `null` for what is gone; a merge patch leaves the others. */
function differing(status: SpokeStatus, before: SpokeStatus): Record<string, unknown> {
  const old = before as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(status)
      .filter(([key, value]) => !jsonEqual(value, old[key]))
      .map(([key, value]) => [key, (value as unknown) ?? null]),
  );
}

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => undefined);
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
