import { KubeError } from '../errors.ts';

const NEWLINE = 0x0a;

/**
 * Cuts a stream into its lines, without the line feed; empty lines are left out.
 *
 * @param maxBytes the longest line that is accepted
 * @throws KubeError `InvalidResponse` when a line is longer
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<string, void, undefined> {
  let pending: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      check(size + end - start, maxBytes);
      const line = join(pending, bytes.subarray(start, end));
      pending = [];
      size = 0;
      start = end + 1;
      if (line !== '') yield line;
    }
    if (start < bytes.length) {
      // A copy, so that a short rest does not keep a large chunk in memory.
      pending.push(Buffer.from(bytes.subarray(start)));
      size += bytes.length - start;
      check(size, maxBytes);
    }
  }
  const rest = join(pending, Buffer.alloc(0));
  if (rest !== '') yield rest;
}

function check(size: number, maxBytes: number): void {
  if (size > maxBytes) {
    throw new KubeError('InvalidResponse', `a line of the watch is longer than ${maxBytes} bytes`);
  }
}

function join(pending: readonly Buffer[], last: Buffer): string {
  const whole = pending.length === 0 ? last : Buffer.concat([...pending, last]);
  return whole.toString('utf8').trimEnd();
}
