import { randomBytes } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Logger } from '@mural/core';
import { RegistryError, storageError } from '../errors.ts';
import { type Digest, digestOf, parseDigest } from '../names.ts';
import { Appender } from './appender.ts';
import { type Body, readUpTo } from './body.ts';
import type { BlobFiles } from './blob-files.ts';
import type { Blobs } from './blobs.ts';
import type { HashPool } from './hash-pool.ts';
import type { Algorithm } from './hash-protocol.ts';
import type { Metadata, UploadRow } from './metadata.ts';
import type { Quotas, Reservation } from './quotas.ts';

/** Bodies up to this size are hashed and written at once, without a session's file, in bytes. */
const IN_MEMORY = 256 * 1024;
/** How much is written between two looks at the free space, in bytes. */
const SPACE_STEP = 8 * 1024 * 1024;

/** Limits on unfinished uploads. */
export interface UploadLimits {
  /** Sessions open at a time, in one repository. */
  readonly perRepository: number;
  /** Sessions open at a time. */
  readonly total: number;
  /** How long a session without a request is kept, in milliseconds. */
  readonly idleMs: number;
  /** How long a session may last in all, in milliseconds. */
  readonly ageMs: number;
  /** Bytes that unfinished uploads may have together. */
  readonly bytes: number;
}

/** An unfinished upload of one blob. */
export interface UploadSession {
  readonly id: string;
  readonly repository: string;
  readonly owner: string | undefined;
  /** Bytes that the registry has, all of them in the session's file. */
  size: number;
}

/** Bytes for a session. */
export interface Chunk {
  readonly body: Body;
  /** Where the client says that the chunk begins; it must be where the session ends. */
  readonly start?: number | undefined;
  /** Bytes of the body, where the client says so. */
  readonly length?: number | undefined;
}

interface Session extends UploadSession {
  readonly startedAt: number;
  readonly algorithm: Algorithm;
  lastUsed: number;
  busy: boolean;
  appender: Appender | undefined;
  /** What it takes of the quotas. */
  readonly reservation: Reservation;
  /** What it takes of the limit on all uploads, in bytes. */
  reserved: number;
}

interface Parts {
  readonly metadata: Metadata;
  readonly files: BlobFiles;
  readonly blobs: Blobs;
  readonly pool: HashPool;
  readonly quotas: Quotas;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: UploadLimits;
}

/**
 * Upload sessions (distribution-spec end-4 to end-6, end-13, end-14). A session is a row and a file:
 * after a kill it goes on at the byte that is on the disk, whose hash is computed again.
 */
export class Uploads {
  readonly #parts: Parts;
  readonly #sessions = new Map<string, Session>();
  #reserved = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Takes up the sessions of an earlier run and removes files that belong to none. */
  async restore(): Promise<void> {
    const { metadata, files, clock } = this.#parts;
    for (const row of metadata.uploads()) {
      const size = await sizeOf(files.uploadPath(row.id));
      this.#open(row, size, clock.now());
    }
    const folder = dirname(files.uploadPath('x'));
    for (const name of await readdir(folder)) {
      if (!this.#sessions.has(name)) await rm(files.uploadPath(name), { force: true });
    }
  }

  /** The sessions that are open. */
  sessions(): Iterable<UploadSession> {
    return this.#sessions.values();
  }

  /** Since when the oldest session of a repository has been open; undefined where there is none. */
  oldest(repository: string): number | undefined {
    let oldest: number | undefined;
    for (const open of this.#sessions.values()) {
      if (open.repository === repository) oldest = Math.min(oldest ?? open.startedAt, open.startedAt);
    }
    return oldest;
  }

  /**
   * Begins a session.
   *
   * @throws RegistryError `TooManyRequests` beyond the limits
   */
  create(repository: string, owner: string | undefined, algorithm: Algorithm): UploadSession {
    const { limits, metadata, clock } = this.#parts;
    const here = [...this.#sessions.values()].filter((open) => open.repository === repository).length;
    if (this.#sessions.size >= limits.total || here >= limits.perRepository) {
      throw tooMany('Too many uploads are unfinished.');
    }
    const now = clock.now();
    const row: UploadRow = {
      id: randomBytes(16).toString('hex'),
      repository,
      owner,
      algorithm,
      startedAt: now,
    };
    metadata.addUpload(row);
    return this.#open(row, 0, now);
  }

  /**
   * The session of that id, if it is this repository's and this user's.
   *
   * @throws RegistryError `BlobUploadUnknown`
   */
  get(id: string, repository: string, owner: string | undefined): UploadSession {
    return this.#find(id, repository, owner);
  }

  /**
   * Adds a chunk and returns the session's size. When the body breaks off, what came is kept.
   *
   * @throws RegistryError `BlobUploadConflict` while another request writes, `BlobUploadOutOfOrder`;
   *   `StorageFull`, `StorageFailed`, `QuotaExceeded` and `TooManyRequests`, and the session is gone then
   */
  async append(upload: UploadSession, chunk: Chunk): Promise<number> {
    return await this.#exclusively(upload, async (open) => {
      requireOrder(open, chunk);
      await this.#admit(open, chunk.length);
      const appender = await this.#appender(open);
      try {
        await this.#fill(open, appender, chunk.body);
      } finally {
        await appender.flush();
        open.size = appender.size;
        await appender.park();
      }
      return open.size;
    });
  }

