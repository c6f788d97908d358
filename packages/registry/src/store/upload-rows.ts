import type { Database } from './database.ts';

/** An upload session as it is kept. */
export interface UploadRow {
  readonly id: string;
  readonly repository: string;
  readonly owner: string | undefined;
  readonly algorithm: 'sha256' | 'sha512';
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

/**
 * Upload sessions, as they are kept beyond the death of the process. Not synced: after a loss of power a
 * client begins anew.
 */
export class UploadRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The sessions that were open when the registry last ran. */
  list(): UploadRow[] {
    const rows = this.#database.statement('SELECT * FROM uploads').all();
    return rows.map((row) => ({
      id: String(row['id']),
      repository: String(row['repository']),
      owner: row['owner'] === null ? undefined : String(row['owner']),
      algorithm: row['algorithm'] === 'sha512' ? 'sha512' : 'sha256',
      startedAt: Number(row['started_at']),
    }));
  }

  add({ id, repository, owner, algorithm, startedAt }: UploadRow): void {
    this.#database.transaction(() =>
      this.#database
        .statement('INSERT INTO uploads VALUES (?, ?, ?, ?, ?)')
        .run(id, repository, owner ?? null, algorithm, startedAt),
    );
  }

  remove(id: string): void {
    this.#database.transaction(() => this.#database.statement('DELETE FROM uploads WHERE id = ?').run(id));
  }
}
