import { once } from 'node:events';
import { request, createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, pipeline, Transform } from 'node:stream';
import { TEST_TLS } from '@mural/oci/testing';

/** A request that came over a {@link Line}. */
export interface LineRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

/** A registry that requests are handed on to. */
export interface LineEnd {
  /** `host:port`. */
  readonly host: string;
  /** PEM of its CA. */
  readonly ca: string;
}

/** The line between a site and the registry of the hub: it counts what goes over it, and can damage that. */
export class Line {
  readonly requests: LineRequest[] = [];
  /** Bodies of answers to such paths have a bit flipped on their way. */
  damaged: RegExp | undefined;
  readonly #server: Server;
  readonly #end: LineEnd;

  private constructor(server: Server, end: LineEnd) {
    this.#server = server;
    this.#end = end;
  }

  static async open(end: LineEnd): Promise<Line> {
    const { cert, key } = TEST_TLS;
    const server = createServer({ cert, key });
    const line = new Line(server, end);
    server.on('request', (incoming, answer) => line.#hand(incoming, answer));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return line;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** PEM of the CA that it is trusted by. */
  readonly ca = TEST_TLS.ca;

  /** How often each blob was asked for, by digest. */
  blobs(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { method, path } of this.requests) {
      const digest = method === 'GET' ? /\/blobs\/(.+)$/.exec(path)?.[1] : undefined;
      if (digest !== undefined) counts.set(digest, (counts.get(digest) ?? 0) + 1);
    }
    return counts;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #hand(incoming: IncomingMessage, answer: ServerResponse): void {
    const { method = 'GET', url: path = '/', headers } = incoming;
    this.requests.push({ method, path, authorization: headers.authorization });
    const { host, ca } = this.#end;
    const [hostname, port] = host.split(':');
    const outgoing = request(
      { hostname, port, ca, method, path, headers: { ...headers, host }, agent: false },
      (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        const damage = this.damaged?.test(path) === true;
        pipeline(response, damage ? flipper() : new PassThrough(), answer, () => undefined);
      },
    );
    // What is away at the other end is away at this one.
    outgoing.on('error', () => void answer.socket?.destroy());
    incoming.pipe(outgoing);
  }
}

/** Flips the first bit of what flows through it. */
function flipper(): Transform {
  let done = false;
  return new Transform({
    transform(chunk: Buffer, _encoding, next) {
      if (done || chunk.length === 0) {
        next(null, chunk);
        return;
      }
      done = true;
      const damaged = Buffer.from(chunk);
      damaged[0] = (damaged[0] ?? 0) ^ 1;
      next(null, damaged);
    },
  });
}
