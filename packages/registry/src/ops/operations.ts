import { createServer, type Server } from 'node:http';
import { type Clock, type Logger, SingleFlight } from '@mural/core';
import type { Caller } from '../auth/caller.ts';
import { RegistryError, RegistrySetupError } from '../errors.ts';
import { refuse, send, sendError } from '../http/exchange.ts';
import type { Exposition } from './exposition.ts';
import { Health } from './health.ts';
import { type Measurable, measure } from './measures.ts';
import { nameRequest } from './request-id.ts';
import { Tallies } from './tallies.ts';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';
import { fromNode } from '../wire/node-request.ts';

/** Where metrics are. */
export interface MetricsOptions {
  /**
   * Port of a listener of its own, which serves `/metrics` and health over plain HTTP to anybody who
   * reaches it; 0 for any free one. None unless given.
   */
  readonly port?: number;
  /** Address of that listener, `127.0.0.1` unless told. */
  readonly listen?: string;
  /** Who may read `/metrics` of the registry's own address, beside administrators: names of callers. */
  readonly users?: readonly string[];
}

/** Path of the metrics. */
export const METRICS_PATH = '/metrics';

/** A repository name that nobody can have: what a refusal is about. */
const METRICS = '_mural/registry/metrics';
const TEXT = { 'content-type': 'text/plain; charset=utf-8' };
const HEADERS_MS = 5000;
const MAX_CONNECTIONS = 100;

/** What {@link Operations} works with. */
export interface OperationsParts extends Omit<Measurable, 'tallies' | 'storage'> {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: MetricsOptions;
}

/** What an operator asks of a registry: metrics and health. */
export class Operations {
  readonly tallies = new Tallies();
  readonly health: Health;
  readonly #parts: OperationsParts;
  readonly #texts = new SingleFlight<string>();
  #exposition: Promise<Exposition> | undefined;
  #server: Server | undefined;

  constructor(parts: OperationsParts) {
    const { store, clock } = parts;
    this.#parts = parts;
    this.health = new Health({ clock, state: async () => store.health.state() });
  }

  /** Where the listener of its own is, as `http://127.0.0.1:9090`; undefined without one. */
  get url(): string | undefined {
    const address = this.#server?.address();
    if (typeof address !== 'object' || address === null) return undefined;
    const { family, port } = address;
    return `http://${family === 'IPv6' ? `[${address.address}]` : address.address}:${port}`;
  }

  /**
   * Opens the listener of its own, where one is wanted.
   *
   * @throws RegistrySetupError `ListenFailed`
   */
  async listen(): Promise<void> {
    const { port, listen = '127.0.0.1' } = this.#parts.metrics;
    if (port === undefined) return;
    const server = createServer({
      headersTimeout: HEADERS_MS,
      requestTimeout: HEADERS_MS,
      maxHeaderSize: 8192,
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.on(
      'request',
      (request, response) =>
        void this.#serve(
          fromNode(request, response, () => this.#parts.clock.now()),
          response,
        ),
    );
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    server.once('error', reject);
    server.listen({ host: listen, port }, () => resolve(undefined));
    try {
      await promise;
    } catch (error) {
      throw new RegistrySetupError('ListenFailed', 'The metrics cannot be served on this address.', {
        cause: error,
        facts: { listen, port },
      });
    }
    server.off('error', reject);
    this.#server = server;
    // Somebody means to scrape, and what is told of the process is counted from here on.
    await (this.#exposition ??= this.#load());
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  /** Answers `/metrics` on the registry's own address. @throws UnauthorizedError, RegistryError `Denied` */
  async answerMetrics(request: HttpRequest, response: HttpResponse, caller: Caller): Promise<void> {
    const named = caller.name !== undefined && this.#parts.metrics.users?.includes(caller.name) === true;
    if (!named && !caller.administers) refuse(caller, METRICS, ['read']);
    requireRead(request);
    await this.#sendMetrics(response);
  }

  async #serve(request: HttpRequest, response: HttpResponse): Promise<void> {
    try {
      nameRequest(request, response);
      const path = request.url.split('?', 1)[0] ?? '';
      if (await this.health.answer(request, response, path)) return;
      if (path !== METRICS_PATH) {
        send(response, 404, TEXT, 'Here are /metrics, /livez and /readyz.\n');
        return;
      }
      requireRead(request);
      await this.#sendMetrics(response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else if (error instanceof RegistryError) sendError(response, error);
      else {
        this.#parts.log.error({ err: error }, 'metrics could not be served');
        send(response, 500, TEXT, 'The metrics cannot be read.\n');
      }
    }
  }

  async #sendMetrics(response: HttpResponse): Promise<void> {
    const text = await this.#text();
    send(response, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }, text);
  }

  /** One at a time: many who ask at once get the same. */
  async #text(): Promise<string> {
    return await this.#texts.run('text', async () => {
      this.#exposition ??= this.#load();
      const exposition = await this.#exposition;
      const storage = async () => this.health.storage();
      return await exposition.text(await measure({ ...this.#parts, tallies: this.tallies, storage }));
    });
  }

  /** The library is loaded when metrics are first read: a registry that nobody scrapes does without. */
  async #load(): Promise<Exposition> {
    const { Exposition } = await import('./exposition.ts');
    return new Exposition(this.tallies);
  }
}

function requireRead({ method }: HttpRequest): void {
  if (method === 'GET' || method === 'HEAD') return;
  throw new RegistryError('MethodUnsupported', 'This method is not supported here.', {
    headers: { allow: 'GET, HEAD' },
  });
}
