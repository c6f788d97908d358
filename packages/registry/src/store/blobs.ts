import type { FileHandle } from 'node:fs/promises';
import { type Logger, SingleFlight } from '@mural/core';
import { type Digest, digestOf, parseDigest } from '../names.ts';
import { type BlobFiles, type OpenBlob, sameStamp } from './blob-files.ts';
import type { HashPool } from './hash-pool.ts';
import { KeyedLock } from './keyed-lock.ts';
import { type CacheUse, Lru } from './lru.ts';
import type { FileStamp, Metadata } from './metadata.ts';
import type { Quotas } from './quotas.ts';

/** A blob to serve: all of its bytes, or an open file that the caller closes. */
export type ReadableBlob =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'file'; readonly file: FileHandle; readonly size: number };

/** Blobs up to this size are read whole, verified and kept in memory, in bytes. */
const SMALL = 1024 * 1024;

/**
 * Blobs: their files, and the record of each in the metadata.
 *
 * A file that is not as the registry left it (size, times or inode differ) is hashed before it is
 * served again. A damaged one goes into quarantine and counts as unknown, so that a client pushes it
 * anew, which puts it right in every repository that has it.
 */
export class Blobs {
  readonly #metadata: Metadata;
  readonly #files: BlobFiles;
  readonly #pool: HashPool;
  readonly #quotas: Quotas;
  readonly #log: Logger;
  readonly #cache: Lru<Digest, Buffer>;
  readonly #lock = new KeyedLock();
  readonly #checks = new SingleFlight<boolean>();
  readonly #kept = new Set<Digest>();
  #keepers = 0;

  constructor(parts: {
    metadata: Metadata;
    files: BlobFiles;
    pool: HashPool;
    quotas: Quotas;
    log: Logger;
    /** Bytes of small blobs that stay in memory. */
    cacheBytes: number;
  }) {
    this.#metadata = parts.metadata;
    this.#files = parts.files;
    this.#pool = parts.pool;
    this.#quotas = parts.quotas;
    this.#log = parts.log;
    this.#cache = new Lru(parts.cacheBytes);
  }

  /** Small blobs that are kept in memory. */
  get cache(): CacheUse {
    return this.#cache;
  }

