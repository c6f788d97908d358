import type { Socket } from 'node:net';
import { type Head, parsePlainHead } from './head.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import type { Outbox } from './outbox.ts';
import { Pace } from './pace.ts';
import { PlainBody } from './plain-body.ts';
import { PlainRequest } from './plain-request.ts';
import { type AnswerEnd, PlainResponse } from './plain-response.ts';
import { openReader, type SocketReader } from './socket-reader.ts';

/** What connections are served with. */
export interface ConnectionParts {
  /** Answers one request. */
  readonly serve: (request: HttpRequest, response: HttpResponse) => void;
  /** Takes a connection over for good, with bytes that have been read from it. */
  readonly handOver: (socket: Socket, bytes: Buffer) => void;
  readonly outbox: Outbox;
  readonly closed: (connection: PlainConnection) => void;
  /** Milliseconds. */
  readonly now: () => number;
  /** How long a connection may be silent before its first request, in milliseconds. */
  readonly firstMs: number;
  /** How long a connection may be silent after it, in milliseconds. */
  readonly idleMs: number;
  /** Whether no connection is to be kept open any more. */
  readonly stopping: () => boolean;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const MAX_HEAD = 8 * 1024;
/** Bytes of a body that are read and dropped after its answer so that the connection can go on. */
const DROP_LIMIT = 1024 * 1024;
/** How long a client may take to read the last answer, in milliseconds. */
const LAST_MS = 5000;
/** Heads up to this size are remembered: a client that polls sends the same again and again. */
const REMEMBERED = 2048;

/**
 * A connection whose requests are plain, one after the other. With the first one that is not, the
 * connection goes to the HTTP server of Node for good.
 */
export class PlainConnection implements AnswerEnd {
  readonly #socket: Socket;
  readonly #parts: ConnectionParts;
  readonly #reader: SocketReader;
  #body: PlainBody | undefined;
  #response: PlainResponse | undefined;
  #rest: Buffer | undefined;
  #lastBytes: Buffer | undefined;
  #lastHead: Head | undefined;
  #began = false;
  /** The client sends no more. */
  #halfClosed = false;
  #state: 'serving' | 'handed-over' | 'ending' = 'serving';

