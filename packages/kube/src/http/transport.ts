import {
  type Clock,
  errorMessage,
  isRecord,
  type Logger,
  type Random,
  retry,
  silentLogger,
  systemClock,
  withDeadline,
} from '@mural/core';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import { errorOfAnswer, errorOfTransport, KubeError, wasNeverSent } from '../errors.ts';
import { startDeadline, timeoutError } from './deadline.ts';

/** How an API is reached and who is asking. */
export interface KubeConnection {
  /** URL of the API; it may have a path. */
  readonly server: string;
  /** PEM of the CAs that the server's certificate is checked against; those of the system unless given. */
  readonly ca?: string | undefined;
  /** Bearer token, or where to get it: called before each request, so it must be cheap. */
  readonly token?: string | (() => Promise<string | undefined>) | undefined;
  /** PEM of the client's certificate and key. */
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly basicAuth?: { readonly username: string; readonly password: string } | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** The name that the server's certificate is checked for; that of the URL unless given. */
  readonly serverName?: string | undefined;
  /** URL of an HTTP proxy. */
  readonly proxyUrl?: string | undefined;
  /** Deadline of a call in milliseconds, its repetitions included; 30 s unless given. */
  readonly timeoutMs?: number | undefined;
  /** Namespace of the context that a kubeconfig was read for. */
  readonly namespace?: string | undefined;
}

/** What a client takes from its surroundings. */
export interface TransportOptions {
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
  readonly userAgent?: string | undefined;
}

/** One call. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query below the server's URL. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  readonly accept?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether a second run does no harm; GET is anyway. */
  readonly idempotent?: boolean | undefined;
}

interface Answer {
  readonly httpStatus: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_CALLS = 32;
const MAX_BODY_BYTES = 256 * 1024 * 1024;
const RETRY = { attempts: 5, baseMs: 200, capMs: 5000 };

/**
 * HTTP below the client: authentication, deadlines, repetitions, bounded reads.
 *
 * Watches have a pool of their own, without limit: over HTTP/1.1 each holds a connection for
 * minutes, and must not take it from the calls.
 */
export class Transport {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly #calls: Dispatcher;
  readonly #streams: Dispatcher;
  readonly #origin: string;
  readonly #prefix: string;
  readonly #connection: KubeConnection;
  readonly #userAgent: string;
  readonly #warned = new Set<string>();

  constructor(connection: KubeConnection, options: TransportOptions = {}) {
    const url = parseServer(connection.server);
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/+$/, '');
    this.#connection = connection;
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.log = options.log ?? silentLogger;
    this.#userAgent = options.userAgent ?? 'mural';
    this.#calls = dispatcher(url.origin, connection, MAX_CALLS);
    this.#streams = dispatcher(url.origin, connection, null);
  }

  /** Answers the parsed body of a successful call. */
  async json(call: Call): Promise<unknown> {
    const { text, httpStatus } = await this.#send(call);
    const body = tryParse(text);
    if (body === undefined) {
      throw new KubeError('InvalidResponse', 'the API answered something that is not JSON', {
        httpStatus,
        facts: { method: call.method, path: withoutQuery(call.path) },
      });
    }
    return body;
  }

  /** Answers the body of a successful call as it is. */
  async text(call: Call): Promise<string> {
    return (await this.#send(call)).text;
  }

  /**
   * Opens a stream. The headers must come within the deadline of a call, the end within `lifetimeMs`.
   * Aborting the signal, or leaving the iteration, ends it.
   */
  async *stream(
    path: string,
    lifetimeMs: number,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const facts = { method: 'GET', path: withoutQuery(path) };
    const deadline = startDeadline(this.clock, lifetimeMs, signal);
    const opening = startDeadline(this.clock, this.#timeoutMs, deadline.signal);
    try {
      const response = await this.#streams
        .request({
          origin: this.#origin,
          path: this.#prefix + path,
          method: 'GET',
          headers: await orAborted(this.#headers({ method: 'GET', path }), opening.signal),
          signal: anySignal(deadline.signal, opening.signal),
          headersTimeout: 0,
          bodyTimeout: 0,
        })
        .catch((error: unknown) => {
          throw deadline.signal.aborted || opening.signal.aborted ? error : errorOfTransport(error, facts);
        });
      opening.end();
      if (response.statusCode >= 300) {
        const text = await readBounded(response.body, 1024 * 1024);
        throw this.#failure(response.statusCode, text, facts);
      }
      yield* readStream(response.body, deadline.signal, facts);
    } finally {
      opening.end();
      deadline.end();
      deadline.abort(new Error('the stream is closed'));
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#calls.destroy(), this.#streams.destroy()]);
  }

  get #timeoutMs(): number {
    return this.#connection.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  async #send(call: Call): Promise<Answer> {
    const ms = this.#timeoutMs;
    const deadline = { clock: this.clock, ms, signal: call.signal, expired: () => timeoutError(ms) };
    return await withDeadline(deadline, async (signal) =>
      retry(async () => this.#sendOnce(call, signal), {
        ...RETRY,
        clock: this.clock,
        random: this.random,
        signal,
        shouldRetry: (error) => this.#verdict(call, error, signal),
      }),
    );
  }

  async #sendOnce(call: Call, signal: AbortSignal): Promise<Answer> {
    const facts = { method: call.method, path: withoutQuery(call.path) };
    let answer: Answer;
    try {
      const headers = await orAborted(this.#headers(call), signal);
      const response = await this.#calls.request({
        origin: this.#origin,
        path: this.#prefix + call.path,
        method: call.method,
        headers,
        body: call.body === undefined ? null : JSON.stringify(call.body),
        signal,
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      const text = await readBounded(response.body, MAX_BODY_BYTES);
      answer = { httpStatus: response.statusCode, headers: response.headers, text };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw errorOfTransport(error, facts);
    }
    this.#warn(answer);
    if (answer.httpStatus < 300) return answer;
    const retryAfter = Number(answer.headers['retry-after'] ?? Number.NaN);
    throw this.#failure(
      answer.httpStatus,
      answer.text,
      Number.isFinite(retryAfter) ? { ...facts, retryAfterMs: retryAfter * 1000 } : facts,
    );
  }

  /**
   * Whether to try again: always when the request cannot have arrived, else only what is idempotent
   * and either broke off or was put off by the server (429 and 5xx with Retry-After).
   */
  #verdict(call: Call, error: unknown, signal: AbortSignal): boolean | number {
    if (signal.aborted || !(error instanceof KubeError)) return false;
    if (wasNeverSent(error)) return true;
    if (call.method !== 'GET' && call.idempotent !== true) return false;
    if (error.code === 'Unreachable') return true;
    const after = error.facts['retryAfterMs'];
    const deferred = error.httpStatus === 429 || (error.httpStatus ?? 0) >= 500;
    return deferred && typeof after === 'number' ? after : false;
  }

