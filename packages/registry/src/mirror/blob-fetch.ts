import { type FileHandle, open } from 'node:fs/promises';
import { systemCode } from '@mural/core';
import type { ByteRange } from '../http/range.ts';
import { type Digest, parseDigest } from '../names.ts';
import { bodyOfPieces } from '../store/body.ts';
import type { Store } from '../store/store.ts';
import type { UploadSession } from '../store/uploads.ts';

/** The last bytes that came, which may not be in the file yet: more than an upload ever holds back. */
const WINDOW = 4 * 1024 * 1024;
/** Size of one read from the file, in bytes. */
const READ = 256 * 1024;
/** Owner of the upload sessions: a name with a colon cannot sign in with a password. */
export const MIRROR_OWNER = 'mirror:';

interface Reader {
  /** What it reads next. */
  position: number;
}

/** Where a fetch has its bytes from and puts them to. */
export interface BlobFetchParts {
  readonly store: Store;
  /** The repository here. */
  readonly name: string;
  readonly digest: Digest;
  readonly size: number;
  /** The bytes from upstream: its last piece comes only after everything has been verified. */
  readonly source: AsyncGenerator<Uint8Array>;
  /** Told of the bytes that came, piece by piece. */
  readonly arrived: (bytes: number) => void;
  /** What an error of the source means to a client, when so many bytes have come. */
  readonly explain: (error: unknown, received: number) => Error;
  /** Called when the blob cannot be stored; true to try once more, as long as nothing was read. */
  readonly makeRoom: (error: unknown) => Promise<boolean>;
  /** Told when the bytes go on to the clients without being kept. */
  readonly notKept: (error: unknown) => void;
}

/**
 * One blob on its way from upstream into the store, and at the same time to any number of readers.
 *
 * The bytes go through an upload session, as those of a push. A reader takes what has just come from
 * memory and what is older from the growing file, so that a slow one holds nobody up. When the blob
 * cannot be stored, for want of room say, the readers still get it: then the slowest of them sets the pace.
 */
export class BlobFetch {
  readonly size: number;
  readonly #parts: BlobFetchParts;
  readonly #readers = new Set<Reader>();
  #window: Uint8Array[] = [];
  #windowStart = 0;
  #head = 0;
  #upload: UploadSession | undefined;
  #keeping = true;
  #stored = false;
  #failure: Error | undefined;
  #changed = Promise.withResolvers<undefined>();

  constructor(parts: BlobFetchParts) {
    this.#parts = parts;
    this.size = parts.size;
  }

  /** Whether a reader that comes now finds everything from the begin on. */
  get open(): boolean {
    return this.#failure === undefined && (this.#keeping || this.#windowStart === 0);
  }

