import { RegistryError } from '../errors.ts';

/** Lets a few through at a time and a bounded number wait for their turn. */
export class Gate {
  readonly #limit: number;
  readonly #maxWaiting: number;
  readonly #waiting: ((turn: undefined) => void)[] = [];
  #inside = 0;

  constructor(limit: number, maxWaiting: number) {
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Runs `work` when it is its turn.
   *
   * @throws RegistryError `TooManyRequests` when too many wait already; the reason of `signal` when it
   *   aborts first
   */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#inside < this.#limit) {
      this.#inside += 1;
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new RegistryError('TooManyRequests', 'Too many requests wait for the upstream registry.', {
        headers: { 'retry-after': '5' },
        retryable: true,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const aborted = (): void => {
      const place = this.#waiting.indexOf(resolve);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      reject(signal.reason as Error);
    };
    this.#waiting.push(resolve);
    signal.addEventListener('abort', aborted, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', aborted);
    }
  }

  /** The place is handed on to the one who has waited longest. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#inside -= 1;
    else next(undefined);
  }
}
