import type { Clock, Logger } from '@mural/core';
import { backoff, errorMessage, type Random } from '@mural/core';

/** What a background worker needs. */
export interface WorkerOptions {
  readonly name: string;
  readonly work: (key: string) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Works off keys one after the other, each once however often it was added meanwhile. What fails
 * is tried again with growing delays, until it succeeds or the worker stops.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #queue = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #stop = new AbortController();
  #busy = false;
  #running: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  add(key: string): void {
    if (this.#stop.signal.aborted) return;
    this.#queue.add(key);
    if (this.#busy) return;
    this.#busy = true;
    this.#running = this.#run();
  }

  /** Lets the present piece of work end and takes no more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#queue.clear();
    await this.#running;
  }

  async #run(): Promise<void> {
    // Work begins in a turn of its own, so that whoever adds keys is done first.
    await Promise.resolve();
    for (;;) {
      const next = this.#queue.values().next();
      if (next.done === true) {
        this.#busy = false;
        return;
      }
      this.#queue.delete(next.value);
      await this.#attempt(next.value);
    }
  }

  async #attempt(key: string): Promise<void> {
    const { name, work, log } = this.#options;
    try {
      await work(key);
      this.#failures.delete(key);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      log.warn(
        { worker: name, key, error: errorMessage(error) },
        'background work failed and will be tried again',
      );
      this.#retry(key);
    }
  }

  #retry(key: string): void {
    const { clock, random } = this.#options;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    void clock.sleep(backoff(failures, 200, 30_000, random), this.#stop.signal).then(
      () => this.add(key),
      () => undefined,
    );
  }
}