  /** Gives up before anything was read. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  /** Reads the source to its end. Never rejects: readers are told of a failure. */
  async run(): Promise<void> {
    try {
      await this.#store();
    } catch (error) {
      if (this.#failure === undefined) await this.#goOnWithout(error);
    } finally {
      await this.#parts.source.return(undefined).catch(() => undefined);
      this.#wake();
    }
  }

  /**
   * The bytes of a range as they come.
   *
   * @throws what the failure of the upstream means to a client
   */
  async *read({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    const reader: Reader = { position: start };
    this.#readers.add(reader);
    let file: FileHandle | undefined;
    try {
      while (reader.position <= end) {
        const { promise: changed } = this.#changed;
        let piece = this.#recent(reader.position);
        if (piece === undefined && reader.position < this.#windowStart) {
          file ??= await this.#openFile();
          piece = await readAt(file, reader.position, Math.min(READ, end - reader.position + 1));
        }
        if (piece === undefined) {
          if (this.#failure !== undefined) throw this.#failure;
          if (this.#ended(reader)) throw new Error('The bytes of a blob are no longer at hand.');
          await changed;
          continue;
        }
        const part = piece.subarray(0, end - reader.position + 1);
        reader.position += part.length;
        if (!this.#keeping) this.#wake();
        yield part;
      }
    } finally {
      this.#readers.delete(reader);
      this.#wake();
      await file?.close();
    }
  }

  async #store(): Promise<void> {
    const { store, name, digest, size, makeRoom } = this.#parts;
    const pieces = { [Symbol.asyncIterator]: () => ({ next: () => this.#advance() }) };
    for (let attempt = 0; ; attempt += 1) {
      this.#upload = store.uploads.create(name, MIRROR_OWNER, parseDigest(digest).algorithm);
      try {
        await store.uploads.finish(this.#upload, digest, { body: bodyOfPieces(pieces), length: size });
        this.#stored = true;
        return;
      } catch (error) {
        await store.uploads.cancel(this.#upload).catch(() => undefined);
        if (attempt > 0 || this.#head > 0 || this.#failure !== undefined || !(await makeRoom(error)))
          throw error;
      }
    }
  }

  /** The rest of the source goes to those who read already. */
  async #goOnWithout(error: unknown): Promise<void> {
    this.#keeping = false;
    this.#parts.notKept(error);
    try {
      for (let next = await this.#advance(); next.done !== true; next = await this.#advance());
    } catch (failure) {
      this.#failure ??= failure instanceof Error ? failure : new Error('The blob could not be read.');
    }
  }

  async #advance(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#keeping) await this.#room();
    let next: IteratorResult<Uint8Array>;
    try {
      next = await this.#parts.source.next();
    } catch (error) {
      this.#failure = this.#parts.explain(error, this.#head);
      this.#wake();
      throw this.#failure;
    }
    if (next.done === true) return { done: true, value: undefined };
    this.#window.push(next.value);
    this.#head += next.value.length;
    this.#parts.arrived(next.value.length);
    this.#trim();
    this.#wake();
    return { done: false, value: next.value };
  }

  /** Waits for the slowest reader. */
  async #room(): Promise<void> {
    for (;;) {
      const { promise: changed } = this.#changed;
      const slowest = this.#readers.size === 0 ? this.#windowStart : this.#slowest();
      if (this.#head - slowest < WINDOW) return;
      if (this.#readers.size === 0) throw new Error('Nobody reads the blob any more.');
      await changed;
    }
  }

  #slowest(): number {
    return Math.min(...[...this.#readers].map(({ position }) => position));
  }

  #trim(): void {
    const kept = this.#keeping ? this.#head - WINDOW : Math.min(this.#head - WINDOW, this.#slowest());
    let first = this.#window[0];
    while (first !== undefined && this.#windowStart + first.length <= kept) {
      this.#window.shift();
      this.#windowStart += first.length;
      first = this.#window[0];
    }
  }

  /** What is in memory from `position` on, up to the end of a piece. */
  #recent(position: number): Uint8Array | undefined {
    if (position < this.#windowStart || position >= this.#head) return undefined;
    let end = this.#head;
    for (let index = this.#window.length - 1; index >= 0; index -= 1) {
      const piece = this.#window[index];
      if (piece === undefined) return undefined;
      const start = end - piece.length;
      if (position >= start) return piece.subarray(position - start);
      end = start;
    }
    return undefined;
  }

  /** Whether what a reader waits for will not come any more. */
  #ended({ position }: Reader): boolean {
    if (this.#stored || !this.#keeping) return position < this.#windowStart;
    return false;
  }

  /** The file that grows, or the one of the blob when that is in place. */
  async #openFile(): Promise<FileHandle> {
    const { files } = this.#parts.store;
    try {
      return await open(files.uploadPath(this.#upload?.id ?? ''), 'r');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    const blob = await files.open(this.#parts.digest);
    if (blob === undefined) throw new Error('The file of a blob is gone.');
    return blob.file;
  }

  #wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve(undefined);
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array | undefined> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, position);
  return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead);
}
