import type { Socket } from 'node:net';
import { bodyReceived } from '../store/young-memory.ts';

/** Where bytes of a connection go. Both functions tell whether more may come now. */
export interface ByteTaker {
  /** Where the next bytes are to be written; undefined for a place of the reader's own. */
  room(): Uint8Array | undefined;
  /** So many bytes have been written into the last {@link room}. */
  arrived(bytes: number): boolean;
  /** @param bytes are overwritten after the call */
  take(bytes: Buffer): boolean;
}

/** Reads from a connection. */
export interface SocketReader {
  start(): void;
  /** Goes on after a call that told to wait. */
  resume(): void;
  /** Reads no more: the socket behaves as any other from here on. */
  release(): void;
}

interface Handle {
  useUserBuffer(buffer: Uint8Array): void;
}

/** What net.Socket keeps to itself. */
interface SocketInside {
  readonly _handle: unknown;
}

/** Every connection reads into it, since what is read is taken before the next read of any. */
const SHARED = Buffer.allocUnsafeSlow(32 * 1024);

/** Its beginnings, since most requests of a client are of the same few lengths. */
const beginnings: Buffer[] = [];
const MAX_KEPT = 2048;

function shared(bytes: number): Buffer {
  if (bytes > MAX_KEPT) return SHARED.subarray(0, bytes);
  return (beginnings[bytes] ??= SHARED.subarray(0, bytes));
}

/**
 * Reads a connection that has just been accepted, or whose handshake is over.
 *
 * It is read into memory of ours: a stream gets a buffer for each read, which costs a large body four times the
 * CPU, and an upload's bytes come to lie where they are hashed and written from without a copy. Node offers this
 * for the sockets that a program opens (`onread`), not for those that a server accepts, so they are told of it in
 * the way in which Node tells its own. Where Node is made otherwise, the socket is read as a stream.
 */
export function openReader(socket: Socket, taker: ByteTaker): SocketReader {
  const slots = slotsOf(socket);
  const { _handle: handle } = socket as unknown as SocketInside;
  if (slots === undefined || !readsIntoBuffers(handle) || socket.readableLength > 0) {
    return readStream(socket, taker);
  }
  return readDirectly(socket, { slots, handle }, taker);
}

function readsIntoBuffers(handle: unknown): handle is Handle {
  return typeof handle === 'object' && handle !== null && 'useUserBuffer' in handle;
}

/** Where a socket keeps what `onread` said. */
interface Slots {
  readonly buffer: symbol;
  readonly next: symbol;
  readonly callback: symbol;
}

function slotsOf(socket: Socket): Slots | undefined {
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined => symbols.find(({ description }) => description === name);
  const [buffer, next, callback] = [named('kBuffer'), named('kBufferGen'), named('kBufferCb')];
  if (buffer === undefined || next === undefined || callback === undefined) return undefined;
  return { buffer, next, callback };
}

function readDirectly(
  socket: Socket,
  { slots, handle }: { readonly slots: Slots; readonly handle: Handle },
  taker: ByteTaker,
): SocketReader {
  let released = false;
  let waiting = true;
  let room: Uint8Array = SHARED;
  const resume = (): void => {
    if (!waiting) return;
    waiting = false;
    socket.resume();
  };
  const next = (): Uint8Array => (room = (released ? undefined : taker.room()) ?? SHARED);
  const callback = (bytes: number, buffer: Uint8Array): boolean => {
    if (released) return socket.push(Buffer.from(buffer.subarray(0, bytes)));
    const more = room === SHARED ? taker.take(shared(bytes)) : taker.arrived(bytes);
    if (!more) waiting = true;
    // What one turn has decrypted comes in pieces, all of it, whatever was answered to the first ones.
    else resume();
    return !waiting;
  };
  const first = next();
  Object.assign(socket, { [slots.buffer]: first, [slots.next]: next, [slots.callback]: callback });
  handle.useUserBuffer(first);
  return { start: resume, resume, release: () => (released = true) };
}

/** Reads a connection as any stream. */
export function readStream(socket: Socket, taker: ByteTaker): SocketReader {
  const onData = (bytes: Buffer): void => {
    bodyReceived(bytes.length);
    if (!taker.take(bytes)) socket.pause();
  };
  const resume = (): void => {
    if (socket.isPaused()) socket.resume();
  };
  return {
    start: () => socket.on('data', onData),
    resume,
    release: () => {
      socket.off('data', onData);
      // Who comes next takes it for a socket that flows, as one is that was just accepted.
      resume();
    },
  };
}
