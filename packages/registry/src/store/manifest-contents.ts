import { type Digest, digestOf, parseDigest } from '../names.ts';
import type { Database } from './database.ts';
import { type CacheUse, Lru } from './lru.ts';

/** The bytes of manifests, whichever repositories have them: in the database, and the latest in memory. */
export class ManifestContents {
  readonly #database: Database;
  readonly #latest: Lru<Digest, Buffer>;
  readonly #damaged = new Set<Digest>();

  /** @param cacheBytes bytes of manifests that stay in memory */
  constructor(database: Database, cacheBytes: number) {
    this.#database = database;
    this.#latest = new Lru(cacheBytes);
    for (const [digest] of database.rows('SELECT digest FROM damaged')) this.#damaged.add(digest as Digest);
  }

  /** Manifests that are kept in memory. */
  get cache(): CacheUse {
    return this.#latest;
  }

  /** Whether a manifest was found damaged. It counts as unknown until it is pushed again. */
  isDamaged(digest: Digest): boolean {
    return this.#damaged.size > 0 && this.#damaged.has(digest);
  }

  /** The bytes of a manifest: from memory, or else from the database, and then verified. */
  get(digest: Digest): Buffer | undefined {
    const known = this.#latest.get(digest);
    if (known !== undefined) return known;
    const bytes = this.stored(digest);
    if (bytes === undefined) return undefined;
    if (digestOf(bytes, parseDigest(digest).algorithm) !== digest) {
      this.drop(digest);
      return undefined;
    }
    this.#latest.set(digest, bytes);
    return bytes;
  }

  /** The bytes of a manifest as the database has them, unverified and not kept in memory. */
  stored(digest: Digest): Buffer | undefined {
    const row = this.#database.statement('SELECT bytes FROM contents WHERE digest = ?').get(digest);
    const stored = row?.['bytes'];
    if (!(stored instanceof Uint8Array)) return undefined;
    return Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  }

  /** Up to `limit` digests of stored manifests after `last`, in order. */
  digests(last: string, limit: number): Digest[] {
    const rows = this.#database
      .statement('SELECT digest FROM contents WHERE digest > ? ORDER BY digest LIMIT ?')
      .all(last, limit);
    return rows.map((row) => row['digest'] as Digest);
  }

  /** Takes the bytes of a damaged manifest out of service; who has it is kept, so that a new push heals it. */
  drop(digest: Digest): void {
    this.#latest.delete(digest);
    this.#damaged.add(digest);
    this.#database.transaction(() => {
      this.#database.statement('DELETE FROM contents WHERE digest = ?').run(digest);
      this.#database.statement('INSERT OR IGNORE INTO damaged VALUES (?)').run(digest);
    });
  }

  /** Stores bytes; within a transaction, after which {@link remember} is called. */
  store(digest: Digest, bytes: Buffer): void {
    this.#database
      .statement('INSERT INTO contents (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING')
      .run(digest, bytes);
    if (this.isDamaged(digest)) this.#database.statement('DELETE FROM damaged WHERE digest = ?').run(digest);
  }

  /** Keeps bytes in memory that {@link store} has stored. */
  remember(digest: Digest, bytes: Buffer): void {
    this.#damaged.delete(digest);
    this.#latest.set(digest, bytes);
  }

  /** Removes bytes that no repository's manifest has any more; within a transaction. */
  removeUnused(digest: Digest): void {
    this.#database
      .statement(
        'DELETE FROM contents WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM manifests WHERE digest = ?1)',
      )
      .run(digest);
  }
}