  /** Whether the blob is there and as it was pushed. */
  async intact(digest: Digest): Promise<boolean> {
    const recorded = this.#metadata.blob(digest);
    if (recorded === undefined) return false;
    if (this.#cache.get(digest) !== undefined) return true;
    const found = await this.#files.stamp(digest);
    return found !== undefined && sameStamp(found, recorded) ? true : await this.#verify(digest);
  }

  /** Opens a blob for reading. Undefined when it is not there, or was found to be damaged. */
  async open(digest: Digest): Promise<ReadableBlob | undefined> {
    const recorded = this.#metadata.blob(digest);
    if (recorded === undefined) return undefined;
    const cached = this.#cache.get(digest);
    if (cached !== undefined) return { kind: 'bytes', bytes: cached };
    const opened = await this.#openVerified(digest, recorded);
    if (opened === undefined) return undefined;
    const { file, stamp } = opened;
    if (stamp.size > SMALL) return { kind: 'file', file, size: stamp.size };
    try {
      return await this.#readSmall(digest, opened);
    } finally {
      await file.close();
    }
  }

  /** Stores bytes that came whole. Their digest must have been verified. */
  async addBytes(repository: string, digest: Digest, bytes: Buffer): Promise<void> {
    await this.#files.requireSpace(bytes.length);
    await this.#lock.run(digest, async () => {
      const stamp = await this.#files.commitBytes(digest, bytes);
      this.#metadata.holds.use(repository, digest);
      await this.#metadata.addBlob(repository, digest, stamp);
    });
    if (bytes.length <= SMALL) this.#cache.set(digest, Buffer.from(bytes));
  }

  /** Stores a file that was uploaded. Its digest must have been verified. */
  async addFile(repository: string, digest: Digest, path: string): Promise<void> {
    await this.#lock.run(digest, async () => {
      const stamp = await this.#files.commitFile(digest, path);
      this.#metadata.holds.use(repository, digest);
      await this.#metadata.addBlob(repository, digest, stamp);
    });
  }

  /**
   * Makes the blob one of `repository`'s too. False when it is not there or damaged.
   *
   * @throws RegistryError `QuotaExceeded`
   */
  async mount(repository: string, digest: Digest): Promise<boolean> {
    if (!(await this.intact(digest))) return false;
    return await this.#lock.run(digest, async () => {
      const size = this.#metadata.blob(digest)?.size;
      if (size === undefined) return false;
      const reservation = this.#quotas.reserve(repository, size, digest);
      try {
        this.#metadata.holds.use(repository, digest);
        await this.#metadata.mountBlob(repository, digest);
        return true;
      } finally {
        reservation.release();
      }
    });
  }

  /** Takes the blob out of `repository`; its file goes with the last repository that had it. */
  async remove(repository: string, digest: Digest): Promise<boolean> {
    return (await this.removeIf(repository, digest, () => true)) !== undefined;
  }

  /**
   * As {@link remove}, if `condition` holds in the very turn in which the metadata change: no push,
   * mount or lease can come between. Undefined when it was not removed; `last` says that the file
   * went too.
   */
  async removeIf(
    repository: string,
    digest: Digest,
    condition: () => boolean,
  ): Promise<{ last: boolean } | undefined> {
    return await this.#lock.run(digest, async () => {
      if (!condition()) return undefined;
      const { removed, last } = await this.#metadata.removeBlob(repository, digest);
      if (last) {
        this.#cache.delete(digest);
        await this.#removeFile(digest);
      }
      return removed ? { last } : undefined;
    });
  }

  /** The digests that there are files for, folder by folder. */
  files(): AsyncIterable<readonly Digest[]> {
    return this.#files.list();
  }

  /**
   * Removes the file of a blob that no repository has, which a kill may leave behind.
   *
   * @param before files that were changed later than this stay, in milliseconds since the epoch
   * @param dryRun leave it there
   * @returns the bytes that were freed; undefined when it stays
   */
  async removeOrphan(digest: Digest, before: number, dryRun = false): Promise<number | undefined> {
    return await this.#lock.run(digest, async () => {
      if (this.#metadata.blob(digest) !== undefined || this.#kept.has(digest)) return undefined;
      const stamp = await this.#files.stamp(digest);
      if (stamp === undefined || stamp.ctime > before) return undefined;
      if (!dryRun) await this.#removeFile(digest);
      return stamp.size;
    });
  }

  /** Keeps the files of blobs that are removed, until the function returned is called. */
  keepFiles(): () => Promise<void> {
    this.#keepers += 1;
    let done = false;
    return async () => {
      if (done) return;
      done = true;
      this.#keepers -= 1;
      if (this.#keepers > 0) return;
      const kept = [...this.#kept];
      this.#kept.clear();
      for (const digest of kept) await this.removeOrphan(digest, Infinity);
    };
  }

  /** Hashes a blob's file and takes a damaged one out of service. False when it was damaged or is not there. */
  async verify(digest: Digest): Promise<boolean> {
    return await this.#verify(digest);
  }

  /** Within the lock of the blob. */
  async #removeFile(digest: Digest): Promise<void> {
    if (this.#keepers > 0) this.#kept.add(digest);
    else await this.#files.remove(digest);
  }

  async #openVerified(digest: Digest, recorded: FileStamp): Promise<OpenBlob | undefined> {
    const opened = await this.#files.open(digest);
    if (opened !== undefined && sameStamp(opened.stamp, recorded)) return opened;
    await opened?.file.close();
    return (await this.#verify(digest)) ? await this.#files.open(digest) : undefined;
  }

  async #readSmall(digest: Digest, { file, stamp }: OpenBlob): Promise<ReadableBlob | undefined> {
    const bytes = Buffer.alloc(stamp.size);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    if (digestOf(bytes, parseDigest(digest).algorithm) !== digest) {
      return (await this.#verify(digest)) ? await this.open(digest) : undefined;
    }
    this.#cache.set(digest, bytes);
    return { kind: 'bytes', bytes };
  }

  /** Hashes the file; notes its new stamp when it is sound, and quarantines it when it is not. */
  #verify(digest: Digest): Promise<boolean> {
    return this.#checks.run(digest, () => this.#lock.run(digest, () => this.#verifyLocked(digest)));
  }

  async #verifyLocked(digest: Digest): Promise<boolean> {
    if (this.#metadata.blob(digest) === undefined) return false;
    const stamp = await this.#files.stamp(digest);
    const { algorithm, hex } = parseDigest(digest);
    if (stamp !== undefined && (await this.#pool.hashFile(this.#files.pathOf(digest), algorithm)) === hex) {
      this.#metadata.restampBlob(digest, stamp);
      return true;
    }
    this.#log.error({ digest }, 'a blob was lost or damaged on the disk');
    this.#cache.delete(digest);
    await this.#files.quarantine(digest);
    this.#metadata.dropBlobFile(digest);
    return false;
  }
}
