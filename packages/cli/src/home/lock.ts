import { DatabaseSync } from 'node:sqlite';
import { errorMessage } from '@mural/core';
import { CliError } from '../errors.ts';

/** A data folder that belongs to this process until it is released. */
export interface Lock {
  release(): void;
}

/**
 * Takes a data folder for this process alone. The lock is one of the operating system on a SQLite
 * file, so it goes with the process however that ends, and no stale file has to be judged.
 *
 * @throws CliError `DataDirInUse`
 */
export function lockFolder(path: string, folder: string): Lock {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (!/locked|busy/i.test(errorMessage(error))) throw error;
    throw new CliError('DataDirInUse', `another mural process works in ${folder}`, {
      hint: 'stop it first, or choose another folder with --data',
      cause: error,
    });
  }
  return { release: () => database.close() };
}
