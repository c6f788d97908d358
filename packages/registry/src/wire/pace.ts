import { RegistryError } from '../errors.ts';

/** How long a body may be waited for before its rate counts. */
const GRACE_MS = 60_000;
/** What the slowest of honest links does, in bytes a second of waiting. */
const LEAST_RATE = 1024;
/** A clock that is set forward meanwhile does not make a client slow: silence ends a connection anyway. */
const LONGEST_WAIT_MS = 120_000;

/**
 * Watches that a body comes at 1 KiB a second or more: time that the registry spends on what has come
 * does not count. A client that sends a byte now and then would hold its connection for ever.
 */
export class Pace {
  readonly #now: () => number;
  #bytes = 0;
  #waited = 0;
  #since = 0;

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The registry waits for bytes from here on. */
  waiting(): void {
    this.#since = this.#now();
  }

  /**
   * What it waited for has come.
   *
   * @throws RegistryError `RequestTooSlow`
   */
  received(bytes: number): void {
    const now = this.#now();
    this.#waited += Math.min(now - this.#since, LONGEST_WAIT_MS);
    this.#since = now;
    this.#bytes += bytes;
    if (this.#waited > GRACE_MS && this.#bytes < (this.#waited / 1000) * LEAST_RATE) {
      throw new RegistryError('RequestTooSlow', 'The body comes too slowly.');
    }
  }
}
