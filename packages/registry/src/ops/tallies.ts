import type { Socket } from 'node:net';

/** What a request is counted under: what its path names, never which repository. */
export const ROUTE_KINDS = [
  'base',
  'catalog',
  'tags',
  'manifest',
  'blob',
  'uploads',
  'upload',
  'referrers',
  'token',
  'administration',
  'health',
  'metrics',
  'unknown',
] as const;

/** One of {@link ROUTE_KINDS}. */
export type RouteKind = (typeof ROUTE_KINDS)[number];

/** Methods that are told apart; every other is `other`, since clients can make names up. */
export const METHODS = ['HEAD', 'GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'other'] as const;

/** Classes of status codes; `499` is a client that was gone before its answer. */
export const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', '499'] as const;

/** Upper bounds of the buckets of durations, in seconds; the last has none. */
export const DURATION_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60,
] as const;

/** Nginx's number for a client that went away before its answer. */
export const CLIENT_GONE = 499;

const ROUTE_INDEX: Readonly<Record<RouteKind, number>> = Object.fromEntries(
  ROUTE_KINDS.map((kind, index) => [kind, index]),
) as Record<RouteKind, number>;
const METHOD_INDEX = new Map<string, number>(METHODS.map((method, index) => [method, index]));
const OTHER = METHODS.length - 1;
const GONE = STATUS_CLASSES.length - 1;
const SLOTS = DURATION_BUCKETS.length + 1;

interface Counted {
  read: number;
  written: number;
}

/** How long requests of one kind took. */
export interface Durations {
  readonly route: RouteKind;
  readonly method: string;
  /** Of each bucket alone, the last one without a bound. */
  readonly buckets: readonly number[];
  readonly sumSeconds: number;
  readonly count: number;
}

/**
 * Counts requests. It is in the way of every one of them, so it writes to flat arrays and makes no
 * object; what they mean is put together when somebody asks.
 */
export class Tallies {
  readonly #requests = new Float64Array(ROUTE_KINDS.length * METHODS.length * STATUS_CLASSES.length);
  readonly #buckets = new Float64Array(ROUTE_KINDS.length * METHODS.length * SLOTS);
  readonly #seconds = new Float64Array(ROUTE_KINDS.length * METHODS.length);
  /** Bytes that came and went over the connections of requests, heads included. */
  received = 0;
  sent = 0;
  inFlight = 0;
  readonly #seen = new WeakMap<Socket, Counted>();

  /** Counts a request that has ended. */
  ended(route: RouteKind, method: string, status: number, durationMs: number): void {
    const kind = ROUTE_INDEX[route] * METHODS.length + (METHOD_INDEX.get(method) ?? OTHER);
    const outcome = status === CLIENT_GONE ? GONE : Math.min(Math.max(Math.floor(status / 100), 1), 5) - 1;
    const at = kind * STATUS_CLASSES.length + outcome;
    this.#requests[at] = (this.#requests[at] ?? 0) + 1;
    const seconds = durationMs / 1000;
    let slot = 0;
    for (const bound of DURATION_BUCKETS) {
      if (seconds <= bound) break;
      slot += 1;
    }
    const bucket = kind * SLOTS + slot;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#seconds[kind] = (this.#seconds[kind] ?? 0) + seconds;
  }

  /**
   * Counts what came and went over a connection since it was last asked for.
   *
   * @returns those bytes, which are those of one request where a client sends one after the other
   */
  transferred(socket: Socket): { readonly received: number; readonly sent: number } {
    let seen = this.#seen.get(socket);
    if (seen === undefined) {
      seen = { read: 0, written: 0 };
      this.#seen.set(socket, seen);
    }
    const { bytesRead, bytesWritten } = socket;
    const received = Math.max(0, bytesRead - seen.read);
    const sent = Math.max(0, bytesWritten - seen.written);
    seen.read = bytesRead;
    seen.written = bytesWritten;
    this.received += received;
    this.sent += sent;
    return { received, sent };
  }

  /** How many requests there were of each kind, for the kinds that there were. */
  *requests(): Iterable<{ route: RouteKind; method: string; code: string; count: number }> {
    let at = 0;
    for (const route of ROUTE_KINDS) {
      for (const method of METHODS) {
        for (const code of STATUS_CLASSES) {
          const count = this.#requests[at] ?? 0;
          at += 1;
          if (count > 0) yield { route, method, code, count };
        }
      }
    }
  }

  /** How long they took, for the kinds that there were. */
  *durations(): Iterable<Durations> {
    let kind = 0;
    for (const route of ROUTE_KINDS) {
      for (const method of METHODS) {
        const buckets = Array.from(this.#buckets.subarray(kind * SLOTS, (kind + 1) * SLOTS));
        const count = buckets.reduce((sum, one) => sum + one, 0);
        const sumSeconds = this.#seconds[kind] ?? 0;
        kind += 1;
        if (count > 0) yield { route, method, buckets, sumSeconds, count };
      }
    }
  }
}
