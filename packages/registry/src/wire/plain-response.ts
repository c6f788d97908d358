import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Headers, HttpResponse } from './message.ts';
import type { Outbox, Sendable } from './outbox.ts';

/** What an answer asks of its connection. */
export interface AnswerEnd {
  /** The answer is with the kernel, or the connection is gone. */
  ended(): void;
  /** Whether this is the last answer on this connection. */
  readonly last: boolean;
  /** Where answers in one piece are left. */
  readonly outbox: Outbox;
}

/** RFC 9110, 5.5, without what is not ASCII. */
const VALUE = /^[\t -~]*$/;
const NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Bodies up to this size go out in one piece with the head, in bytes. */
const WITH_HEAD = 16 * 1024;
const statusLines = new Map<number, string>();

/** The answer to a plain request. Its length is always said, so that a part is never taken for the whole. */
export class PlainResponse implements HttpResponse, Sendable {
  readonly req: { readonly method: string };
  statusCode = 200;
  headersSent = false;
  readonly #socket: Socket;
  readonly #connection: AnswerEnd;
  #extra = '';
  #head: string | undefined;
  /** Head and body of an answer that waits for its turn. */
  #whole: string | Uint8Array = '';
  #closes = false;
  /** Bytes of the body that the head promises and that have not been written. */
  #promised = 0;
  #listeners: (() => void)[] = [];
  #closed = false;

  constructor(socket: Socket, request: { readonly method: string }, connection: AnswerEnd) {
    this.req = request;
    this.#socket = socket;
    this.#connection = connection;
  }

  get destroyed(): boolean {
    return this.#closed || this.#socket.destroyed;
  }

  /** Whether the connection ends with this answer. */
  get closes(): boolean {
    return this.#closes;
  }

  setHeader(name: string, value: string | readonly string[]): void {
    if (name === 'connection' && value === 'close') {
      this.#closes = true;
      return;
    }
    for (const one of typeof value === 'string' ? [value] : value) this.#extra += line(name, one);
  }

  writeHead(status: number, headers: Headers): void {
    if (this.headersSent) throw new Error('The head of this answer has been sent.');
    if (this.#connection.last) this.#closes = true;
    const fields = this.#closes ? 'connection: close\r\n' : KEEP_ALIVE;
    let head = `${statusLine(status)}${dateLine()}${fields}${this.#extra}`;
    for (const name in headers) head += line(name, headers[name] ?? '');
    this.statusCode = status;
    this.headersSent = true;
    this.#head = `${head}\r\n`;
    const bodyless = this.req.method === 'HEAD' || status === 204 || status === 304;
    this.#promised = bodyless ? 0 : Number(headers['content-length']);
    if (!(this.#promised >= 0)) throw new Error('The length of this answer is not known.');
  }

  write(body: string | Uint8Array, done?: (error?: Error | null) => void): boolean {
    if (this.destroyed) {
      done?.(new Error('The connection is gone.'));
      return false;
    }
    const bytes = this.#promisedPart(body);
    const head = this.#head;
    this.#head = undefined;
    if (head !== undefined) this.#socket.write(head, 'latin1');
    return this.#socket.write(bytes, done);
  }

  end(body: string | Uint8Array = ''): void {
    if (this.destroyed) return;
    const bytes = this.#promisedPart(body);
    if (this.#promised > 0) {
      this.destroy();
      return;
    }
    if (this.#head === undefined || bytes.length > WITH_HEAD) {
      this.#promised += bytes.length;
      if (bytes.length > 0) this.write(bytes);
      this.#sent();
      return;
    }
    this.#whole = bytes.length === 0 ? this.#head : joined(this.#head, bytes);
    this.#head = undefined;
    this.#connection.outbox.add(this);
  }

  /** Sends an answer that was put together. */
  send(): void {
    if (this.destroyed) return;
    this.#socket.write(this.#whole, 'latin1');
    this.#whole = '';
    this.#sent();
  }

  #promisedPart(body: string | Uint8Array): Uint8Array {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    this.#promised -= bytes.length;
    if (this.#promised < 0) throw new Error('More than the length of this answer.');
    return bytes;
  }

  #sent(): void {
    if (this.#socket.writableLength === 0) this.#connection.ended();
    else this.#socket.write('', () => this.#connection.ended());
  }

  destroy(): void {
    this.#socket.destroy();
  }

  once(_event: 'close', listener: () => void): void {
    this.#listeners.push(listener);
  }

  off(_event: 'close', listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  /** Tells who waits for the end of this answer. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }
}

/** How long a connection may be idle, as a client is told, in seconds: less than it is in truth. */
const KEEP_ALIVE = 'connection: keep-alive\r\nkeep-alive: timeout=75\r\n';

function line(name: string, value: string | number): string {
  if (typeof value === 'string' && !VALUE.test(value))
    throw new TypeError(`The header ${name} has a bad value.`);
  if (!NAME.test(name)) throw new TypeError('A header has a bad name.');
  return `${name}: ${value}\r\n`;
}

function joined(head: string, body: Uint8Array): Buffer {
  const all = Buffer.allocUnsafe(head.length + body.length);
  all.write(head, 'latin1');
  all.set(body, head.length);
  return all;
}

function statusLine(status: number): string {
  let text = statusLines.get(status);
  if (text === undefined) {
    text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
    statusLines.set(status, text);
  }
  return text;
}

let dated = 0;
let date = '';

/** The same for all answers of a second (RFC 9110, 6.6.1). */
function dateLine(): string {
  const now = Date.now();
  if (now - dated >= 1000 || now < dated) {
    dated = now - (now % 1000);
    date = `date: ${new Date(now).toUTCString()}\r\n`;
  }
  return date;
}
