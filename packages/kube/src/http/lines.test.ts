import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitLines } from './lines.ts';

async function* chunked(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function collect(stream: AsyncIterable<string>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of stream) lines.push(line);
  return lines;
}

describe('splitLines', () => {
  it('gives the same lines however the bytes are cut', async () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => /^\S(.*\S)?$/u.test(text));
    await fc.assert(
      fc.asyncProperty(
        fc.array(line),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        async (lines, sizes) => {
          const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
          expect(await collect(splitLines(chunked(bytes, sizes), 1000))).toEqual(lines);
        },
      ),
    );
  });

  it('gives a last line without line feed, and leaves empty lines out', async () => {
    expect(await collect(splitLines(chunked(Buffer.from('a\n\r\n\nb'), [3]), 10))).toEqual(['a', 'b']);
  });

  it.each([[[1]], [[100]]])('refuses a line over the limit, in chunks of %j', async (sizes) => {
    const stream = splitLines(chunked(Buffer.from(`ok\n${'x'.repeat(11)}\n`), sizes), 10);
    await expect(collect(stream)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });
});
