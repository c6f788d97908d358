import { RegistryError } from '../errors.ts';

const CR = 0x0d;
const LF = 0x0a;
/** Size in hexadecimal, then plain extensions, which nobody here knows and RFC 9112, 7.1.1 tells to ignore. */
const SIZE_LINE = /^([0-9A-Fa-f]{1,8})(?:;[A-Za-z0-9._-]+(?:=[A-Za-z0-9._-]+)?)*$/;
const MAX_LINE = 256;

/**
 * The frame of a body in chunks (RFC 9112, 7.1), read in the one way that all agree on: lines end with CR and LF,
 * sizes are plain hexadecimal numbers, and no trailers follow, since they would have to be announced.
 */
export class Chunks {
  #next: 'size' | 'payload' | 'end of chunk' | 'end of body' | 'nothing' = 'size';
  #payload = 0;
  #line = '';

  /** Whether the whole body has come. */
  get ended(): boolean {
    return this.#next === 'nothing';
  }

  /** Bytes of the chunk that are still to come; 0 where something of the frame comes first. */
  get payload(): number {
    return this.#payload;
  }

  /** Bytes of {@link payload} have come. */
  passed(bytes: number): void {
    this.#payload -= bytes;
    if (this.#payload === 0) this.#next = 'end of chunk';
  }

  /**
   * Reads what of the frame is at the beginning of `bytes`.
   *
   * @returns its bytes: payload, the end of the body or the end of `bytes` follows
   * @throws RegistryError `BodyInvalid`
   */
  read(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#payload === 0 && this.#next !== 'nothing') {
      this.#character(bytes[at] ?? 0);
      at += 1;
    }
    return at;
  }

  #character(code: number): void {
    const ends = this.#line.endsWith('\r');
    if (ends !== (code === LF) || this.#line.length >= MAX_LINE) throw invalid();
    if (!ends) {
      if (code !== CR && this.#next !== 'size') throw invalid();
      this.#line += String.fromCharCode(code);
      return;
    }
    const line = this.#line.slice(0, -1);
    this.#line = '';
    this.#lineEnded(line);
  }

  #lineEnded(line: string): void {
    if (this.#next === 'end of body') this.#next = 'nothing';
    else if (this.#next === 'end of chunk') this.#next = 'size';
    else {
      const size = SIZE_LINE.exec(line)?.[1];
      if (size === undefined) throw invalid();
      this.#payload = Number.parseInt(size, 16);
      this.#next = this.#payload === 0 ? 'end of body' : 'payload';
    }
  }
}

function invalid(): RegistryError {
  return new RegistryError('BodyInvalid', 'The chunks of the body cannot be read.');
}
