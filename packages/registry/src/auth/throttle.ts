import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { Clock } from '@mural/core';

/** From which failure on, and how far, sign-ins are slowed down. */
interface Limit {
  /** Failures that cost no time. */
  readonly free: number;
  /** The delay after the first failure beyond those, in milliseconds; it doubles with each further one. */
  readonly baseMs: number;
  readonly capMs: number;
}

interface Failures {
  count: number;
  blockedUntil: number;
  forgetAt: number;
}

/** Of one account from one address. */
const PAIR: Limit = { free: 5, baseMs: 1000, capMs: 60_000 };
/** Of one address, whatever the account. */
const SOURCE: Limit = { free: 30, baseMs: 1000, capMs: 30_000 };
/** Of one account from all addresses: low, since whoever guesses could otherwise lock the owner out. */
const ACCOUNT: Limit = { free: 30, baseMs: 500, capMs: 4000 };
const FORGET_MS = 15 * 60_000;
const KNOWN_MS = 24 * 3_600_000;
/** Entries of each kind that are kept; the ones that failed longest ago go first. */
const MAX_ENTRIES = 10_000;
const MAX_NAME = 64;

/**
 * Slows failed sign-ins down, in bounded memory.
 *
 * Failures count against the pair of account and address, against the address, and against the
 * account. A pair that signed in within the last day answers for its own failures only, so that
 * neither a flood from a shared address nor guesses from elsewhere keep a right password out.
 */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #pairs = new Map<string, Failures>();
  readonly #sources = new Map<string, Failures>();
  readonly #accounts = new Map<string, Failures>();
  readonly #pending = new Map<string, number>();
  readonly #known = new Map<string, number>();
  readonly #tried = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Entries that are kept, of all kinds. */
  get size(): number {
    return this.#pairs.size + this.#sources.size + this.#accounts.size + this.#known.size + this.#tried.size;
  }

  /** Milliseconds until a sign-in of this account from this address is looked at; 0 for now. */
  wait(account: string, source: string): number {
    const now = this.#clock.now();
    const pair = pairKey(account, source);
    const own = this.#left(this.#pairs, pair, now);
    // What is being verified counts as failed until it is known: guesses at the same time are guesses.
    const pending = this.#pending.get(pair) ?? 0;
    const failed = this.#live(this.#pairs, pair, now)?.count ?? 0;
    const crowded = pending > 0 && pending + failed > PAIR.free ? PAIR.baseMs : 0;
    if (this.knows(account, source)) return Math.max(own, crowded);
    return Math.max(
      own,
      crowded,
      this.#left(this.#sources, source, now),
      this.#left(this.#accounts, nameKey(account), now),
    );
  }

  /** Whether this account signed in from this address within the last day. */
  knows(account: string, source: string): boolean {
    return (this.#known.get(pairKey(account, source)) ?? 0) > this.#clock.now();
  }

  /** Says that a sign-in is being verified; {@link ended} says what came of it. */
  began(account: string, source: string): void {
    const pair = pairKey(account, source);
    this.#pending.set(pair, (this.#pending.get(pair) ?? 0) + 1);
  }

  /**
   * @param outcome `undefined` for a sign-in that could not be verified
   * @param credential what stands for name and password: the same again is no further guess, so that
   *   a client that goes on with an old password does not keep others at its address waiting
   */
  ended(account: string, source: string, outcome: boolean | undefined, credential: string): void {
    const pair = pairKey(account, source);
    const pending = (this.#pending.get(pair) ?? 1) - 1;
    if (pending > 0) this.#pending.set(pair, pending);
    else this.#pending.delete(pair);
    if (outcome === true) {
      this.#pairs.delete(pair);
      keep(this.#known, pair, this.#clock.now() + KNOWN_MS);
    } else if (outcome === false && !this.#wasTried(`${source} ${credential}`)) {
      this.#fail(this.#pairs, pair, PAIR);
      this.#fail(this.#sources, source, SOURCE);
      this.#fail(this.#accounts, nameKey(account), ACCOUNT);
    }
  }

  #wasTried(attempt: string): boolean {
    const now = this.#clock.now();
    const before = (this.#tried.get(attempt) ?? 0) > now;
    keep(this.#tried, attempt, now + FORGET_MS);
    return before;
  }

  #fail(entries: Map<string, Failures>, key: string, limit: Limit): void {
    const now = this.#clock.now();
    const count = (this.#live(entries, key, now)?.count ?? 0) + 1;
    const beyond = count - limit.free;
    const delay = beyond < 0 ? 0 : Math.min(limit.capMs, limit.baseMs * 2 ** Math.min(beyond, 20));
    keep(entries, key, { count, blockedUntil: now + delay, forgetAt: now + FORGET_MS });
  }

  #live(entries: Map<string, Failures>, key: string, now: number): Failures | undefined {
    const found = entries.get(key);
    if (found === undefined || found.forgetAt > now) return found;
    entries.delete(key);
    return undefined;
  }

  #left(entries: Map<string, Failures>, key: string, now: number): number {
    return Math.max(0, (this.#live(entries, key, now)?.blockedUntil ?? 0) - now);
  }
}

/** The part of an address that one caller is taken to hold: all of IPv4, the first 64 bits of IPv6. */
export function sourceOf(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const plain = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!isIPv6(plain)) return plain;
  const [head = '', tail = ''] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === '' ? [] : tail.split(':');
  const zeros = plain.includes('::') ? new Array<string>(Math.max(0, 8 - before.length - after.length)) : [];
  const groups = [...before, ...zeros.fill('0'), ...after];
  return `${groups.slice(0, 4).join(':')}::/64`;
}

function keep<T>(entries: Map<string, T>, key: string, value: T): void {
  entries.delete(key);
  entries.set(key, value);
  if (entries.size <= MAX_ENTRIES) return;
  const oldest = entries.keys().next();
  if (oldest.done !== true) entries.delete(oldest.value);
}

function pairKey(account: string, source: string): string {
  return `${source} ${nameKey(account)}`;
}

/** Names are made up by whoever signs in: a long one is kept as its hash. */
function nameKey(account: string): string {
  return account.length <= MAX_NAME ? account : createHash('sha256').update(account).digest('base64');
}
