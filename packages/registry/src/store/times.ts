import type { Digest } from '../names.ts';
import type { Database } from './database.ts';
import type { Repository } from './repository.ts';

/** When tags, manifests and blobs of a repository were last touched, in milliseconds since the epoch. */
export class Times {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Up to `limit` tags of a repository after `last`, each with the time at which it was set. */
  tags(
    repository: Pick<Repository, 'id'>,
    last: string,
    limit: number,
  ): { name: string; digest: Digest; updatedAt: number }[] {
    const rows = this.#database
      .statement(
        'SELECT name, digest, updated_at FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?',
      )
      .all(repository.id, last, limit);
    return rows.map((row) => ({
      name: String(row['name']),
      digest: row['digest'] as Digest,
      updatedAt: Number(row['updated_at']),
    }));
  }

  /** When a manifest was pushed, or last lost a tag, an index above it or its subject. */
  manifest(repository: Pick<Repository, 'id'>, digest: Digest): number | undefined {
    const row = this.#database
      .statement('SELECT touched_at AS at FROM manifests WHERE repository = ? AND digest = ?')
      .get(repository.id, digest);
    return row === undefined ? undefined : Number(row['at']);
  }

  /** When a blob was pushed or mounted, or a manifest that names it was deleted. */
  blob(repository: Pick<Repository, 'id'>, digest: Digest): number | undefined {
    const row = this.#database
      .statement('SELECT added_at AS at FROM members WHERE repository = ? AND digest = ?')
      .get(repository.id, digest);
    return row === undefined ? undefined : Number(row['at']);
  }

  /** Starts the grace period of a manifest anew; within a transaction. */
  touchManifest(repository: Pick<Repository, 'id'>, digest: Digest, now: number): void {
    this.#database
      .statement('UPDATE manifests SET touched_at = ? WHERE repository = ? AND digest = ?')
      .run(now, repository.id, digest);
  }

  /** Starts the grace period of a blob anew; within a transaction. */
  touchBlob(repository: Pick<Repository, 'id'>, digest: Digest, now: number): void {
    this.#database
      .statement('UPDATE members SET added_at = ? WHERE repository = ? AND digest = ?')
      .run(now, repository.id, digest);
  }
}
