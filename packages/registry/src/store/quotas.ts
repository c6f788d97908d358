import { RegistryError } from '../errors.ts';
import type { Digest } from '../names.ts';

/** A quota that was checked. */
export interface CompiledQuota {
  /** The pattern, as it was written. */
  readonly text: string;
  readonly repositories: RegExp;
  readonly bytes: number | undefined;
  readonly bytesPerRepository: number | undefined;
}

/** Room for a blob that is on its way. */
export interface Reservation {
  /**
   * Changes how much is on its way.
   *
   * @throws RegistryError `QuotaExceeded` when it would be more than there is room for; what was
   *   reserved stays as it was then
   */
  resize(bytes: number): void;
  /** Says which blob it is: where it is stored already, it takes no room. */
  name(digest: Digest): void;
  /** Gives the room back: the blob is stored, or will not be. */
  release(): void;
}

interface Bucket {
  readonly text: string;
  readonly limit: number;
  /** How many repositories of the bucket have each blob. */
  readonly holders: Map<Digest, number>;
  stored: number;
  pending: number;
}

const MIB = 1024 * 1024;

/**
 * Counts the bytes of distinct blobs, stored and on their way, against the quotas of repositories.
 * What is on its way counts before it is written, so that many uploads at once do not pass a limit together.
 */
export class Quotas {
  readonly #under = new Set<Held>();
  #rules: readonly CompiledQuota[];
  #together = new Map<CompiledQuota, Bucket>();
  #buckets = new Map<string, readonly Bucket[]>();

  constructor(rules: readonly CompiledQuota[]) {
    this.#rules = rules;
  }

  /** Whether anything is limited at all. */
  get limits(): boolean {
    return this.#rules.length > 0;
  }

  /**
   * Goes by other rules from now on. What is stored counts as soon as {@link changed} was told of all
   * of it again; what is on its way counts at once, and nothing of it is refused for what it has already.
   */
  replace(rules: readonly CompiledQuota[]): void {
    this.#rules = rules;
    this.#together = new Map();
    this.#buckets = new Map();
    for (const held of this.#under) held.move(this.#bucketsOf(held.repository));
  }

  /** Takes note of a blob that a repository got or lost. */
  changed(repository: string, digest: Digest, size: number, change: 'added' | 'removed'): void {
    for (const bucket of this.#bucketsOf(repository)) {
      const before = bucket.holders.get(digest) ?? 0;
      const after = before + (change === 'added' ? 1 : -1);
      if (after > 0) bucket.holders.set(digest, after);
      else bucket.holders.delete(digest);
      if (before === 0 && after === 1) bucket.stored += size;
      if (before === 1 && after === 0) bucket.stored -= size;
    }
  }

  /**
   * Reserves room for a blob of a repository.
   *
   * @throws RegistryError `QuotaExceeded`
   */
  reserve(repository: string, bytes: number, digest?: Digest): Reservation {
    const held = new Held(repository, this.#bucketsOf(repository), this.#under);
    if (digest !== undefined) held.name(digest);
    held.resize(bytes);
    this.#under.add(held);
    return held;
  }

  #bucketsOf(repository: string): readonly Bucket[] {
    if (this.#rules.length === 0) return [];
    const known = this.#buckets.get(repository);
    if (known !== undefined) return known;
    const buckets = this.#rules
      .filter((rule) => rule.repositories.test(repository))
      .flatMap((rule) => {
        const { text, bytes, bytesPerRepository } = rule;
        const each = bytesPerRepository === undefined ? [] : [emptyBucket(repository, bytesPerRepository)];
        return bytes === undefined ? each : [...each, this.#shared(rule, text, bytes)];
      });
    this.#buckets.set(repository, buckets);
    return buckets;
  }

  #shared(rule: CompiledQuota, text: string, limit: number): Bucket {
    const bucket = this.#together.get(rule) ?? emptyBucket(text, limit);
    this.#together.set(rule, bucket);
    return bucket;
  }
}

/** A blob on its way, in the buckets that it counts in. */
class Held implements Reservation {
  readonly repository: string;
  readonly #under: Set<Held>;
  #buckets: readonly Bucket[];
  #bytes = 0;

  constructor(repository: string, buckets: readonly Bucket[], under: Set<Held>) {
    this.repository = repository;
    this.#buckets = buckets;
    this.#under = under;
  }

  resize(bytes: number): void {
    const more = bytes - this.#bytes;
    for (const bucket of this.#buckets) requireRoom(bucket, more);
    this.#add(more);
    this.#bytes = bytes;
  }

  name(digest: Digest): void {
    const free = this.#buckets.filter((bucket) => bucket.holders.has(digest));
    for (const bucket of free) bucket.pending -= this.#bytes;
    this.#buckets = this.#buckets.filter((bucket) => !free.includes(bucket));
  }

  release(): void {
    this.#add(-this.#bytes);
    this.#bytes = 0;
    this.#under.delete(this);
  }

  /** Counts in other buckets from now on, whether or not there is room. */
  move(buckets: readonly Bucket[]): void {
    this.#buckets = buckets;
    this.#add(this.#bytes);
  }

  #add(bytes: number): void {
    for (const bucket of this.#buckets) bucket.pending += bytes;
  }
}

function emptyBucket(text: string, limit: number): Bucket {
  return { text, limit, holders: new Map(), stored: 0, pending: 0 };
}

function requireRoom({ text, limit, stored, pending }: Bucket, more: number): void {
  if (more <= 0 || stored + pending + more <= limit) return;
  const used = stored + pending;
  throw new RegistryError(
    'QuotaExceeded',
    `The quota of ${text} is ${inMib(limit)}; ${inMib(used)} are used, and ${inMib(more)} more do not fit.`,
    { facts: { quota: text, limitBytes: limit, usedBytes: used, moreBytes: more } },
  );
}

function inMib(bytes: number): string {
  return bytes < MIB ? `${bytes} bytes` : `${Math.ceil((bytes / MIB) * 10) / 10} MiB`;
}
