import type { Clock } from '@mural/core';

/**
 * A token bucket that holds one token: calls are let through in the order in which they came, evenly
 * spaced, so that no second ever sees more than the rate and one.
 */
export class RateLimit {
  readonly #spacingMs: number;
  readonly #clock: Clock;
  #nextAt = Number.NEGATIVE_INFINITY;

  /** @param perSecond calls in a second; `undefined` for as many as come */
  constructor(perSecond: number | undefined, clock: Clock) {
    this.#spacingMs = perSecond === undefined ? 0 : 1000 / perSecond;
    this.#clock = clock;
  }

  /** Resolves when it is the caller's turn; rejects with the signal's reason when it aborts first. */
  async take(signal?: AbortSignal): Promise<void> {
    if (this.#spacingMs === 0) return;
    const now = this.#clock.now();
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + this.#spacingMs;
    if (at > now) await this.#clock.sleep(at - now, signal);
  }
}
