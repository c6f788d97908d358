import type { HashPool, HashThread } from './hash-pool.ts';
import type { Algorithm } from './hash-protocol.ts';
import { type Staging, STAGING_BYTES, StagingBuffers } from './staging.ts';

/** Chunks of one file that may be with the thread while the next one fills. */
const IN_FLIGHT = 2;
/** Where what comes in lies until it is in its file. */
export const buffers = new StagingBuffers();

/**
 * A file that grows and knows its digest. Bytes are gathered into large chunks, which a hash thread
 * writes and hashes; the caller is held back when the thread does not keep up.
 */
export class Appender {
  readonly #thread: HashThread;
  readonly #path: string;
  #staging: Staging | undefined;
  #staged = 0;
  #size: number;
  #opened = false;
  readonly #inFlight: Promise<void>[] = [];

  private constructor(thread: HashThread, path: string, size: number) {
    this.#thread = thread;
    this.#path = path;
    this.#size = size;
  }

  /** @param size bytes already in the file, which are hashed before more are added */
  static async open(pool: HashPool, path: string, algorithm: Algorithm, size: number): Promise<Appender> {
    const appender = new Appender(pool.thread(), path, size);
    await appender.reopen(algorithm);
    return appender;
  }

  /** Bytes in the file. */
  get size(): number {
    return this.#size;
  }

  /** Makes a parked file ready for more. */
  async reopen(algorithm: Algorithm): Promise<void> {
    if (this.#opened) return;
    await this.#thread.call({ kind: 'open', path: this.#path, algorithm, size: this.#size });
    this.#opened = true;
  }

  /** Where the next bytes are to be put, to be told of by {@link filled}. */
  get room(): Uint8Array {
    this.#staging ??= buffers.take();
    return this.#staging.bytes.subarray(this.#staged);
  }

  /** So many bytes have been put into {@link room}. */
  async filled(bytes: number): Promise<void> {
    this.#staged += bytes;
    if (this.#staged === STAGING_BYTES) await this.#send();
  }

  /** Resolves once everything written is in the file. */
  async flush(): Promise<void> {
    await this.#send();
    while (this.#inFlight.length > 0) await this.#inFlight.shift();
  }

  /** The digest of the whole file, as hex. */
  async digest(): Promise<string> {
    await this.flush();
    const { hex } = await this.#thread.call({ kind: 'digest', path: this.#path });
    return hex ?? '';
  }

  /** Closes the file and remembers its hash for the next bytes. */
  async park(): Promise<void> {
    this.#opened = false;
    await this.#thread.call({ kind: 'park', path: this.#path });
  }

  /** Closes the file for good. */
  async forget(): Promise<void> {
    if (this.#staging !== undefined) buffers.giveBack(this.#staging);
    this.#staging = undefined;
    await Promise.allSettled(this.#inFlight);
    await this.#thread.call({ kind: 'forget', path: this.#path });
  }

  async #send(): Promise<void> {
    const staging = this.#staging;
    const length = this.#staged;
    this.#staging = undefined;
    this.#staged = 0;
    if (staging === undefined) return;
    if (length === 0) {
      // At the end of every body stands room that nothing came into.
      buffers.giveBack(staging);
      return;
    }
    const sent = this.#append(staging, length);
    sent.catch(() => undefined);
    this.#inFlight.push(sent);
    if (this.#inFlight.length > IN_FLIGHT) await this.#inFlight.shift();
  }

  async #append(staging: Staging, length: number): Promise<void> {
    const { memory, offset } = staging;
    try {
      await this.#thread.call({ kind: 'append', path: this.#path, memory, offset, length });
      this.#size += length;
    } finally {
      buffers.giveBack(staging);
    }
  }
}
