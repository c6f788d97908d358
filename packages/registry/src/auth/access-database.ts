import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { RegistrySetupError } from '../errors.ts';

const FILE = 'access.db';
const SCHEMA_VERSION = 1;
const BUSY_MS = 5000;

const SCHEMA = `
  CREATE TABLE robots (name TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE keys (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, secret TEXT NOT NULL, created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/**
 * The file with the robot accounts and the keys of the registry, readable by its owner alone.
 *
 * Several processes may have it open: a command line changes robots while the registry serves. Each
 * change is one transaction, on the disk before it returns.
 */
export class AccessDatabase {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /**
   * Opens, and if need be creates, the file in the data folder of a registry.
   *
   * @throws RegistrySetupError `DataDirectoryInvalid`
   */
  static open(dataDir: string): AccessDatabase {
    let db: DatabaseSync | undefined;
    try {
      const path = join(dataDir, FILE);
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      closeSync(openSync(path, 'a', 0o600));
      db = new DatabaseSync(path, { timeout: BUSY_MS });
      db.exec('PRAGMA synchronous = FULL');
      const database = new AccessDatabase(db);
      database.#prepare();
      return database;
    } catch (error) {
      db?.close();
      if (error instanceof RegistrySetupError) throw error;
      throw unusable(dataDir, 'it cannot be opened', error);
    }
  }

  /** Changes whenever another process has changed the file. */
  get version(): number {
    return Number(this.statement('PRAGMA data_version').get()?.['data_version'] ?? 0);
  }

  statement(sql: string): StatementSync {
    const kept = this.#statements.get(sql);
    if (kept !== undefined) return kept;
    const made = this.#db.prepare(sql);
    this.#statements.set(sql, made);
    return made;
  }

  /** Runs `work` as one transaction that no other process is amid. */
  transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    this.#db.close();
  }

  #prepare(): void {
    this.transaction(() => {
      const found = Number(this.#db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
      if (found > SCHEMA_VERSION) throw unusable(FILE, 'it was written by a newer version');
      if (found === SCHEMA_VERSION) return;
      this.#db.exec(SCHEMA);
      this.#db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    });
  }
}

function unusable(what: string, why: string, cause?: unknown): RegistrySetupError {
  return new RegistrySetupError(
    'DataDirectoryInvalid',
    `The accounts of the registry cannot be used: ${why}.`,
    {
      cause,
      facts: { directory: what },
    },
  );
}
