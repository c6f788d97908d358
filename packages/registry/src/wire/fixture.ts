import { createHash } from 'node:crypto';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { selfSigned } from '../fixture-certificate.ts';
import type { Body } from '../store/body.ts';
import { Tls } from '../tls.ts';
import { Front, type FrontOptions } from './front.ts';
import type { HttpRequest, HttpResponse } from './message.ts';

/** How a test connects. */
export type Transport = 'plain' | 'tls';

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  /** Lines of the head after the first. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** A connection on which a test says every byte, and when. */
export class WireClient {
  readonly socket: Socket;
  readonly #pieces: Buffer[] = [];
  /** What went wrong on it. */
  error: Error | undefined;
  /** The other side has sent all that it will. */
  finished = false;
  /** Resolves when the connection is over. */
  readonly ended: Promise<void>;

  constructor({ port }: AddressInfo, transport: Transport) {
    const options = { port, host: '127.0.0.1' };
    this.socket =
      transport === 'plain' ? connect(options) : connectTls({ ...options, rejectUnauthorized: false });
    this.socket.setNoDelay(true);
    this.socket.on('data', (piece: Buffer) => this.#pieces.push(piece));
    this.socket.on('error', (error) => (this.error = error));
    this.socket.on('end', () => (this.finished = true));
    this.ended = new Promise((resolve) => this.socket.on('close', () => resolve()));
  }

  /** Resolves when the kernel has it. */
  async write(bytes: string | Uint8Array): Promise<void> {
    await new Promise((resolve) => this.socket.write(bytes, 'latin1', resolve));
  }

  get received(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  /** The answers so far, interim ones left out. @param methods those of the requests, where one is a HEAD */
  answers(methods: readonly string[] = []): RawAnswer[] {
    const answers: RawAnswer[] = [];
    let rest = this.received;
    for (;;) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) return answers;
      const [line = '', ...headers] = rest.toString('latin1', 0, end).split('\r\n');
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
      if (Number.isNaN(status)) throw new Error(`not the first line of an answer: ${line.slice(0, 100)}`);
      const told = headers.find((header) => /^content-length:/i.test(header));
      const none = methods[answers.length] === 'HEAD' || told === undefined;
      const length = none ? 0 : Number(told.slice('content-length:'.length));
      const body = rest.subarray(end + 4, end + 4 + length);
      if (body.length < length) return answers;
      rest = rest.subarray(end + 4 + length);
      if (status !== 100) answers.push({ status, headers, body });
    }
  }
}

type Serve = (request: HttpRequest, response: HttpResponse) => Promise<void>;

/** A front that listens on loopback, and its clients. */
export class FrontFixture {
  readonly front: Front;
  readonly transport: Transport;
  readonly #clients: WireClient[] = [];

  private constructor(front: Front, transport: Transport) {
    this.front = front;
    this.transport = transport;
  }

  static async start(
    transport: Transport,
    serve: Serve = describeRequest,
    options: Partial<FrontOptions> = {},
  ): Promise<FrontFixture> {
    const front = new Front({
      serve,
      tls: transport === 'plain' ? undefined : new Tls(MATERIAL, undefined),
      secured: () => undefined,
      now: () => Date.now(),
      headersMs: undefined,
      idleMs: undefined,
      ...options,
    });
    await front.listen('127.0.0.1', 0);
    return new FrontFixture(front, transport);
  }

  get address(): AddressInfo {
    const { address } = this.front;
    if (address === undefined) throw new Error('The front does not listen.');
    return address;
  }

  connect(): WireClient {
    const client = new WireClient(this.address, this.transport);
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await this.front.close(() => undefined);
  }
}

const MATERIAL = selfSigned();

/** Answers with what came: method, target, and size and digest of the body. */
export async function describeRequest(request: HttpRequest, response: HttpResponse): Promise<void> {
  const body = await readAll(request.body());
  answer(response, 200, described(request.method, request.url, body));
}

/** What {@link describeRequest} says of a request. */
export function described(method: string, url: string, body: Uint8Array): string {
  return `${method} ${url} ${body.length} ${createHash('sha256').update(body).digest('hex')}`;
}

/** Answers at once. */
export function answer(response: HttpResponse, status: number, text: string | Buffer): void {
  response.writeHead(status, { 'content-length': Buffer.byteLength(text) });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

/** The rest of a body, read in pieces of many sizes. */
export async function readAll(body: Body): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let size = 1; ; size = (size * 7) % 65_537) {
    const target = Buffer.alloc(size);
    const filled = await body.fill(target);
    if (filled === 0) return Buffer.concat(pieces);
    pieces.push(target.subarray(0, filled));
  }
}

/** A request in one piece. */
export function requestOf(line: string, body: Buffer | string = '', fields: readonly string[] = []): Buffer {
  const length = body.length === 0 ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const head = [`${line} HTTP/1.1`, 'Host: x', ...length, ...fields].join('\r\n');
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), Buffer.from(body)]);
}

/** A PUT whose body comes in chunks. */
export function chunkedPut(path: string, body: Buffer, fields: readonly string[] = []): Buffer {
  const head = [`PUT ${path} HTTP/1.1`, 'Host: x', 'Transfer-Encoding: chunked', ...fields].join('\r\n');
  const parts: Buffer[] = [Buffer.from(`${head}\r\n\r\n`)];
  for (let at = 0; at < body.length; at += 10_000) {
    const part = body.subarray(at, at + 10_000);
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}
