import { type Clock, type Random, systemClock } from './clock.ts';

/** How often and how patiently something is tried again. */
export interface RetryOptions {
  /** Tries in all, the first one included. */
  readonly attempts: number;
  /** The ceiling of the first delay, in milliseconds; it doubles with each further try. */
  readonly baseMs: number;
  /** The ceiling of any delay, in milliseconds. */
  readonly capMs: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly signal?: AbortSignal;
  /** Whether this error is worth another try. A number is the delay the peer asked for, in milliseconds. */
  readonly shouldRetry: (error: unknown) => boolean | number;
}

/**
 * The delay before try number `attempt` (1 is the first repetition): "full jitter", anywhere
 * between half the exponential ceiling and the ceiling, so that clients that failed together do
 * not come back together.
 */
export function backoff(attempt: number, baseMs: number, capMs: number, random: Random): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return ceiling * (0.5 + random() / 2);
}

/** Runs `action` until it succeeds, fails for good or the tries are used up; throws the last error. */
export async function retry<T>(action: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? Math.random;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await action(attempt);
    } catch (error) {
      const verdict = attempt < options.attempts && options.shouldRetry(error);
      if (verdict === false) throw error;
      const wait = backoff(attempt, options.baseMs, options.capMs, random);
      const asked = typeof verdict === 'number' ? Math.min(verdict, options.capMs) : 0;
      await clock.sleep(Math.max(wait, asked), options.signal);
    }
  }
}