  /**
   * Ends a session with its last bytes, and stores the blob.
   *
   * @throws RegistryError `DigestInvalid` when the content is another, and the session is gone then;
   *   `BlobUploadConflict`, `BlobUploadOutOfOrder`, `StorageFull`
   */
  async finish(upload: UploadSession, digest: Digest, chunk: Chunk): Promise<void> {
    await this.#exclusively(upload, async (open) => {
      requireOrder(open, chunk);
      try {
        open.reservation.name(digest);
        await this.#admit(open, chunk.length);
        await this.#complete(open, digest, chunk);
      } catch (error) {
        if (error instanceof RegistryError) await this.#discard(open);
        throw error;
      }
      await this.#discard(open);
    });
  }

  /** Stores a blob that comes in one request (end-4b). */
  async store(
    repository: string,
    owner: string | undefined,
    digest: Digest,
    { body, length }: Chunk,
  ): Promise<void> {
    const { algorithm } = parseDigest(digest);
    this.#parts.quotas.reserve(repository, length ?? 0, digest).release();
    if (length !== undefined && length <= IN_MEMORY) {
      await this.#storeBytes(repository, digest, await readUpTo(body, IN_MEMORY, length));
      return;
    }
    const upload = this.create(repository, owner, algorithm);
    try {
      await this.finish(upload, digest, { body, length });
    } finally {
      await this.#discardById(upload.id);
    }
  }

  /** Gives up a session and frees its bytes (end-14). */
  async cancel(upload: UploadSession): Promise<void> {
    await this.#exclusively(upload, (open) => this.#discard(open));
  }

  /**
   * Removes sessions that nobody has used for the time that is allowed, or that are too old.
   *
   * @param dryRun leave them there
   * @returns what was removed
   */
  async expire(dryRun = false): Promise<UploadSession[]> {
    const { clock, limits, log } = this.#parts;
    const now = clock.now();
    const expired = [...this.#sessions.values()].filter(
      ({ busy, lastUsed, startedAt }) =>
        !busy && (lastUsed <= now - limits.idleMs || startedAt <= now - limits.ageMs),
    );
    for (const open of dryRun ? [] : expired) {
      log.info({ repository: open.repository, bytes: open.size }, 'an unfinished upload was removed');
      await this.#discard(open);
    }
    return expired;
  }

  #find(id: string, repository: string, owner: string | undefined): Session {
    const open = this.#sessions.get(id);
    if (open?.repository === repository && open.owner === owner) return open;
    throw new RegistryError('BlobUploadUnknown', 'This upload does not exist or has ended.');
  }

  async #exclusively<T>(upload: UploadSession, work: (open: Session) => Promise<T>): Promise<T> {
    const open = this.#find(upload.id, upload.repository, upload.owner);
    if (open.busy) {
      throw new RegistryError('BlobUploadConflict', 'Another request is writing to this upload.', {
        headers: { 'retry-after': '1' },
        retryable: true,
      });
    }
    open.busy = true;
    try {
      return await work(open);
    } catch (error) {
      // After a failed sync nobody knows which of the bytes are on the disk: none of them is kept.
      const known = storageError(error) ?? error;
      if (known instanceof RegistryError && FREEING.has(known.code)) await this.#discard(open);
      throw known;
    } finally {
      open.busy = false;
      open.lastUsed = this.#parts.clock.now();
    }
  }

  async #complete(open: Session, digest: Digest, { body, length }: Chunk): Promise<void> {
    const { blobs, files, pool } = this.#parts;
    if (open.size === 0 && length !== undefined && length <= IN_MEMORY) {
      const bytes = await readUpTo(body, IN_MEMORY, length);
      await this.#storeBytes(open.repository, digest, bytes);
      return;
    }
    const { algorithm, hex } = parseDigest(digest);
    const appender = await this.#appender(open);
    try {
      await this.#fill(open, appender, body);
    } finally {
      await appender.flush();
      open.size = appender.size;
    }
    const path = files.uploadPath(open.id);
    const computed =
      algorithm === open.algorithm ? await appender.digest() : await pool.hashFile(path, algorithm);
    if (computed !== hex) throw digestMismatch(digest, `${algorithm}:${computed}`);
    await appender.forget();
    open.appender = undefined;
    await blobs.addFile(open.repository, digest, path);
  }

  async #storeBytes(repository: string, digest: Digest, bytes: Buffer): Promise<void> {
    const computed = digestOf(bytes, parseDigest(digest).algorithm);
    if (computed !== digest) throw digestMismatch(digest, computed);
    const reservation = this.#parts.quotas.reserve(repository, bytes.length, digest);
    try {
      await this.#parts.blobs.addBytes(repository, digest, bytes);
    } finally {
      reservation.release();
    }
  }

  async #appender(open: Session): Promise<Appender> {
    const { pool, files } = this.#parts;
    open.appender ??= await Appender.open(pool, files.uploadPath(open.id), open.algorithm, open.size);
    await open.appender.reopen(open.algorithm);
    return open.appender;
  }

  async #fill(open: Session, appender: Appender, body: Body): Promise<void> {
    let untilCheck = 0;
    let total = open.size;
    for (;;) {
      const bytes = await body.fill(appender.room);
      if (bytes === 0) return;
      total += bytes;
      if (total > open.reserved) this.#reserve(open, total);
      if (untilCheck <= 0) {
        await this.#parts.files.requireSpace(bytes);
        untilCheck = SPACE_STEP;
      }
      untilCheck -= bytes;
      await appender.filled(bytes);
    }
  }

  #open(row: UploadRow, size: number, now: number): Session {
    const reservation = this.#parts.quotas.reserve(row.repository, 0);
    const state = { size, lastUsed: now, busy: false, appender: undefined, reservation, reserved: size };
    this.#reserved += size;
    const open: Session = { ...row, ...state };
    this.#sessions.set(row.id, open);
    return open;
  }

  /** Refuses what is known to be too much before any of it is written. */
  async #admit(open: Session, length = 0): Promise<void> {
    this.#reserve(open, open.size + length);
    await this.#parts.files.requireSpace(length);
  }

  /**
   * Reserves room for an upload of `total` bytes, before they are written.
   *
   * @throws RegistryError `QuotaExceeded`, `TooManyRequests`
   */
  #reserve(open: Session, total: number): void {
    const more = total - open.reserved;
    if (more > 0 && this.#reserved + more > this.#parts.limits.bytes) {
      throw tooMany('The unfinished uploads have too many bytes together.');
    }
    open.reservation.resize(total);
    this.#reserved += more;
    open.reserved = total;
  }

  async #discardById(id: string): Promise<void> {
    const open = this.#sessions.get(id);
    if (open !== undefined) await this.#discard(open);
  }

  async #discard(open: Session): Promise<void> {
    const { files, metadata, log } = this.#parts;
    if (!this.#sessions.delete(open.id)) return;
    this.#reserved -= open.reserved;
    open.reservation.release();
    metadata.holds.renew(open.repository, open.startedAt);
    await open.appender?.forget();
    open.appender = undefined;
    try {
      await rm(files.uploadPath(open.id), { force: true });
      metadata.removeUpload(open.id);
    } catch (error) {
      // What stays is harmless: the next start finds a session, which expires.
      log.warn({ err: error }, 'the end of an upload could not be recorded');
    }
  }
}

/** After these the bytes of an upload are freed at once. */
const FREEING: ReadonlySet<string> = new Set([
  'StorageFull',
  'StorageFailed',
  'QuotaExceeded',
  'TooManyRequests',
]);

function tooMany(message: string): RegistryError {
  return new RegistryError('TooManyRequests', message, { headers: { 'retry-after': '60' }, retryable: true });
}

function requireOrder(open: Session, chunk: Chunk): void {
  if (chunk.start === undefined || chunk.start === open.size) return;
  throw new RegistryError('BlobUploadOutOfOrder', 'The chunk does not begin where the upload ends.', {
    facts: { expected: open.size, start: chunk.start },
  });
}

function digestMismatch(expected: Digest, computed: string): RegistryError {
  return new RegistryError('DigestInvalid', 'The content does not have the digest that was given.', {
    facts: { expected, computed },
  });
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
