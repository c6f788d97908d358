import type { Clock } from '@mural/core';
import type { Digest } from '../names.ts';
import type { Database } from './database.ts';

/** Content of a repository that is kept for a time because somebody asked for it. */
export interface Lease {
  readonly repository: string;
  readonly digest: Digest;
  /** Who asked for it; empty for the program that runs the registry. */
  readonly holder: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** What tells one lease from the others. */
export type LeaseKey = Omit<Lease, 'until'>;

/** Which leases {@link Leases.page} is asked for. */
export interface LeaseQuery {
  readonly repository?: string | undefined;
  readonly holder?: string | undefined;
  /** What the page before ended with. */
  readonly after?: LeaseKey | undefined;
  readonly limit: number;
}

/** How often what has ended is looked for at most, in milliseconds: a look is at every lease. */
const PRUNE_EVERY = 1000;

interface Held {
  readonly digests: Map<Digest, Map<string, number>>;
  count: number;
}

/**
 * Leases on content, over restarts: in memory for the collector, in the database for good. Each holder
 * has one of its own on a digest, so that nobody ends or shortens that of another.
 *
 * A change is in memory when its method returns; it is durable once the database says so.
 */
export class Leases {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #repositories = new Map<string, Held>();
  readonly #holders = new Map<string, number>();
  #prunedAt = -Infinity;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    for (const [repository, digest, holder, until] of database.rows(
      'SELECT repository, digest, holder, until FROM leases',
    )) {
      this.#put({
        repository: String(repository),
        digest: digest as Digest,
        holder: String(holder),
        until: Number(until),
      });
    }
  }

  /** Until when a holder has leased content; 0 for not at all. */
  until({ repository, digest, holder }: LeaseKey): number {
    return this.#repositories.get(repository)?.digests.get(digest)?.get(holder) ?? 0;
  }

  /** Sets a lease, in place of the one that the holder has on this content. */
  set(lease: Lease): void {
    this.#database.transaction(() => this.#write(lease));
    this.#put(lease);
  }

  /** The same for a lease that lasts longer than the one there is, within a transaction that runs. */
  extendWithin(lease: Lease): void {
    if (this.until(lease) >= lease.until) return;
    this.#write(lease);
    this.#put(lease);
  }

  /** Removes the lease of a holder on a digest, or all of theirs in a repository. @returns how many */
  remove({ repository, digest, holder }: Omit<LeaseKey, 'digest'> & { digest?: Digest | undefined }): number {
    const held = this.#repositories.get(repository);
    if (held === undefined) return 0;
    const digests = digest === undefined ? [...held.digests.keys()] : [digest];
    const concerned = digests.filter((one) => held.digests.get(one)?.has(holder) === true);
    if (concerned.length === 0) return 0;
    this.#database.transaction(() => {
      const statement = this.#database.statement(
        'DELETE FROM leases WHERE repository = ? AND digest = ? AND holder = ?',
      );
      for (const one of concerned) statement.run(repository, one, holder);
    });
    for (const one of concerned) this.#drop({ repository, digest: one, holder });
    return concerned.length;
  }

  /** Whether anybody has leased content. */
  has(repository: string, digest: Digest): boolean {
    return this.longest(repository, digest) !== undefined;
  }

  /** The lease on content that lasts longest. */
  longest(repository: string, digest: Digest): Lease | undefined {
    let longest: Lease | undefined;
    const now = this.#clock.now();
    for (const [holder, until] of this.#repositories.get(repository)?.digests.get(digest) ?? []) {
      if (until > Math.max(now, longest?.until ?? 0)) longest = { repository, digest, holder, until };
    }
    return longest;
  }

  /** What is leased now. */
  *held(): Generator<{ readonly repository: string; readonly digest: Digest }> {
    for (const [repository, { digests }] of this.#repositories) {
      for (const digest of digests.keys()) if (this.has(repository, digest)) yield { repository, digest };
    }
  }

  /** How many there are in a repository, those that have ended lately too. */
  countIn(repository: string): number {
    return this.#repositories.get(repository)?.count ?? 0;
  }

  /** How many a holder has in all repositories, those that have ended lately too. */
  countOf(holder: string): number {
    return this.#holders.get(holder) ?? 0;
  }

  /** Leases that last, by repository, digest and holder. */
  page({ repository, holder, after, limit }: LeaseQuery): Lease[] {
    const conditions = ['until > ?'];
    const values: (number | string)[] = [this.#clock.now()];
    const add = (condition: string, ...given: string[]): void => {
      conditions.push(condition);
      values.push(...given);
    };
    if (repository !== undefined) add('repository = ?', repository);
    if (holder !== undefined) add('holder = ?', holder);
    if (after !== undefined) {
      add('(repository, digest, holder) > (?, ?, ?)', after.repository, after.digest, after.holder);
    }
    const query = `SELECT * FROM leases WHERE ${conditions.join(' AND ')} ORDER BY repository, digest, holder LIMIT ?`;
    const rows = this.#database.statement(query).all(...values, limit);
    return rows.map((row) => ({
      repository: String(row['repository']),
      digest: row['digest'] as Digest,
      holder: String(row['holder']),
      until: Number(row['until']),
    }));
  }

  /** Forgets what has ended, unless that was done within the last second. */
  prune(): void {
    const now = this.#clock.now();
    if (Math.abs(now - this.#prunedAt) < PRUNE_EVERY) return;
    this.#prunedAt = now;
    const ended: LeaseKey[] = [];
    for (const [repository, { digests }] of this.#repositories) {
      for (const [digest, holders] of digests) {
        for (const [holder, until] of holders) if (until <= now) ended.push({ repository, digest, holder });
      }
    }
    if (ended.length === 0) return;
    this.#database.transaction(() =>
      this.#database.statement('DELETE FROM leases WHERE until <= ?').run(now),
    );
    for (const key of ended) this.#drop(key);
  }

  #write({ repository, digest, holder, until }: Lease): void {
    this.#database
      .statement('INSERT OR REPLACE INTO leases (repository, digest, holder, until) VALUES (?, ?, ?, ?)')
      .run(repository, digest, holder, Math.ceil(until));
  }

  #put({ repository, digest, holder, until }: Lease): void {
    const held = this.#repositories.get(repository) ?? {
      digests: new Map<Digest, Map<string, number>>(),
      count: 0,
    };
    this.#repositories.set(repository, held);
    const holders = held.digests.get(digest) ?? new Map<string, number>();
    held.digests.set(digest, holders);
    if (!holders.has(holder)) {
      held.count += 1;
      this.#holders.set(holder, this.countOf(holder) + 1);
    }
    holders.set(holder, Math.ceil(until));
  }

  #drop({ repository, digest, holder }: LeaseKey): void {
    const held = this.#repositories.get(repository);
    const holders = held?.digests.get(digest);
    if (held === undefined || holders?.delete(holder) !== true) return;
    held.count -= 1;
    if (holders.size === 0) held.digests.delete(digest);
    if (held.digests.size === 0) this.#repositories.delete(repository);
    const count = this.countOf(holder) - 1;
    if (count === 0) this.#holders.delete(holder);
    else this.#holders.set(holder, count);
  }
}
