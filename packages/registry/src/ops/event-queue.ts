import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { RegistrySetupError } from '../errors.ts';

/** An event that waits for an endpoint. */
export interface WaitingEvent {
  readonly sequence: number;
  readonly body: string;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS events_by_endpoint ON events (endpoint, sequence);
`;

/**
 * Events that wait, for each endpoint in the order in which they happened, in `events.db` of the data
 * folder. They survive the death of the process; a loss of power may take the last ones, which are not
 * synced, since a push does not wait for its event.
 */
export class EventQueue {
  readonly #db: DatabaseSync;
  readonly #waiting = new Map<string, number>();
  readonly #insert: StatementSync;
  readonly #first: StatementSync;
  readonly #removeUpTo: StatementSync;
  readonly #removeFirst: StatementSync;

  private constructor(db: DatabaseSync) {
    this.#db = db;
    this.#insert = db.prepare('INSERT INTO events (endpoint, body) VALUES (?, ?)');
    this.#first = db.prepare(
      'SELECT sequence, body FROM events WHERE endpoint = ? ORDER BY sequence LIMIT ?',
    );
    this.#removeUpTo = db.prepare('DELETE FROM events WHERE endpoint = ? AND sequence <= ?');
    this.#removeFirst = db.prepare(
      'DELETE FROM events WHERE sequence IN (SELECT sequence FROM events WHERE endpoint = ? ORDER BY sequence LIMIT ?)',
    );
    for (const row of db.prepare('SELECT endpoint, count(*) AS n FROM events GROUP BY endpoint').all()) {
      this.#waiting.set(String(row['endpoint']), Number(row['n']));
    }
  }

  /**
   * Opens the queue of a data folder, and forgets what waits for endpoints other than these.
   *
   * @throws RegistrySetupError `DataDirectoryInvalid`
   */
  static open(dataDir: string, endpoints: readonly string[]): EventQueue {
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(join(dataDir, 'events.db'));
      db.exec(SCHEMA);
      const queue = new EventQueue(db);
      for (const name of [...queue.#waiting.keys()].filter((one) => !endpoints.includes(one))) {
        queue.removeUpTo(name, Number.MAX_SAFE_INTEGER);
      }
      return queue;
    } catch (error) {
      db?.close();
      throw new RegistrySetupError('DataDirectoryInvalid', 'The events that wait cannot be read.', {
        cause: error,
        hint: 'Move events.db out of the data folder: what waits in it is not sent then.',
      });
    }
  }

  /** How many events wait for an endpoint. */
  waiting(endpoint: string): number {
    return this.#waiting.get(endpoint) ?? 0;
  }

  /**
   * Adds an event. Beyond `limit` the oldest ones go.
   *
   * @returns how many went
   */
  add(endpoint: string, body: string, limit: number): number {
    this.#insert.run(endpoint, body);
    const waiting = this.waiting(endpoint) + 1;
    this.#waiting.set(endpoint, waiting);
    if (waiting <= limit) return 0;
    const gone = Number(this.#removeFirst.run(endpoint, waiting - limit).changes);
    this.#waiting.set(endpoint, waiting - gone);
    return gone;
  }

  /** The events that wait longest. */
  first(endpoint: string, count: number): WaitingEvent[] {
    return this.#first
      .all(endpoint, count)
      .map((row) => ({ sequence: Number(row['sequence']), body: String(row['body']) }));
  }

  /** Removes what was delivered. @returns how many events that were */
  removeUpTo(endpoint: string, sequence: number): number {
    const gone = Number(this.#removeUpTo.run(endpoint, sequence).changes);
    this.#waiting.set(endpoint, this.waiting(endpoint) - gone);
    return gone;
  }

  close(): void {
    this.#db.close();
  }
}
