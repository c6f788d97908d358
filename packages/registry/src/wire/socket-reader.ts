import { Socket } from 'node:net';
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
  /** What is to be used in place of the socket that was given. */
  readonly socket: Socket;
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
  _handle: unknown;
  _server: unknown;
  server: unknown;
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
 * Reads a connection that has just been accepted.
 *
 * A plain one is read into memory of ours: a stream gets a buffer of 64 KiB for each read, which costs
 * a large body four times the CPU, and an upload's bytes come to lie where they are hashed and written
 * from without a copy. Node offers this for the sockets that a program opens (`onread`), not for those
 * that a server accepts, which are therefore given a socket of their own over the same handle. Where
 * Node is made otherwise, and over TLS, the socket is read as a stream.
 */
export function openReader(socket: Socket, taker: ByteTaker): SocketReader {
  const inside = socket as unknown as SocketInside;
  const handle = inside._handle;
  if (socket.constructor === Socket && readsIntoBuffers(handle)) return readDirectly(inside, handle, taker);
  return readStream(socket, taker);
}

function readsIntoBuffers(handle: unknown): handle is Handle {
  return typeof handle === 'object' && handle !== null && 'useUserBuffer' in handle;
}

function readDirectly(accepted: SocketInside, handle: Handle, taker: ByteTaker): SocketReader {
  let released = false;
  let waiting = true;
  let room: Uint8Array = SHARED;
  const options: object = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: (): Uint8Array => (room = (released ? undefined : taker.room()) ?? SHARED),
      callback: (bytes: number, buffer: Uint8Array): boolean => {
        if (released) return socket.push(Buffer.from(buffer.subarray(0, bytes)));
        waiting = room === SHARED ? !taker.take(shared(bytes)) : !taker.arrived(bytes);
        return !waiting;
      },
    },
  };
  const socket: Socket = new Socket(options);
  const inside = socket as unknown as SocketInside;
  inside.server = accepted.server;
  inside._server = accepted._server;
  accepted._handle = null;
  accepted._server = null;
  const resume = (): void => {
    if (waiting) socket.resume();
  };
  return { socket, start: resume, resume, release: () => (released = true) };
}

function readStream(socket: Socket, taker: ByteTaker): SocketReader {
  const onData = (bytes: Buffer): void => {
    bodyReceived(bytes.length);
    if (!taker.take(bytes)) socket.pause();
  };
  const resume = (): void => {
    if (socket.isPaused()) socket.resume();
  };
  return {
    socket,
    start: () => socket.on('data', onData),
    resume,
    release: () => {
      socket.off('data', onData);
      // Who comes next takes it for a socket that flows, as one is that was just accepted.
      resume();
    },
  };
}
