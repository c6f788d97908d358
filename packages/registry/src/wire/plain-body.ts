import type { Body } from '../store/body.ts';
import type { Pace } from './pace.ts';

interface Reading {
  readonly target: Uint8Array;
  filled: number;
  readonly resolve: (bytes: number) => void;
  readonly reject: (error: unknown) => void;
}

/** The body of a plain request: a number of bytes that is known before, as the connection brings them. */
export class PlainBody implements Body {
  readonly #pace: Pace;
  readonly #wanted: () => void;
  /** Bytes that the connection has not brought yet. */
  #left: number;
  #early: Uint8Array[] = [];
  #reading: Reading | undefined;
  #failure: { readonly error: unknown } | undefined;
  #dropped = false;

  /** @param wanted is called when somebody waits for bytes that the connection has to bring */
  constructor(length: number, pace: Pace, wanted: () => void) {
    this.#left = length;
    this.#pace = pace;
    this.#wanted = wanted;
  }

  /** Bytes that are still to come. */
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
    return reading?.target.subarray(reading.filled, reading.filled + this.#left);
  }

  /** Bytes have been put into {@link room}. */
  arrived(bytes: number): void {
    this.#left -= bytes;
    const reading = this.#reading;
    if (reading === undefined) return;
    reading.filled += bytes;
    try {
      this.#pace.received(bytes);
    } catch (error) {
      this.break(error);
    }
    if (reading.filled === reading.target.length || this.#left === 0) this.#settle(reading);
  }

  /**
   * Takes the bytes of the body at the beginning of what the connection has brought, and copies them.
   *
   * @returns their number
   */
  take(bytes: Uint8Array): number {
    const mine = bytes.subarray(0, this.#left);
    if (this.#dropped) {
      this.#left -= mine.length;
      return mine.length;
    }
    const direct = this.room?.length ?? 0;
    if (direct > 0) {
      this.#reading?.target.set(mine.subarray(0, direct), this.#reading.filled);
      this.arrived(Math.min(mine.length, direct));
    }
    if (mine.length > direct) {
      this.#early.push(new Uint8Array(mine.subarray(direct)));
      this.#left -= mine.length - direct;
    }
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
