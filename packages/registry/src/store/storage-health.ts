import { type Clock, SingleFlight } from '@mural/core';
import { storageError } from '../errors.ts';
import type { BlobFiles } from './blob-files.ts';
import type { Database } from './database.ts';

/** Whether pushes can be stored. Reads are served in any state. */
export interface StorageState {
  readonly writable: boolean;
  /** What is in the way: no room or no inodes, or a disk that is read-only or fails. */
  readonly reason?: 'full' | 'failing';
  /** Whether only a restart helps: after a failed sync nobody knows what is on the disk. */
  readonly needsRestart?: boolean;
}

/** How long good news is good, in milliseconds. */
const KEEP_MS = 1000;
const WRITABLE: StorageState = { writable: true };

/**
 * What is known of the disk. Room and permission are looked at whenever somebody asks; after a write
 * has failed, one is tried until it succeeds.
 */
export class StorageHealth {
  readonly #files: BlobFiles;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #checks = new SingleFlight<StorageState>();
  #suspect = false;
  #last: { readonly state: StorageState; readonly at: number } | undefined;

  constructor(parts: { files: BlobFiles; database: Database; clock: Clock }) {
    this.#files = parts.files;
    this.#database = parts.database;
    this.#clock = parts.clock;
  }

  /** Notes that a write failed. */
  fault(): void {
    this.#suspect = true;
    this.#last = undefined;
  }

  async state(): Promise<StorageState> {
    const last = this.#last;
    if (last !== undefined && this.#clock.now() - last.at < KEEP_MS) return last.state;
    return await this.#checks.run('state', async () => {
      const state = await this.#check();
      this.#last = state.writable ? { state, at: this.#clock.now() } : undefined;
      return state;
    });
  }

  async #check(): Promise<StorageState> {
    if (this.#database.failure !== undefined)
      return { writable: false, reason: 'failing', needsRestart: true };
    try {
      await this.#files.requireWritable();
      if (this.#suspect) {
        await this.#files.probe();
        this.#database.probe();
        await this.#database.durable();
      }
      this.#suspect = false;
      return WRITABLE;
    } catch (error) {
      this.#suspect = true;
      const full = storageError(error)?.code === 'StorageFull';
      return { writable: false, reason: full ? 'full' : 'failing' };
    }
  }
}
