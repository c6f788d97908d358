import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where a registry listens. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** PEM of the CA, where it speaks TLS. */
  readonly ca?: string | undefined;
}

/** The answer to one request. Bodies are counted and dropped. */
export interface Answer {
  readonly status: number;
  /** The lines of the head. */
  readonly head: string;
  readonly bytes: number;
}

interface Pending {
  readonly hasBody: boolean;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

interface Reading {
  readonly status: number;
  readonly head: string;
  /** Bytes of the body still to come; `undefined` for a chunked one. */
  left: number | undefined;
  bytes: number;
  /** The last bytes of a chunked body, to see its end. */
  tail: Buffer;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const MAX_HEAD = 64 * 1024;
const NOTHING = Buffer.alloc(0);

/**
 * One keep-alive connection, one request at a time. It parses no more than it must, so that the server
 * and not the client is what is measured.
 */
export class Connection {
  readonly #socket: Socket;
  #pending: Pending | undefined;
  #head: Buffer = NOTHING;
  #reading: Reading | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static async open({ host, port, ca }: Target): Promise<Connection> {
    const socket = ca === undefined ? connectPlain({ host, port }) : connectTls({ host, port, ca });
    await new Promise<void>((resolve, reject) => {
      socket.once(ca === undefined ? 'connect' : 'secureConnect', resolve);
      socket.once('error', reject);
    });
    return new Connection(socket);
  }

  /** Sends a request whose bytes are ready, and waits for the whole answer. */
  async send(request: readonly Uint8Array[], hasBody = true): Promise<Answer> {
    if (this.#pending !== undefined) throw new Error('the connection is busy');
    return new Promise((resolve, reject) => {
      this.#pending = { hasBody, resolve, reject };
      if (request.length > 1) this.#socket.cork();
      for (const part of request) this.#socket.write(part);
      if (request.length > 1) this.#socket.uncork();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#reading !== undefined) {
      this.#body(this.#reading, chunk);
      return;
    }
    this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf(HEAD_END);
    if (end < 0) {
      if (this.#head.length > MAX_HEAD) this.#fail(new Error('an answer without end of headers'));
      return;
    }
    const text = this.#head.toString('latin1', 0, end);
    const rest = this.#head.subarray(end + HEAD_END.length);
    this.#head = NOTHING;
    const status = Number(text.slice(9, 12));
    const hasBody = (this.#pending?.hasBody ?? false) && status !== 204 && status !== 304;
    const left = hasBody ? lengthIn(text) : 0;
    this.#reading = { status, head: text, left, bytes: 0, tail: NOTHING };
    this.#body(this.#reading, rest);
  }

  #body(reading: Reading, chunk: Buffer): void {
    reading.bytes += chunk.length;
    if (reading.left !== undefined) {
      reading.left -= chunk.length;
      if (reading.left > 0) return;
    } else {
      reading.tail = Buffer.concat([reading.tail, chunk]).subarray(-LAST_CHUNK.length);
      if (!reading.tail.equals(LAST_CHUNK)) return;
    }
    const pending = this.#pending;
    this.#pending = undefined;
    this.#reading = undefined;
    pending?.resolve({ status: reading.status, head: reading.head, bytes: reading.bytes });
  }

  #fail(error: Error): void {
    this.#pending?.reject(error);
    this.#pending = undefined;
  }
}

/** The bytes of a request without its body. */
export function requestHead(
  method: string,
  path: string,
  target: Target,
  headers: Readonly<Record<string, string | number>> = {},
): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    `${method} ${path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\n${lines.join('')}\r\n`,
    'latin1',
  );
}

/** The value of a header in the head of an answer. */
export function headerIn(head: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'im').exec(head)?.[1]?.trim();
}

/** Bytes of the body; undefined for a chunked one. */
function lengthIn(head: string): number | undefined {
  const length = /\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return Number(length);
  return headerIn(head, 'transfer-encoding') === 'chunked' ? undefined : 0;
}
