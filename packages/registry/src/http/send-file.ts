import type { FileHandle } from 'node:fs/promises';
import type { ByteRange } from './range.ts';
import type { HttpResponse } from '../wire/message.ts';

/** Size of one read, in bytes: small reads cost a third of the throughput. */
const LARGE = 512 * 1024;
/** Size of one read when too many transfers hold large buffers, in bytes. */
const SMALL = 64 * 1024;
/** Large buffers that exist at a time, over all transfers. */
const MAX_LARGE = 64;

const idle: Buffer[] = [];
let made = 0;

/**
 * Writes a part of a file to a response, as fast as the client takes it. Each transfer uses two
 * buffers, one being sent while the other is filled; buffers are used again by the next transfer.
 *
 * Breaks the connection when the file ends early, so that a client never takes a part for the whole.
 */
export async function sendFile(
  response: HttpResponse,
  file: FileHandle,
  { start, end }: ByteRange,
): Promise<void> {
  const buffers = [takeBuffer(), takeBuffer()];
  let position = start;
  let sending: Promise<boolean> = Promise.resolve(true);
  try {
    for (let turn = 0; position <= end; turn += 1) {
      const buffer = buffers[turn % 2] ?? Buffer.alloc(SMALL);
      const wanted = Math.min(buffer.length, end - position + 1);
      const { bytesRead } = await file.read(buffer, 0, wanted, position);
      if (!(await sending)) return;
      if (bytesRead === 0) throw new Error('The file ended before its time.');
      position += bytesRead;
      sending = write(response, buffer.subarray(0, bytesRead));
    }
    if (await sending) response.end();
  } catch (error) {
    response.destroy();
    throw error;
  } finally {
    await sending;
    buffers.forEach(giveBack);
  }
}

/** Resolves once the bytes have left the buffer: true, or false when the connection is gone. */
export function write(response: HttpResponse, bytes: Uint8Array): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const closed = (): void => resolve(false);
    response.once('close', closed);
    response.write(bytes, (error) => {
      response.off('close', closed);
      resolve(error === undefined || error === null);
    });
  });
}

function takeBuffer(): Buffer {
  const free = idle.pop();
  if (free !== undefined) return free;
  if (made >= MAX_LARGE) return Buffer.allocUnsafeSlow(SMALL);
  made += 1;
  return Buffer.allocUnsafeSlow(LARGE);
}

function giveBack(buffer: Buffer): void {
  if (buffer.length === LARGE) idle.push(buffer);
}
