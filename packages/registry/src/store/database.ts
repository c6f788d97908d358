import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite';
import { RegistrySetupError, storageError, storageFailed } from '../errors.ts';
import { type Disk, machineDisk } from './disk.ts';

/** What SQLite keeps in a cell. */
export type SqlValue = ReturnType<StatementSync['all']>[number][string];

const SQLITE_BUSY = 5;
/** Each entry takes the tables from the version of its index to the next. */
const MIGRATIONS = [
  `
  CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE contents (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
  CREATE TABLE manifests (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT, referrer TEXT, pushed_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX manifests_by_digest ON manifests (digest);
  CREATE TABLE tags (
    repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, inode REAL NOT NULL, mtime REAL NOT NULL, ctime REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE members (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, added_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE uploads (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, owner TEXT, algorithm TEXT NOT NULL, started_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE manifests ADD COLUMN touched_at INTEGER NOT NULL DEFAULT 0;
  UPDATE manifests SET touched_at = pushed_at;
  CREATE TABLE leases (
    repository TEXT NOT NULL, digest TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE damaged (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE mirrored_tags (
    repository TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE mirrored_manifests (
    repository TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE leases RENAME TO leases_of_nobody;
  CREATE TABLE leases (
    repository TEXT NOT NULL, digest TEXT NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (repository, digest, holder)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_by_holder ON leases (holder);
  INSERT INTO leases SELECT repository, digest, '', until FROM leases_of_nobody;
  DROP TABLE leases_of_nobody;
  `,
];
const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * The metadata file.
 *
 * A transaction is committed without fsync (`synchronous=NORMAL` in WAL mode), which is atomic and
 * survives the death of the process; {@link durable} then syncs the write-ahead log off the main
 * thread, once for all transactions committed before it began, which is what
 * `synchronous=FULL` would do at each commit. An acknowledgement waits for it.
 *
 * The exclusive lock on the file keeps a second process out and falls with the process that holds it.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #log: FileHandle;
  readonly #statements = new Map<string, StatementSync>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure: unknown;

  private constructor(db: DatabaseSync, log: FileHandle) {
    this.#db = db;
    this.#log = log;
  }

  /**
   * Opens, and if need be creates, `metadata.db` in `directory`.
   *
   * @throws RegistrySetupError `DataDirectoryInUse` when another process, or this one, has it open;
   *   `DataDirectoryInvalid` when it cannot be read or was written by a newer version
   */
  static async open(directory: string, disk: Disk = machineDisk): Promise<Database> {
    const path = join(directory, 'metadata.db');
    let db: DatabaseSync | undefined;
    try {
      await disk.mkdir(directory, { recursive: true, mode: 0o700 });
      db = new DatabaseSync(path, { timeout: 0 });
      prepare(db);
      const log = await disk.open(`${path}-wal`, 'r');
      await disk.syncDirectory(directory);
      return new Database(db, log);
    } catch (error) {
      db?.close();
      throw setupError(error, directory);
    }
  }

  /** A prepared statement, kept for the next use. */
  statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** The rows of a query that is asked once, as arrays, one at a time. */
  rows(sql: string): Iterable<readonly SqlValue[]> {
    const statement = this.#db.prepare(sql);
    statement.setReturnArrays(true);
    return statement.iterate() as Iterable<unknown> as Iterable<readonly SqlValue[]>;
  }

  /**
   * Runs `work` in one transaction: all of its statements, or none when it throws.
   *
   * @throws RegistryError `StorageFull`, or `StorageFailed` once a sync has failed
   */
  transaction<T>(work: () => T): T {
    this.#refuseAfterFailure();
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw storageError(error) ?? error;
    }
  }

  /** Why the database takes no more writes, once a sync has failed. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Writes something that means nothing, to find out whether the database takes writes.
   *
   * @throws RegistryError `StorageFull`, `StorageFailed`
   */
  probe(): void {
    this.transaction(() =>
      this.statement("INSERT OR REPLACE INTO settings VALUES ('probe', ?)").run(
        randomBytes(4).toString('hex'),
      ),
    );
  }

  /** Writes a copy of the database, as it is at the end of the copy, to a file that is not there yet. */
  async copyTo(path: string): Promise<void> {
    await backup(this.#db, path);
  }

  /** What SQLite finds wrong with the file, in its words; empty when it is sound. Takes as long as reading it. */
  problems(): string[] {
    const rows = this.#db.prepare('PRAGMA quick_check(100)').all();
    return rows.map((row) => String(row['quick_check'])).filter((text) => text !== 'ok');
  }

  /**
   * Resolves once every transaction committed so far is on the disk.
   *
   * A failed fsync leaves unknown what is on the disk, so the database takes no more writes after it.
   */
  durable(): Promise<void> {
    if (this.#running === undefined) return this.#startSync();
    this.#next ??= this.#running.catch(() => undefined).then(() => this.#startSync());
    return this.#next;
  }

  /** Folds the log into the file and gives up the lock. */
  async close(): Promise<void> {
    await this.#next?.catch(() => undefined);
    await this.#running?.catch(() => undefined);
    this.#statements.clear();
    this.#db.close();
    await this.#log.close();
  }

  #startSync(): Promise<void> {
    this.#next = undefined;
    const sync = this.#sync();
    this.#running = sync;
    const clear = (): void => {
      if (this.#running === sync) this.#running = undefined;
    };
    sync.then(clear, clear);
    return sync;
  }

  async #sync(): Promise<void> {
    this.#refuseAfterFailure();
    try {
      await this.#log.datasync();
    } catch (error) {
      this.#failure = error;
      this.#refuseAfterFailure();
    }
  }

  #refuseAfterFailure(): void {
    if (this.#failure === undefined) return;
    throw storageFailed(this.#failure);
  }
}

function prepare(db: DatabaseSync): void {
  db.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;');
  db.exec('PRAGMA journal_size_limit=8388608; BEGIN IMMEDIATE;');
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
  if (version > SCHEMA_VERSION) {
    throw new RegistrySetupError('DataDirectoryInvalid', 'The registry data are of another version.', {
      facts: { found: version, supported: SCHEMA_VERSION },
    });
  }
  for (const migration of MIGRATIONS.slice(version)) db.exec(migration);
  db.exec(`PRAGMA user_version=${SCHEMA_VERSION}; COMMIT;`);
}

function setupError(error: unknown, directory: string): RegistrySetupError {
  if (error instanceof RegistrySetupError) return error;
  const facts = { directory };
  const busy =
    typeof error === 'object' && error !== null && 'errcode' in error && error.errcode === SQLITE_BUSY;
  if (busy) {
    return new RegistrySetupError('DataDirectoryInUse', 'Another registry uses this data directory.', {
      cause: error,
      facts,
      hint: 'Stop the other process, or give this one a directory of its own.',
    });
  }
  return new RegistrySetupError('DataDirectoryInvalid', 'The registry data cannot be opened.', {
    cause: error,
    facts,
  });
}
