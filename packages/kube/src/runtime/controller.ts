import {
  backoff,
  type Clock,
  jsonEqual,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
} from '@mural/core';
import { isKubeError } from '../errors.ts';
import type { KubeObject } from '../objects.ts';
import type { Cache } from './cache.ts';
import { ReconcileError } from './reconcile-error.ts';
import { WorkQueue } from './work-queue.ts';

/** What a reconcile may answer. */
export interface ReconcileResult {
  /** When to come back although nothing changed, in milliseconds. */
  readonly requeueAfterMs?: number | undefined;
}

/** Objects of another kind, whose changes concern objects of the controller's kind. */
export interface ControllerWatch {
  readonly cache: Cache<KubeObject>;
  /** Keys of the primary objects that a change of `object` concerns. */
  keysOf(object: KubeObject): Iterable<string>;
}

/** A {@link ControllerWatch} over a cache of a known type. */
export function watching<T extends KubeObject>(
  cache: Cache<T>,
  keysOf: (object: T) => Iterable<string>,
): ControllerWatch {
  return { cache, keysOf: (object: KubeObject) => keysOf(object as T) };
}

export interface ControllerOptions<T extends KubeObject> {
  readonly name: string;
  /**
   * Objects whose changes are reconciled; without them, what {@link Controller.enqueue} is told is all there is.
   * The caches are started and stopped by whoever made them.
   */
  readonly primary?: Cache<T> | undefined;
  readonly watches?: readonly ControllerWatch[] | undefined;
  /** Which changes of a primary object matter; by default {@link changedBesidesStatus}. */
  readonly changed?: ((now: T | undefined, before: T | undefined) => boolean) | undefined;
  /** Brings one object to what it should be. Called for objects that are gone, too. */
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> | Promise<void>;
  /** Keys worked on at a time; 4 unless given. */
  readonly concurrency?: number | undefined;
  /** Delay after a first failure and its limit; 750 ms and 15 min unless given, as Flux has them. */
  readonly backoff?: { readonly baseMs: number; readonly capMs: number } | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
}

/** A running control loop. */
export interface Controller {
  start(): void;
  /** Aborts what runs, and resolves when it has ended. */
  stop(): Promise<void>;
  /** Asks for a reconcile now. */
  enqueue(key: string): void;
}

const BACKOFF = { baseMs: 750, capMs: 15 * 60_000 };
const STOP_GRACE_MS = 10_000;

/**
 * A control loop: changes of the caches become keys in a queue, workers reconcile them. A failure,
 * whatever is thrown, is logged and comes again with jittered back-off; it never ends the loop.
 */
export function createController<T extends KubeObject = KubeObject>(
  options: ControllerOptions<T>,
): Controller {
  return new ControlLoop<T>(options);
}

class ControlLoop<T extends KubeObject> implements Controller {
  readonly #options: ControllerOptions<T>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #queue: WorkQueue;
  readonly #failures = new Map<string, number>();
  readonly #stop = new AbortController();
  #unsubscribe: (() => void)[] = [];
  #workers: Promise<void> | undefined;

  constructor(options: ControllerOptions<T>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = (options.log ?? silentLogger).child({ controller: options.name });
    this.#queue = new WorkQueue(this.#clock);
  }

  start(): void {
    this.#workers ??= this.#run();
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#unsubscribe = [];
    this.#stop.abort(new Error('the controller is stopped'));
    this.#queue.close();
    if (this.#workers === undefined) return;
    const grace = new AbortController();
    const late = this.#clock.sleep(STOP_GRACE_MS, grace.signal).then(
      () => this.#log.warn('a reconcile did not end when it was told to'),
      () => undefined,
    );
    await Promise.race([this.#workers, late]);
    grace.abort();
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  async #run(): Promise<void> {
    const { primary, watches = [], concurrency = 4 } = this.#options;
    const changed = this.#options.changed ?? changedBesidesStatus;
    await Promise.all([primary?.synced(), ...watches.map(async ({ cache }) => cache.synced())]);
    if (this.#stop.signal.aborted) return;
    const own = primary?.onChange((key, now, before) => {
      if (changed(now, before)) this.#queue.add(key);
    });
    this.#unsubscribe = [...(own === undefined ? [] : [own]), ...watches.map((watch) => this.#follow(watch))];
    await Promise.all(Array.from({ length: concurrency }, async () => this.#work()));
  }

  #follow(watch: ControllerWatch): () => void {
    return watch.cache.onChange((_key, now, before) => {
      const keys = new Set<string>();
      if (before !== undefined) for (const key of watch.keysOf(before)) keys.add(key);
      if (now !== undefined) for (const key of watch.keysOf(now)) keys.add(key);
      for (const key of keys) this.#queue.add(key);
    });
  }

  async #work(): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      await this.#reconcile(key);
      this.#queue.done(key);
    }
  }

  async #reconcile(key: string): Promise<void> {
    this.#queue.cancel(key);
    try {
      const result = await this.#options.reconcile(key, this.#stop.signal);
      this.#failures.delete(key);
      if (result?.requeueAfterMs !== undefined) this.#queue.addAfter(key, result.requeueAfterMs);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#fail(key, error);
    }
  }

  #fail(key: string, error: unknown): void {
    const reconcileError = error instanceof ReconcileError ? error : undefined;
    if (reconcileError?.kind === 'stalling') {
      this.#failures.delete(key);
      this.#log.warn({ key, err: error }, 'reconciliation stalled');
      return;
    }
    if (reconcileError?.kind === 'waiting' && reconcileError.requeueAfterMs !== undefined) {
      this.#failures.delete(key);
      this.#log.info({ key, reason: reconcileError.code, err: error }, 'reconciliation waits');
      this.#queue.addAfter(key, reconcileError.requeueAfterMs);
      return;
    }
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const { baseMs, capMs } = this.#options.backoff ?? BACKOFF;
    const wait = backoff(failures, baseMs, capMs, this.#options.random ?? Math.random);
    const facts = { key, err: error, failures, retryInMs: Math.round(wait) };
    // Somebody else wrote first: the next try, on the newer object, is how that is meant to end.
    if (isKubeError(error, 'Conflict') && failures === 1)
      this.#log.debug(facts, 'reconciliation met a conflict');
    else this.#log.warn(facts, 'reconciliation failed');
    this.#queue.addAfter(key, Math.max(wait, reconcileError?.requeueAfterMs ?? 0));
  }
}

/**
 * Whether more than the status changed: a controller's own status writes must not wake it, least
 * of all past the back-off of a failure. Kinds without `metadata.generation` count any change.
 */
export function changedBesidesStatus(now: KubeObject | undefined, before: KubeObject | undefined): boolean {
  if (now === undefined || before === undefined) return true;
  const a = now.metadata;
  const b = before.metadata;
  if (a.generation === undefined || b.generation === undefined || a.uid !== b.uid) return true;
  return (
    a.generation !== b.generation ||
    a.deletionTimestamp !== b.deletionTimestamp ||
    !jsonEqual(a.labels, b.labels) ||
    !jsonEqual(a.annotations, b.annotations) ||
    !jsonEqual(a.finalizers, b.finalizers) ||
    !jsonEqual(a.ownerReferences, b.ownerReferences)
  );
}
