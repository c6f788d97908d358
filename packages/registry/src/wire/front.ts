import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { RegistrySetupError } from '../errors.ts';
import type { Tls, TlsMaterial } from '../tls.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import { fromNode } from './node-request.ts';
import { Outbox } from './outbox.ts';
import { PlainConnection } from './plain-connection.ts';

/** How connections are served. */
export interface FrontOptions {
  /** Answers one request; never rejects. */
  readonly serve: (request: HttpRequest, response: HttpResponse) => Promise<void>;
  /** Plain HTTP without it. */
  readonly tls: Tls | undefined;
  /** Told of every connection over TLS before its first request. */
  readonly secured: (socket: TLSSocket) => void;
  /** Milliseconds. */
  readonly now: () => number;
  /** How long the head of a request may take, in milliseconds; 20 seconds unless told. */
  readonly headersMs: number | undefined;
  /** How long a connection may be silent in a request or after one, in milliseconds; 2 minutes unless told. */
  readonly idleMs: number | undefined;
  /** Connections at a time, beyond which new ones are closed; 20,000 unless told. */
  readonly maxConnections?: number;
}

const HEADERS_MS = 20_000;
const IDLE_MS = 120_000;
const KEEP_ALIVE_MS = 75_000;
const DRAIN_MS = 5_000;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 20_000;

/**
 * Takes connections. Plain requests are read and answered by ourselves, which takes less CPU; connections
 * with others go to the HTTP server of Node, which serves them as if it had had them from the start.
 */
export class Front {
  readonly #options: FrontOptions;
  readonly #server: Server | TlsServer;
  readonly #plain = new Set<PlainConnection>();
  /** Connections over TLS, from before their handshake on. */
  readonly #sockets = new Set<Socket>();
  readonly #ended = Promise.withResolvers<undefined>();
  #running = 0;
  #stopping = false;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#server = openServer(options);
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      // Its connection would be kept open otherwise, which the end would wait for.
      response.once('close', () => {
        if (this.#stopping) this.#server.closeIdleConnections();
      });
      void this.#serve(fromNode(request, response, options.now), response);
    };
    this.#server.on('request', serve);
    this.#server.on('checkContinue', serve);
    this.#standBefore(this.#server);
  }

  /** Where it listens. */
  get address(): AddressInfo | undefined {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address : undefined;
  }

  /** @throws RegistrySetupError `ListenFailed` */
  async listen(host: string, port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#server.once('error', reject);
    this.#server.listen({ host, port }, () => resolve(undefined));
    try {
      await promise;
    } catch (error) {
      throw new RegistrySetupError('ListenFailed', 'The registry cannot listen on this address.', {
        cause: error,
        facts: { listen: host, port },
      });
    }
    this.#server.off('error', reject);
  }

  /**
   * Uses other material for connections from now on.
   *
   * @returns whether other authorities are trusted from now on
   * @throws Error when it cannot be used, and then nothing has changed
   */
  setTls(material: TlsMaterial & { readonly clientCa?: string }): boolean {
    const { tls } = this.#options;
    return tls !== undefined && 'setSecureContext' in this.#server && tls.use(this.#server, material);
  }

  /**
   * Takes no more connections, and lets requests end for 5 seconds at most.
   *
   * @param stop ends what requests may still wait for when nobody waits for them any more
   */
  async close(stop: () => void): Promise<void> {
    this.#stopping = true;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeIdleConnections();
    for (const connection of this.#plain) if (connection.idle) connection.destroy();
    const force = setTimeout(() => this.#breakAll(), DRAIN_MS);
    await closed;
    clearTimeout(force);
    stop();
    if (this.#running > 0) await this.#ended.promise;
  }

  #standBefore(server: Server | TlsServer): void {
    const event = this.#options.tls === undefined ? 'connection' : 'secureConnection';
    const [takeOver] = server.listeners(event) as ((socket: Socket) => void)[];
    if (takeOver === undefined) throw new Error('The server of Node does not listen to its connections.');
    server.removeAllListeners(event);
    const parts = {
      serve: (request: HttpRequest, response: HttpResponse) => void this.#serve(request, response),
      handOver: (socket: Socket, bytes: Buffer) => {
        takeOver.call(server, socket);
        // Its parser reads past the stream until somebody listens there. Over TLS it would be given all that one
        // turn has decrypted, though it paused, or what comes next before what waits in the stream.
        if (event === 'secureConnection' || socket.readableLength > 0)
          socket.on('data', ignore).off('data', ignore);
        // At once, and not by unshift: what is read next may come to the parser in this very turn.
        socket.emit('data', bytes);
      },
      outbox: new Outbox(),
      closed: (connection: PlainConnection) => this.#plain.delete(connection),
      stopping: () => this.#stopping,
      now: this.#options.now,
      firstMs: this.#options.headersMs ?? HEADERS_MS,
      idleMs: this.#options.idleMs ?? IDLE_MS,
    };
    if (this.#options.tls !== undefined) server.on('connection', (socket: Socket) => this.#note(socket));
    server.on('secureConnection', this.#options.secured);
    server.on(event, (socket: Socket) => this.#plain.add(new PlainConnection(socket, parts)));
  }

  /** The server of Node knows nothing of a connection whose handshake has not ended, and would wait for it. */
  #note(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Counts what is running, so that the store is closed after the last request and not under it. */
  async #serve(request: HttpRequest, response: HttpResponse): Promise<void> {
    this.#running += 1;
    await this.#options.serve(request, response);
    this.#running -= 1;
    if (this.#stopping && this.#running === 0) this.#ended.resolve(undefined);
  }

  #breakAll(): void {
    this.#server.closeAllConnections();
    for (const connection of this.#plain) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function ignore(): void {
  // Only that somebody listens counts.
}

function openServer({
  tls,
  headersMs = HEADERS_MS,
  idleMs = IDLE_MS,
  maxConnections = MAX_CONNECTIONS,
}: FrontOptions): Server | TlsServer {
  const settings = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: headersMs,
    connectionsCheckingInterval: Math.min(headersMs, 10_000),
    // Of a whole request: a large layer over a slow link takes as long as it takes, but never falls silent.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    highWaterMark: 256 * 1024,
  };
  const server =
    tls === undefined
      ? createServer(settings)
      : createTlsServer({ ...settings, ...tls.options, handshakeTimeout: headersMs });
  server.timeout = idleMs;
  server.maxConnections = maxConnections;
  return server;
}
