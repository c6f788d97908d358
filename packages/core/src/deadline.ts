import type { Clock } from './clock.ts';

/** What a {@link Deadline} needs. */
export interface DeadlineOptions {
  readonly clock: Clock;
  /** Milliseconds until it expires. */
  readonly ms: number;
  /** Ends the deadline's signal too, with its own reason. */
  readonly signal?: AbortSignal | undefined;
  /** The reason of the signal when the time is up. */
  readonly expired: () => Error;
}

/** A signal that aborts with the caller's or when the time is up. Must be ended. */
export class Deadline {
  readonly #options: DeadlineOptions;
  readonly #controller = new AbortController();
  readonly #forward: () => void;
  #cancel: () => void = () => undefined;

  constructor(options: DeadlineOptions) {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#options = options;
    this.#forward = () => this.#controller.abort(signal?.reason);
    signal?.addEventListener('abort', this.#forward, { once: true });
    this.restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives the full time again: for streams, whose deadline is from one piece to the next. */
  restart(): void {
    const { clock, ms, expired } = this.#options;
    this.#cancel();
    this.#cancel = clock.timer(ms, () => this.#controller.abort(expired()));
  }

  /** Aborts now. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** Stops the clock and lets go of the caller's signal. */
  end(): void {
    this.#cancel();
    this.#options.signal?.removeEventListener('abort', this.#forward);
  }
}

/**
 * Runs `work` for as long as the deadline lasts. Its signal aborts then, and whether or not the work
 * listens, the caller goes on.
 *
 * @throws the reason of the deadline's signal when that aborts first
 */
export async function withDeadline<T>(
  options: DeadlineOptions,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new Deadline(options);
  const { signal } = deadline;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(signal), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    deadline.end();
  }
}
