import { backoff, type Clock, jitter, type Logger, type Random, withDeadline } from '@mural/core';
import type { Credential } from '../credentials.ts';
import { OciError } from '../errors.ts';

/** A credential that was just fetched. */
export interface FetchedToken {
  readonly credential: Credential;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** What a {@link TokenCache} needs. */
export interface TokenCacheOptions {
  /** For messages: "the ECR token of …". */
  readonly what: string;
  /** Gets a new token. Runs under a deadline, and never twice at once. */
  readonly fetch: (signal: AbortSignal) => Promise<FetchedToken>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Total time of one fetch, in milliseconds; 30 s unless given. */
  readonly timeoutMs?: number | undefined;
}

interface Held extends FetchedToken {
  readonly refreshAt: number;
  readonly life: number;
}

const TIMEOUT_MS = 30_000;
const RETRY_BASE_MS = 1000;
const RETRY_CAP_MS = 60_000;
/** How long a refused token that was fetched because of a refusal is kept at first. */
const REFUSED_MS = 60_000;

/**
 * Keeps one short-lived credential fresh. It is fetched anew at about half of its life, ahead of need and
 * by one caller for all; while that fails the one at hand is given out until it really expires. A failure
 * is remembered for a moment, so that a thousand callers do not ask a thousand times.
 */
export class TokenCache {
  readonly #options: TokenCacheOptions;
  #held: Held | undefined;
  #running: Promise<Held> | undefined;
  #failure: { readonly error: unknown; readonly until: number } | undefined;
  #failures = 0;
  /** When a refusal may cause the next fetch, and how long the one after that will have to wait. */
  #forcedAfter = 0;
  #forcedWait = REFUSED_MS;
  /** Whether the token at hand was refused: then another is unlikely to fare better. */
  #refused = false;

  constructor(options: TokenCacheOptions) {
    this.#options = options;
  }

  /**
   * @param rejected what the registry has just refused: not given again, unless it is so young that
   *   another would fare no better
   * @throws what the fetch throws when there is nothing valid at hand
   */
  async get(rejected?: Credential): Promise<Credential> {
    const now = this.#options.clock.now();
    const held = this.#held;
    if (held === undefined || now >= held.expiresAt) return (await this.#fetch()).credential;
    if (rejected !== undefined && same(rejected, held.credential)) {
      this.#refused = true;
      if (this.#running !== undefined) return (await this.#running).credential;
      if (now < this.#forcedAfter) return held.credential;
      return (await this.#force(now, held.life)).credential;
    }
    if (now >= held.refreshAt) this.#refreshBehind();
    return held.credential;
  }

  async #force(now: number, life: number): Promise<Held> {
    this.#forcedAfter = now + Math.min(this.#forcedWait, life / 2);
    this.#forcedWait *= 2;
    return await this.#fetch();
  }

  #refreshBehind(): void {
    if (this.#running !== undefined || this.#recentFailure() !== undefined) return;
    // The failure is kept and logged there; the credential at hand is still good.
    this.#fetch().catch(() => undefined);
  }

  async #fetch(): Promise<Held> {
    if (this.#running !== undefined) return await this.#running;
    const failure = this.#recentFailure();
    if (failure !== undefined) throw failure.error;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
    return await this.#running;
  }

  async #run(): Promise<Held> {
    const { clock, random, log, what, fetch } = this.#options;
    const ms = this.#options.timeoutMs ?? TIMEOUT_MS;
    const expired = (): OciError =>
      new OciError('TimedOut', `getting ${what} took longer than ${ms} ms`, { retryable: true });
    try {
      const token = await withDeadline({ clock, ms, expired }, fetch);
      const now = clock.now();
      const life = token.expiresAt - now;
      if (!(life > 0)) {
        throw new OciError('AuthenticationFailed', `${what} had expired when it came`, {
          retryable: true,
          hint: 'Check the clock of this machine.',
        });
      }
      const held = { ...token, life, refreshAt: now + jitter(life / 2, 0.1, random) };
      if (!this.#refused) this.#forcedWait = REFUSED_MS;
      this.#refused = false;
      this.#held = held;
      this.#failure = undefined;
      this.#failures = 0;
      return held;
    } catch (error) {
      this.#failures += 1;
      const wait = backoff(this.#failures, RETRY_BASE_MS, RETRY_CAP_MS, random);
      this.#failure = { error, until: clock.now() + wait };
      log.warn({ err: error, what, retryInMs: Math.round(wait) }, 'a credential could not be fetched');
      throw error;
    }
  }

  #recentFailure(): { readonly error: unknown } | undefined {
    const failure = this.#failure;
    return failure !== undefined && this.#options.clock.now() < failure.until ? failure : undefined;
  }
}

function same(one: Credential, other: Credential): boolean {
  return one.username === other.username && one.password === other.password;
}
