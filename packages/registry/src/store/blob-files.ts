import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, isDigest } from '../names.ts';
import { storageFull } from '../errors.ts';
import { type Disk, machineDisk } from './disk.ts';
import type { FileStamp } from './metadata.ts';

/** A blob's file, open for reading, as the file system describes it. */
export interface OpenBlob {
  readonly file: FileHandle;
  readonly stamp: FileStamp;
}

/**
 * The content-addressed files. Paths are made of validated digests and of random names alone, never
 * of what a client sent.
 */
export class BlobFiles {
  readonly #root: string;
  readonly #minFreeBytes: number;
  readonly #disk: Disk;
  readonly #directories = new Set<string>();

  /** @param minFreeBytes room on the disk that blobs leave for metadata */
  constructor(root: string, minFreeBytes: number, disk: Disk = machineDisk) {
    this.#root = root;
    this.#disk = disk;
    this.#minFreeBytes = minFreeBytes;
  }

  /** Creates the folders and removes the temporary files of an earlier run. */
  async prepare(): Promise<void> {
    await this.#disk.rm(join(this.#root, 'temporary'), { recursive: true, force: true });
    for (const name of ['blobs', 'uploads', 'temporary', 'quarantine']) {
      await this.#disk.mkdir(join(this.#root, name), { recursive: true, mode: 0o700 });
    }
    await this.#disk.syncDirectory(this.#root);
  }

  /** Where the file of a blob is. */
  pathOf(digest: Digest): string {
    const [algorithm = '', hex = ''] = digest.split(':');
    return join(this.#root, 'blobs', algorithm, hex.slice(0, 2), hex);
  }

  /** Where the bytes of an upload session gather. */
  uploadPath(id: string): string {
    return join(this.#root, 'uploads', id);
  }

  /**
   * Refuses a write of `bytes` that would fill the disk.
   *
   * @throws RegistryError `StorageFull`
   */
  async requireSpace(bytes: number): Promise<void> {
    const { bavail, bsize, files, ffree } = await this.#disk.statfs(this.#root);
    const full = bavail * bsize - bytes < this.#minFreeBytes;
    // A file system without a fixed number of inodes says that it has none.
    if (full || (files > 0 && ffree === 0)) throw storageFull();
  }

  /** Puts `bytes`, whose digest the caller has verified, in place. */
  async commitBytes(digest: Digest, bytes: Uint8Array): Promise<FileStamp> {
    const temporary = join(this.#root, 'temporary', randomBytes(12).toString('hex'));
    try {
      const file = await this.#disk.open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      return await this.#moveIntoPlace(digest, temporary);
    } catch (error) {
      await this.#disk.rm(temporary, { force: true });
      throw error;
    }
  }

  /** Puts a finished file, whose digest the caller has verified, in place. */
  async commitFile(digest: Digest, path: string): Promise<FileStamp> {
    const file = await this.#disk.open(path, 'r+');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    return await this.#moveIntoPlace(digest, path);
  }

  /** Opens a blob's file; undefined when it is gone. */
  async open(digest: Digest): Promise<OpenBlob | undefined> {
    let file: FileHandle;
    try {
      file = await this.#disk.open(this.pathOf(digest), 'r');
    } catch (error) {
      requireMissing(error);
      return undefined;
    }
    try {
      return { file, stamp: stampOf(await file.stat()) };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** What the file system says of a blob's file; undefined when it is gone. */
  async stamp(digest: Digest): Promise<FileStamp | undefined> {
    try {
      return stampOf(await this.#disk.stat(this.pathOf(digest)));
    } catch (error) {
      requireMissing(error);
      return undefined;
    }
  }

  /** The digests that there are files for, folder by folder. */
  async *list(): AsyncGenerator<readonly Digest[], void, undefined> {
    const root = join(this.#root, 'blobs');
    for (const algorithm of await this.#disk.readdir(root)) {
      for (const prefix of await this.#disk.readdir(join(root, algorithm))) {
        const names = await this.#disk.readdir(join(root, algorithm, prefix));
        yield names.map((hex) => `${algorithm}:${hex}`).filter(isDigest);
      }
    }
  }

  async remove(digest: Digest): Promise<void> {
    await this.#disk.rm(this.pathOf(digest), { force: true });
  }

  /** Takes a damaged file out of use and keeps it for whoever looks into the damage. */
  async quarantine(digest: Digest): Promise<void> {
    const name = `${digest.replace(':', '-')}.${randomBytes(4).toString('hex')}`;
    try {
      await this.#disk.rename(this.pathOf(digest), join(this.#root, 'quarantine', name));
    } catch (error) {
      requireMissing(error);
    }
  }

  /** Keeps the bytes of a damaged manifest for whoever looks into the damage. */
  async quarantineBytes(digest: Digest, bytes: Uint8Array): Promise<void> {
    const name = `${digest.replace(':', '-')}.${randomBytes(4).toString('hex')}`;
    await this.#disk.writeFile(join(this.#root, 'quarantine', name), bytes, { mode: 0o600 });
  }

  /** What is in quarantine. */
  async quarantined(): Promise<{ files: number; bytes: number }> {
    const folder = join(this.#root, 'quarantine');
    const names = await this.#disk.readdir(folder);
    let bytes = 0;
    for (const name of names) bytes += (await this.#disk.stat(join(folder, name))).size;
    return { files: names.length, bytes };
  }

  /** Free bytes on the disk. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await this.#disk.statfs(this.#root);
    return bavail * bsize;
  }

  /**
   * Writes a file, syncs and removes it, to find out whether the disk takes writes.
   *
   * @throws what the file system throws
   */
  async probe(): Promise<void> {
    const path = join(this.#root, 'temporary', randomBytes(12).toString('hex'));
    try {
      const file = await this.#disk.open(path, 'wx', 0o600);
      try {
        await file.writeFile('probe');
        await file.sync();
      } finally {
        await file.close();
      }
    } finally {
      await this.#disk.rm(path, { force: true });
    }
  }

  /** @throws what the file system throws when the folder cannot be written, as on a read-only disk */
  async requireWritable(): Promise<void> {
    await this.#disk.access(this.#root, constants.W_OK);
    await this.requireSpace(0);
  }

  async #moveIntoPlace(digest: Digest, from: string): Promise<FileStamp> {
    const path = this.pathOf(digest);
    const directory = join(path, '..');
    await this.#ensureDirectory(directory);
    await this.#disk.rename(from, path);
    const stamp = stampOf(await this.#disk.stat(path));
    await this.#disk.syncDirectory(directory);
    return stamp;
  }

  async #ensureDirectory(directory: string): Promise<void> {
    if (this.#directories.has(directory)) return;
    await this.#disk.mkdir(directory, { recursive: true, mode: 0o700 });
    await this.#disk.syncDirectory(join(directory, '..'));
    await this.#disk.syncDirectory(join(directory, '..', '..'));
    this.#directories.add(directory);
  }
}

/** Whether a file is the one that was stamped: anything that wrote to it since has changed one of these. */
export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.size === b.size && a.inode === b.inode && a.mtime === b.mtime && a.ctime === b.ctime;
}

function stampOf(stats: { size: number; ino: number; mtimeMs: number; ctimeMs: number }): FileStamp {
  return { size: stats.size, inode: stats.ino, mtime: stats.mtimeMs, ctime: stats.ctimeMs };
}

/** Lets the absence of a file pass and throws anything else. */
function requireMissing(error: unknown): void {
  if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return;
  throw error;
}
