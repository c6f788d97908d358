import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { constants, crc32, deflateRaw, gunzip } from 'node:zlib';
import { errorMessage, systemCode } from '@mural/core';
import { OciError } from './errors.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify(gunzip);

/** Part of the format: another length gives other bytes and so other digests. */
const CHUNK = 1024 * 1024;
/** How far back deflate may refer (RFC 1951). */
const WINDOW = 32 * 1024;
const LEVEL = 6;
/** RFC 1952: deflate, no flags, time 0, no extra flags, system 255 (unknown), as Go writes it. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

/**
 * Compresses to one gzip member whose bytes depend on the input and on zlib's version alone.
 *
 * Pieces of 1 MiB are deflated side by side in libuv's thread pool, each with the 32 KiB before it as
 * its dictionary, and ended on a byte boundary, so that they join to one stream that every reader takes.
 */
export async function gzipDeterministic(bytes: Uint8Array): Promise<Buffer> {
  const count = Math.max(1, Math.ceil(bytes.length / CHUNK));
  const parts = new Array<Buffer>(count);
  let next = 0;
  let checksum = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      const index = next;
      next += 1;
      const start = index * CHUNK;
      const piece = bytes.subarray(start, start + CHUNK);
      // Pieces are taken up in order, and this runs before the first await of each turn.
      checksum = crc32(piece, checksum);
      parts[index] = await deflate(piece, {
        level: LEVEL,
        memLevel: 8,
        windowBits: 15,
        // Memory, not format: a small piece must not cost a large buffer.
        chunkSize: Math.min(256 * 1024, Math.max(1024, piece.length)),
        finishFlush: index === count - 1 ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
        ...(start === 0 ? {} : { dictionary: bytes.subarray(start - WINDOW, start) }),
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, availableParallelism(), 4) }, work));
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(checksum, 0);
  trailer.writeUInt32LE(bytes.length % 2 ** 32, 4);
  return Buffer.concat([HEADER, ...parts, trailer]);
}

/** Whether bytes start as a gzip member does. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 3 && bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8;
}

/**
 * Decompresses in the thread pool, to no more than `maxBytes`.
 *
 * @throws OciError `ArchiveInvalid` when it is damaged, cut short or would become larger
 */
export async function gunzipBounded(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  try {
    return await inflate(bytes, { maxOutputLength: maxBytes, chunkSize: 256 * 1024 });
  } catch (cause) {
    const why =
      systemCode(cause) === 'ERR_BUFFER_TOO_LARGE'
        ? `it unpacks to more than ${maxBytes} bytes`
        : errorMessage(cause);
    throw new OciError('ArchiveInvalid', `the compressed archive cannot be read: ${why}`, { cause });
  }
}
