import type { Body } from '../store/body.ts';
import { Chunks } from './chunks.ts';
import type { Pace } from './pace.ts';

interface Reading {
  readonly target: Uint8Array;
  filled: number;
  readonly resolve: (bytes: number) => void;
  readonly reject: (error: unknown) => void;
}

/** The body of a plain request as the connection brings it: a number of bytes that is known before, or chunks. */
export class PlainBody implements Body {
  readonly #pace: Pace;
  readonly #wanted: () => void;
  readonly #chunks: Chunks | undefined;
  /** Bytes that the connection has not brought yet; of chunks infinitely many, until the last has come. */
  #left: number;
  #early: Uint8Array[] = [];
  #reading: Reading | undefined;
  #failure: { readonly error: unknown } | undefined;
  #dropped = false;

  /** @param wanted is called when somebody waits for bytes that the connection has to bring */
  constructor(length: number | 'chunks', pace: Pace, wanted: () => void) {
    this.#left = length === 'chunks' ? Infinity : length;
    this.#chunks = length === 'chunks' ? new Chunks() : undefined;
    this.#pace = pace;
    this.#wanted = wanted;
  }

  /** Bytes that are still to come; infinitely many where that is not known. */
  get left(): number {
    return this.#left;
  }

  /** Whether bytes would find somebody who takes them. */
  get open(): boolean {
    return this.#reading !== undefined || this.#dropped;
  }

  /** Where the connection may put the next bytes by itself, to be told of by {@link arrived}. */
  get room(): Uint8Array | undefined {
    const reading = this.#reading;
    // Chunks are small as a rule: what a read less would spare goes into reading their frames by themselves.
    if (reading === undefined || this.#chunks !== undefined) return undefined;
    return reading.target.subarray(reading.filled, reading.filled + this.#left);
  }

  /** Bytes have been put into {@link room}. */
  arrived(bytes: number): void {
    this.#left -= bytes;
    if (this.#reading !== undefined) this.#filled(this.#reading, bytes);
  }

  /**
   * Takes the bytes of the body at the beginning of what the connection has brought, and copies them.
   *
   * @returns their number
   */
  take(bytes: Uint8Array): number {
    if (this.#chunks !== undefined) return this.#takeChunks(this.#chunks, bytes);
    const mine = bytes.subarray(0, this.#left);
    this.#left -= mine.length;
    this.#bring(mine);
    return mine.length;
  }

  async fill(target: Uint8Array): Promise<number> {
    if (this.#reading !== undefined) throw new Error('The body is being read already.');
    const filled = this.#takeEarly(target);
    if (filled === target.length || this.#left === 0) return filled;
    if (this.#failure !== undefined) {
      if (filled > 0) return filled;
      throw this.#failure.error;
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#reading = { target, filled, resolve, reject };
    this.#pace.waiting();
    this.#wanted();
    return await promise;
  }

  /** No more will come: whoever waits is given what has come, and the failure after it. */
  break(error: unknown): void {
    this.#failure ??= { error };
    const reading = this.#reading;
    if (reading === undefined) return;
    if (reading.filled > 0) {
      this.#settle(reading);
      return;
    }
    this.#reading = undefined;
    reading.reject(error);
  }

  /** Nobody wants what is still to come. */
  drop(): void {
    this.#dropped = true;
    this.#early = [];
  }

  #takeChunks(chunks: Chunks, bytes: Uint8Array): number {
    let at = 0;
    try {
      while (at < bytes.length && !chunks.ended) {
        at += chunks.read(bytes.subarray(at));
        const payload = bytes.subarray(at, at + chunks.payload);
        if (payload.length === 0) continue;
        chunks.passed(payload.length);
        this.#bring(payload);
        at += payload.length;
      }
    } catch (error) {
      // Where the next request begins is not known any more.
      this.break(error);
      return bytes.length;
    }
    if (chunks.ended) {
      this.#left = 0;
      if (this.#reading !== undefined) this.#settle(this.#reading);
    }
    return at;
  }

  /** Copies bytes to whoever waits for them, and keeps what is too much for later. */
  #bring(bytes: Uint8Array): void {
    if (this.#dropped) return;
    const reading = this.#reading;
    let early = bytes;
    if (reading !== undefined) {
      const part = bytes.subarray(0, reading.target.length - reading.filled);
      reading.target.set(part, reading.filled);
      this.#filled(reading, part.length);
      early = bytes.subarray(part.length);
    }
    if (early.length > 0) this.#early.push(new Uint8Array(early));
  }

  #filled(reading: Reading, bytes: number): void {
    reading.filled += bytes;
    try {
      this.#pace.received(bytes);
    } catch (error) {
      this.break(error);
    }
    if (reading.filled === reading.target.length || this.#left === 0) this.#settle(reading);
  }

  #settle(reading: Reading): void {
    if (this.#reading !== reading) return;
    this.#reading = undefined;
    reading.resolve(reading.filled);
  }

  #takeEarly(target: Uint8Array): number {
    let filled = 0;
    while (filled < target.length) {
      const piece = this.#early.shift();
      if (piece === undefined) break;
      const part = piece.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      if (part.length < piece.length) this.#early.unshift(piece.subarray(part.length));
    }
    return filled;
  }
}
