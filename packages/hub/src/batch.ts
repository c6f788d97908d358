import type { Clock } from '@mural/core';

/** Collects keys for a moment and hands them on together, so that a storm of changes is one change. */
export class Batch {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #flush: (keys: ReadonlySet<string>) => void;
  readonly #stop = new AbortController();
  #keys = new Set<string>();

  /** @param delayMs how long keys are collected after the first, in milliseconds */
  constructor(clock: Clock, delayMs: number, flush: (keys: ReadonlySet<string>) => void) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#flush = flush;
  }

  add(keys: Iterable<string>): void {
    if (this.#stop.signal.aborted) return;
    const waiting = this.#keys.size > 0;
    for (const key of keys) this.#keys.add(key);
    if (waiting || this.#keys.size === 0) return;
    this.#clock.sleep(this.#delayMs, this.#stop.signal).then(
      () => {
        const collected = this.#keys;
        this.#keys = new Set();
        this.#flush(collected);
      },
      () => undefined,
    );
  }

  stop(): void {
    this.#stop.abort(new Error('the batch is stopped'));
  }
}