  constructor(socket: Socket, parts: ConnectionParts) {
    this.#socket = socket;
    this.#parts = parts;
    this.#reader = openReader(socket, {
      room: () => this.#body?.room,
      arrived: (bytes) => this.#arrived(bytes),
      take: (bytes) => this.#take(bytes),
    });
    this.#socket.setTimeout(parts.firstMs);
    this.#socket.on('timeout', this.#onTimeout);
    this.#socket.on('error', ignore);
    this.#socket.on('end', this.#onEnd);
    this.#socket.on('close', this.#onClose);
    this.#reader.start();
  }

  /** Whether no request is being answered, and none has an answer that the client may still have to read. */
  get idle(): boolean {
    return this.#response === undefined && this.#state !== 'ending';
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Where the reader put them: into the body's room. Returns whether more may come. */
  #arrived(bytes: number): boolean {
    this.#body?.arrived(bytes);
    return this.#mayRead;
  }

  /** Bytes that nobody waits for stay with the kernel; but the end of a connection is noticed at any time. */
  get #mayRead(): boolean {
    if (this.#state === 'ending') return true;
    if (this.#rest !== undefined) return false;
    const body = this.#body;
    return body === undefined || body.left === 0 || body.open;
  }

  /** @param bytes are the reader's, and are overwritten later. Returns whether more may come. */
  #take(bytes: Buffer): boolean {
    if (this.#state === 'ending') return true;
    const body = this.#body;
    let rest = bytes;
    if (body !== undefined && body.left > 0) {
      rest = bytes.subarray(body.take(bytes));
      if (rest.length === 0) return this.#mayRead;
    }
    if (this.#response === undefined && this.#rest === undefined) return this.#begin(rest);
    this.#rest = this.#rest === undefined ? Buffer.from(rest) : Buffer.concat([this.#rest, rest]);
    return this.#mayRead;
  }

  #begin(bytes: Buffer): boolean {
    const known = this.#lastBytes?.equals(bytes) === true ? this.#lastHead : undefined;
    const read = known === undefined ? readHead(bytes) : { head: known, size: bytes.length };
    if (read === undefined) {
      this.#handOver(bytes);
      return true;
    }
    const { head, size } = read;
    if (known === undefined && head.length === 0 && size === bytes.length && size <= REMEMBERED) {
      this.#lastBytes = Buffer.from(bytes);
      this.#lastHead = head;
    }
    if (!this.#began) {
      this.#began = true;
      this.#socket.setTimeout(this.#parts.idleMs);
    }
    const body = new PlainBody(head.length, new Pace(this.#parts.now), () => this.#reader.resume());
    const response = new PlainResponse(this.#socket, head, this);
    this.#body = body;
    this.#response = response;
    let rest = bytes.subarray(size);
    if (body.left > 0 && rest.length > 0) rest = rest.subarray(body.take(rest));
    if (rest.length > 0) this.#rest = Buffer.from(rest);
    this.#parts.serve(new PlainRequest(this.#socket, head, body), response);
    return this.#mayRead;
  }

  get outbox(): Outbox {
    return this.#parts.outbox;
  }

  get last(): boolean {
    return (this.#halfClosed && this.#rest === undefined) || this.#parts.stopping();
  }

  /** On to the next request, or to the end. */
  ended(): void {
    const response = this.#response;
    const body = this.#body;
    if (response === undefined || body === undefined) return;
    this.#response = undefined;
    response.close();
    if (this.#state !== 'serving' || this.#socket.destroyed) return;
    if (response.closes || this.last || body.left > DROP_LIMIT) {
      this.#end();
      return;
    }
    body.drop();
    if (this.#rest !== undefined) setImmediate(() => this.#next());
    else this.#reader.resume();
  }

  /** The request that came with the one before. */
  #next(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (this.#socket.destroyed || rest === undefined) return;
    if (this.#take(rest) && this.#state === 'serving') this.#reader.resume();
  }

  /** Ends the connection when the client has read what was sent: closing at once could take it from it. */
  #end(): void {
    this.#state = 'ending';
    this.#rest = undefined;
    this.#socket.end();
    this.#socket.setTimeout(LAST_MS);
    const over = setTimeout(() => this.#socket.destroy(), LAST_MS);
    over.unref();
    this.#socket.once('close', () => clearTimeout(over));
    if (this.#halfClosed) this.#socket.destroySoon();
    else this.#reader.resume();
  }

  #handOver(bytes: Buffer): void {
    this.#state = 'handed-over';
    const socket = this.#socket;
    socket.setTimeout(0);
    socket.off('timeout', this.#onTimeout);
    socket.off('error', ignore);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onClose);
    this.#reader.release();
    this.#parts.closed(this);
    this.#parts.handOver(socket, Buffer.from(bytes));
  }

  readonly #onTimeout = (): void => {
    this.#socket.destroy();
  };

  readonly #onEnd = (): void => {
    this.#halfClosed = true;
    // Over TLS the end is told of while the socket is paused.
    if (this.#response === undefined && this.#rest === undefined) this.#socket.destroySoon();
    else if ((this.#body?.left ?? 0) > 0) this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#body?.break(new ConnectionLostError());
    this.#response?.close();
    this.#response = undefined;
    this.#parts.closed(this);
  };
}

/** The client is gone in the middle of a request. */
class ConnectionLostError extends Error {
  readonly code = 'ECONNRESET';

  constructor() {
    super('The connection was closed by the client.');
  }
}

function ignore(): void {
  // What follows is the end of the connection, which is told of by itself.
}

/** The head at the beginning of what was read, where all of it is there and it is plain. */
function readHead(bytes: Buffer): { readonly head: Head; readonly size: number } | undefined {
  const end = bytes.subarray(0, MAX_HEAD).indexOf(HEAD_END);
  if (end < 0) return undefined;
  const size = end + HEAD_END.length;
  const head = parsePlainHead(bytes.toString('latin1', 0, size));
  return head === undefined ? undefined : { head, size };
}
