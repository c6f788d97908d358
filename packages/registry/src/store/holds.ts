import type { Clock } from '@mural/core';
import type { Digest } from '../names.ts';
import type { Database } from './database.ts';
import { Leases } from './leases.ts';

/** Uses that are remembered before old ones are looked for, whatever the collector does. */
const MAX_UNPRUNED = 500_000;

/**
 * What the collector must leave alone although nothing in the registry names it.
 *
 * - A *use*: a client was told of the content (HEAD, GET, upload, mount), and may build on that for
 *   `useMs` after. Kept in memory; after a start everything counts as used, because nobody knows what
 *   clients were told before.
 * - *Work in progress* in a repository, an upload session or a body that is being sent: while it
 *   lasts, uses since shortly before its begin do not run out, because the manifest that makes them
 *   references comes after the last layer.
 * - A *lease*: asked for by name, for a time; kept in the database ({@link Leases}).
 */
export class Holds {
  readonly leases: Leases;
  readonly #clock: Clock;
  readonly #database: Database;
  readonly #useMs: number;
  readonly #quietUntil: number;
  readonly #uses = new Map<string, Map<Digest, number>>();
  readonly #transfers = new Map<string, Set<{ readonly since: number }>>();
  #oldestUpload: (repository: string) => number | undefined = () => undefined;
  #count = 0;
  #pruneAt = MAX_UNPRUNED;

  /** @param useMs how long a use holds, in milliseconds */
  constructor(database: Database, clock: Clock, useMs: number) {
    this.#database = database;
    this.#clock = clock;
    this.#useMs = useMs;
    this.#quietUntil = clock.now() + useMs;
    this.leases = new Leases(database, clock);
  }

  /** Says where to ask since when the oldest upload session of a repository has been open. */
  setUploads(oldest: (repository: string) => number | undefined): void {
    this.#oldestUpload = oldest;
  }

  /** Notes that a client was told that a repository has this content. */
  use(repository: string, digest: Digest): void {
    if (put(this.#uses, repository, digest, this.#clock.now())) this.#count += 1;
    if (this.#count > this.#pruneAt) this.prune();
  }

  /** Notes that a body is being sent, until the function returned is called. */
  transfer(repository: string): () => void {
    const entry = { since: this.#clock.now() };
    const running = this.#transfers.get(repository) ?? new Set();
    this.#transfers.set(repository, running.add(entry));
    return () => {
      running.delete(entry);
      this.renew(repository, entry.since);
      if (running.size === 0 && this.#transfers.get(repository) === running)
        this.#transfers.delete(repository);
    };
  }

  /**
   * Begins anew the uses that work in progress since `since` has kept from running out, now that it
   * ends: what it was done for, a manifest or the next layer, comes after it. Work that was short
   * has kept nothing to speak of.
   */
  renew(repository: string, since: number): void {
    const now = this.#clock.now();
    if (now - since < this.#useMs / 4) return;
    const uses = this.#uses.get(repository) ?? new Map<Digest, number>();
    for (const [digest, used] of uses) if (used + this.#useMs > since) uses.set(digest, now);
  }

  /**
   * Holds content for the program that runs the registry until a time, in milliseconds since the
   * epoch, unless it holds it for longer already.
   */
  async lease(repository: string, digest: Digest, until: number): Promise<void> {
    const lease = { repository, digest, holder: '', until };
    if (this.leases.until(lease) >= until) return;
    this.leases.set(lease);
    await this.#database.durable();
  }

  /** Whether content of a repository must be kept now. */
  held(repository: string, digest: Digest): boolean {
    const now = this.#clock.now();
    if (now < this.#quietUntil || this.leases.has(repository, digest)) return true;
    const used = this.#uses.get(repository)?.get(digest);
    return used !== undefined && used + this.#useMs > this.#since(repository, now);
  }

  /**
   * Lets what a deleted manifest named live on for as long as the manifest would have been held.
   * Of its leases that is the longest. Within the transaction that deletes the manifest.
   */
  inherit(repository: string, from: Digest, to: readonly Digest[]): void {
    const used = this.#uses.get(repository)?.get(from);
    const leased = this.leases.longest(repository, from);
    for (const digest of to) {
      if (used !== undefined && (this.#uses.get(repository)?.get(digest) ?? 0) < used) {
        if (put(this.#uses, repository, digest, used)) this.#count += 1;
      }
      if (leased !== undefined) this.leases.extendWithin({ ...leased, digest });
    }
  }

  /** Forgets what holds nothing any more. */
  prune(): void {
    const now = this.#clock.now();
    for (const [repository, uses] of this.#uses) {
      const since = this.#since(repository, now);
      for (const [digest, used] of uses) if (used + this.#useMs <= since) uses.delete(digest);
      if (uses.size === 0) this.#uses.delete(repository);
    }
    this.#count = [...this.#uses.values()].reduce((sum, uses) => sum + uses.size, 0);
    this.#pruneAt = Math.max(MAX_UNPRUNED, 2 * this.#count);
    this.leases.prune();
  }

  /** The time that uses are measured against: now, or when the oldest work in progress began. */
  #since(repository: string, now: number): number {
    let since = Math.min(now, this.#oldestUpload(repository) ?? now);
    for (const transfer of this.#transfers.get(repository) ?? []) since = Math.min(since, transfer.since);
    return since;
  }
}

/** Returns whether the entry is new. */
function put(
  map: Map<string, Map<Digest, number>>,
  repository: string,
  digest: Digest,
  value: number,
): boolean {
  let entries = map.get(repository);
  if (entries === undefined) {
    entries = new Map();
    map.set(repository, entries);
  }
  const before = entries.size;
  entries.set(digest, value);
  return entries.size > before;
}
