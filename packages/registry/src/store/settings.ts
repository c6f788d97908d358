import type { Database } from './database.ts';

/** Something small that is remembered over a restart, by name. */
export class Settings {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  get(name: string): string | undefined {
    const value = this.#database.statement('SELECT value FROM settings WHERE name = ?').get(name)?.['value'];
    return typeof value === 'string' ? value : undefined;
  }

  set(name: string, value: string): void {
    this.#database.transaction(() =>
      this.#database.statement('INSERT OR REPLACE INTO settings VALUES (?, ?)').run(name, value),
    );
  }
}
