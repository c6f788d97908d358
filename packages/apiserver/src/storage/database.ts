import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { errorMessage, MuralError } from '@mural/core';
import type { Stored } from '../objects.ts';
import { jsonOf, rememberJson } from '../objects.ts';
import type { Seal } from './seal.ts';

/** One row: an object at its place, or its removal. */
export interface RowChange {
  /** `group/plural`, or the plural alone in the core group. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  /** `undefined` removes the row. */
  readonly object: Stored | undefined;
}

/** A row as it was read at the start. */
export interface Row {
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly object: Stored;
}

/** Resources whose rows are encrypted. */
const SEALED = new Set(['secrets']);

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    sealed INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
`;

/** Long enough for a process that was just told to end. */
const LOCK_MS = 3000;

/** One process at a time: the store keeps the state in memory and would not see the writes of another. */
function prepare(db: DatabaseSync, directory: string): void {
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec(`PRAGMA secure_delete = ON; BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
  } catch (cause) {
    db.close();
    if (!errorMessage(cause).includes('locked')) throw cause;
    throw new MuralError('StoreLocked', 'another process uses this data folder', {
      cause,
      hint: 'Stop it first, or give this one a folder of its own.',
      facts: { directory },
    });
  }
}

/**
 * The file under the store: SQLite in WAL mode with full synchronisation, so that what was
 * acknowledged survives a kill and a power cut.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #seal: Seal;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #setMeta: StatementSync;

  /** @param lockMs how long another process that ends is waited for, in milliseconds */
  constructor(directory: string, seal: Seal, lockMs = LOCK_MS) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#seal = seal;
    const path = join(directory, 'state.db');
    this.#db = new DatabaseSync(path, { timeout: lockMs });
    chmodSync(path, 0o600);
    prepare(this.#db, directory);
    this.#put = this.#db.prepare('INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)');
    this.#remove = this.#db.prepare('DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?');
    this.#setMeta = this.#db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)');
  }

  /** All rows, for the memory of the store. */
  *rows(): Generator<Row> {
    const query = this.#db.prepare('SELECT resource, namespace, name, sealed, data FROM objects');
    for (const row of query.iterate()) {
      const resource = String(row['resource']);
      const namespace = String(row['namespace']);
      const name = String(row['name']);
      const data = row['data'] as Uint8Array;
      const place = `${resource}/${namespace}/${name}`;
      const text = row['sealed'] === 1 ? this.#seal.open(place, data) : Buffer.from(data).toString('utf8');
      const object = JSON.parse(text) as Stored;
      rememberJson(object, text);
      yield { resource, namespace, name, object };
    }
  }

  /** The last revision that was committed; 0 in a new file. */
  revision(): number {
    const row = this.#db.prepare("SELECT value FROM meta WHERE key = 'revision'").get();
    return row === undefined ? 0 : Number(row['value']);
  }

  /** Writes all changes and the revision in one transaction; returns when they are durable. */
  commit(changes: readonly RowChange[], revision: number): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      for (const change of changes) this.#write(change);
      this.#setMeta.run('revision', revision);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #write({ resource, namespace, name, object }: RowChange): void {
    if (object === undefined) {
      this.#remove.run(resource, namespace, name);
      return;
    }
    const text = jsonOf(object);
    const sealed = SEALED.has(resource);
    const place = `${resource}/${namespace}/${name}`;
    const data = sealed ? this.#seal.seal(place, text) : Buffer.from(text);
    this.#put.run(resource, namespace, name, sealed ? 1 : 0, data);
  }

  close(): void {
    this.#db.close();
  }
}