  async #headers(call: Call): Promise<Record<string, string>> {
    const headers: Record<string, string> = {
      accept: call.accept ?? 'application/json',
      'user-agent': this.#userAgent,
    };
    if (call.body !== undefined) headers['content-type'] = call.contentType ?? 'application/json';
    const { token, basicAuth } = this.#connection;
    const bearer = typeof token === 'function' ? await token() : token;
    if (bearer !== undefined && bearer !== '') headers['authorization'] = `Bearer ${bearer}`;
    else if (basicAuth !== undefined) {
      const pair = Buffer.from(`${basicAuth.username}:${basicAuth.password}`).toString('base64');
      headers['authorization'] = `Basic ${pair}`;
    }
    return headers;
  }

  #failure(httpStatus: number, text: string, facts: Readonly<Record<string, unknown>>): KubeError {
    const { token } = this.#connection;
    const safe = typeof token === 'string' && token !== '' ? text.replaceAll(token, '***') : text;
    return errorOfAnswer(httpStatus, tryParse(safe) ?? safe, facts);
  }

  /** Logs each warning of the API once. */
  #warn(answer: Answer): void {
    const header = answer.headers['warning'];
    if (header === undefined) return;
    for (const warning of Array.isArray(header) ? header : [header]) {
      if (this.#warned.has(warning) || this.#warned.size > 1000) continue;
      this.#warned.add(warning);
      this.log.warn({ warning: warning.slice(0, 500) }, 'the API warns');
    }
  }
}

function parseServer(server: string): URL {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new KubeError('KubeConfigInvalid', 'the server of the cluster is not an http or https URL');
  }
  return url;
}

function dispatcher(origin: string, connection: KubeConnection, connections: number | null): Dispatcher {
  const tls = {
    ...(connection.ca === undefined ? {} : { ca: connection.ca }),
    ...(connection.clientCert === undefined ? {} : { cert: connection.clientCert }),
    ...(connection.clientKey === undefined ? {} : { key: connection.clientKey }),
    ...(connection.serverName === undefined ? {} : { servername: connection.serverName }),
    rejectUnauthorized: connection.insecureSkipTlsVerify !== true,
  };
  const options = { connections, allowH2: false, keepAliveTimeout: 30_000, pipelining: 1 };
  if (connection.proxyUrl !== undefined) {
    return new ProxyAgent({ uri: connection.proxyUrl, requestTls: tls, ...options });
  }
  return new Pool(origin, { ...options, connect: { ...tls, timeout: CONNECT_TIMEOUT_MS } });
}

async function* readStream(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  facts: Readonly<Record<string, unknown>>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (error) {
    throw signal.aborted ? signal.reason : errorOfTransport(error, facts);
  }
}

async function readBounded(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxBytes) {
      throw new KubeError('InvalidResponse', `the API answered more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Parsed JSON if it is an object; anything else is no answer of this API. */
function tryParse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw new KubeError('InvalidResponse', errorMessage(error), { cause: error });
  }
}

function anySignal(...signals: AbortSignal[]): AbortSignal {
  return AbortSignal.any(signals);
}

function withoutQuery(path: string): string {
  return path.split('?', 1)[0] ?? path;
}

/** Waits for a promise that knows no signal: where the token comes from may hang. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
