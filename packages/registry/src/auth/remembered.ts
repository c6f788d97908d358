import { hash, randomBytes } from 'node:crypto';
import type { Clock } from '@mural/core';
import { type Caller, UnauthorizedError } from './caller.ts';

/** What became of a credential. */
export interface Verdict {
  /** Undefined for a refusal. */
  readonly caller: Caller | undefined;
  /** Milliseconds since the epoch until which it holds. */
  readonly until: number;
  /** Whether what it rests on is still as it was. */
  isCurrent(): boolean;
}

const MAX_REMEMBERED = 20_000;

/**
 * Credentials that were verified a short while ago, by a keyed hash of them: the cost of a password
 * hash or a signature falls on the first request and not on each.
 */
export class Remembered {
  readonly #clock: Clock;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #key = randomBytes(32).toString('base64');

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * What a credential is kept under: its hash behind a random key, which never leaves the process. (A MAC
   * object costs twenty times as much, on every request.)
   */
  idOf(credential: string): string {
    return hash('sha256', this.#key + credential, 'base64');
  }

  /**
   * Who the credential stands for; undefined when that is not known, or no longer.
   *
   * @throws UnauthorizedError for one that was refused
   */
  find(id: string): Caller | undefined {
    const verdict = this.#verdicts.get(id);
    if (verdict === undefined) return undefined;
    if (verdict.until <= this.#clock.now() || !verdict.isCurrent()) {
      this.#verdicts.delete(id);
      return undefined;
    }
    if (verdict.caller === undefined) throw new UnauthorizedError('invalid_token');
    return verdict.caller;
  }

  keep(id: string, verdict: Verdict): void {
    this.#verdicts.delete(id);
    this.#verdicts.set(id, verdict);
    if (this.#verdicts.size <= MAX_REMEMBERED) return;
    const oldest = this.#verdicts.keys().next();
    if (oldest.done !== true) this.#verdicts.delete(oldest.value);
  }
}
