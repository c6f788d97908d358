import { createReadStream, existsSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { backup, DatabaseSync } from 'node:sqlite';
import type { Digest } from '../names.ts';
import type { Store } from '../store/store.ts';
import type { BackupDatabase, BackupSource } from './backup.ts';

/**
 * The data of a store as they are at one moment, while it goes on: copies of the databases, and the
 * files of all blobs that they name, which are kept until the snapshot is released.
 */
export class Snapshot implements BackupSource {
  readonly #store: Store;
  readonly #folder: string;
  readonly #letGo: () => Promise<void>;

  private constructor(store: Store, folder: string, letGo: () => Promise<void>) {
    this.#store = store;
    this.#folder = folder;
    this.#letGo = letGo;
  }

  static async take(store: Store): Promise<Snapshot> {
    // First the files are kept, then the metadata are copied: what these name is among the files.
    const letGo = store.blobs.keepFiles();
    let folder: string | undefined;
    try {
      folder = await mkdtemp(join(store.dataDir, 'temporary', 'snapshot-'));
      await store.database.copyTo(join(folder, 'metadata.db'));
      await copyAccess(join(store.dataDir, 'access.db'), join(folder, 'access.db'));
      return new Snapshot(store, folder, letGo);
    } catch (error) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
      await letGo();
      throw error;
    }
  }

  /** The copy of a database; undefined when there is none. */
  pathOf(name: BackupDatabase): string | undefined {
    const path = join(this.#folder, name);
    return existsSync(path) ? path : undefined;
  }

  async copyDatabase(name: BackupDatabase, path: string): Promise<boolean> {
    const from = this.pathOf(name);
    if (from !== undefined) await copyFile(from, path);
    return from !== undefined;
  }

  async openBlob(digest: Digest): Promise<Readable | undefined> {
    const path = this.#store.files.pathOf(digest);
    return existsSync(path) ? createReadStream(path, { highWaterMark: 512 * 1024 }) : undefined;
  }

  /** Lets go of what was kept. */
  async release(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await this.#letGo();
  }
}

async function copyAccess(from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  const database = new DatabaseSync(from, { readOnly: true });
  try {
    await backup(database, to);
  } finally {
    database.close();
  }
}
