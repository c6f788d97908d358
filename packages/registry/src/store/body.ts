import { bodyReceived } from './young-memory.ts';

/** Bytes that come in, and go where their reader wants them. */
export interface Body {
  /**
   * Writes the next bytes into `target`, which must not be used until this settles. One call at a time.
   *
   * @returns their number: less than `target` has room for where the body ended or broke off, 0 once it has ended
   * @throws what broke it off, after the bytes that had come before it
   */
  fill(target: Uint8Array): Promise<number>;
}

/** Pieces that come one after the other, as a body. */
export function bodyOfPieces(pieces: AsyncIterable<Uint8Array>): Body {
  let iterator: AsyncIterator<Uint8Array> | undefined;
  let piece: Uint8Array = new Uint8Array(0);
  let failure: { readonly error: unknown } | undefined;
  const next = async (): Promise<boolean> => {
    iterator ??= pieces[Symbol.asyncIterator]();
    const result = await iterator.next();
    if (result.done === true) return false;
    piece = result.value;
    bodyReceived(piece.length);
    return true;
  };
  return {
    fill: async (target) => {
      if (failure !== undefined) throw failure.error;
      let filled = 0;
      try {
        while (filled < target.length) {
          if (piece.length === 0 && !(await next())) break;
          const part = piece.subarray(0, target.length - filled);
          target.set(part, filled);
          filled += part.length;
          piece = piece.subarray(part.length);
        }
      } catch (error) {
        if (filled === 0) throw error;
        failure = { error };
      }
      return filled;
    },
  };
}

/**
 * Reads a body that has at most `limit` bytes, or the beginning of a larger one.
 *
 * @param expected bytes of the body, where they are known
 * @returns up to `limit` bytes, and one more when the body is larger
 */
export async function readUpTo(body: Body, limit: number, expected: number | undefined): Promise<Buffer> {
  let buffer = Buffer.allocUnsafe(Math.min(expected ?? FIRST, limit) + 1);
  let length = 0;
  for (;;) {
    const filled = await body.fill(buffer.subarray(length));
    length += filled;
    if (filled === 0 || length > limit) return buffer.subarray(0, length);
    if (length < buffer.length) continue;
    const larger = Buffer.allocUnsafe(Math.min(buffer.length * 4, limit + 1));
    buffer.copy(larger);
    buffer = larger;
  }
}

/** Room for a body of unknown size at first, in bytes. */
const FIRST = 16 * 1024;
