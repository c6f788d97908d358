import { X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates } from 'node:tls';
import type { Readable } from 'node:stream';
import { errorMessage, type ProcessEnvironment, ProxyError, proxyFor, systemCode } from '@mural/core';
import type * as HttpLibrary from 'undici';
import { OciError } from './errors.ts';

/** What is sent. A body is made anew for each try. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: (() => Uint8Array | Readable) | undefined;
  readonly signal: AbortSignal;
}

/** What came back. The body must be read, or given to {@link discard}. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
}

/** How connections are made. */
export interface TransportOptions {
  /** Scheme, host and port of the registry. */
  readonly origin: string;
  /** PEM of further certificate authorities, trusted beside those that Node trusts. */
  readonly ca?: string | undefined;
  readonly userAgent: string;
  /** Where `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are looked up. */
  readonly environment: ProcessEnvironment;
}

const CONNECT_TIMEOUT_MS = 10_000;
const CONNECTIONS = 16;
const KEEP_ALIVE_MS = 4000;
const MAX_HEADER_BYTES = 64 * 1024;
const MAX_DISCARDED = 64 * 1024;

/**
 * Connections to one registry, kept open between calls, and to the other origins that it names (token
 * servers, redirect targets); through a proxy where the environment names one.
 */
export class Transport {
  readonly #origin: string;
  readonly #userAgent: string;
  readonly #environment: ProcessEnvironment;
  readonly #options: HttpLibrary.Pool.Options;
  readonly #tls: Record<string, unknown>;
  #own: HttpLibrary.Dispatcher | undefined;
  #others: HttpLibrary.Agent | undefined;
  readonly #proxies = new Map<string, HttpLibrary.ProxyAgent>();
  #closed = false;

  constructor(options: TransportOptions) {
    this.#origin = options.origin;
    this.#userAgent = options.userAgent;
    this.#environment = options.environment;
    this.#tls = tlsOptions(options.ca);
    this.#options = {
      allowH2: false,
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Each call carries a signal with a total deadline; these would only cut long uploads short.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: CONNECT_TIMEOUT_MS, ...this.#tls },
    };
  }

  /** Sends one request and follows nothing. @throws OciError `Unreachable` or `CertificateInvalid` */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const { url } = request;
    const proxy = this.#proxyOf(url);
    // Loaded when it is first needed: who only reads digests and manifests does not pay for a client.
    const dispatcher = this.#dispatcher(await import('undici'), url, proxy);
    const body = request.body?.();
    try {
      const response = await dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: request.method,
        headers: { 'user-agent': this.#userAgent, ...request.headers },
        signal: request.signal,
        ...(body === undefined ? {} : { body }),
      });
      // Dropping a body that nobody reads would otherwise be an uncaught error; readers still see it.
      response.body.on('error', () => undefined);
      return { status: response.statusCode, headers: response.headers, body: response.body, url };
    } catch (error) {
      throw transportError(error, url, request.signal, proxy);
    }
  }

  /** Ends every connection; calls that are under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const all = [this.#own, this.#others, ...this.#proxies.values()];
    await Promise.all(all.filter((one) => one !== undefined).map(async (one) => one.destroy()));
  }

  #proxyOf(url: URL): URL | undefined {
    try {
      return proxyFor(url, this.#environment);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      const { message, hint, facts } = error;
      throw new OciError('ProxyInvalid', message, { facts, ...(hint === undefined ? {} : { hint }) });
    }
  }

  #dispatcher(library: typeof HttpLibrary, url: URL, proxy: URL | undefined): HttpLibrary.Dispatcher {
    if (this.#closed) throw new OciError('Unreachable', `the client of ${this.#origin} is closed`);
    if (proxy !== undefined) return this.#proxied(library, proxy);
    if (url.origin === this.#origin) {
      this.#own ??= new library.Pool(this.#origin, this.#options);
      return this.#own;
    }
    this.#others ??= new library.Agent({ ...this.#options, connections: 4 });
    return this.#others;
  }

  #proxied(library: typeof HttpLibrary, proxy: URL): HttpLibrary.ProxyAgent {
    const known = this.#proxies.get(proxy.href);
    if (known !== undefined) return known;
    const { connect: _connect, ...options } = this.#options;
    const agent = new library.ProxyAgent({
      ...options,
      uri: proxy.href,
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTls: this.#tls,
      proxyTls: this.#tls,
    });
    this.#proxies.set(proxy.href, agent);
    return agent;
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** OpenSSL passes over what it cannot read, and the mistake would show only as an untrusted server. */
function tlsOptions(ca: string | undefined): Record<string, unknown> {
  if (ca === undefined) return {};
  const certificates = ca.match(CERTIFICATE) ?? [];
  try {
    if (certificates.length === 0) throw new Error('it holds no PEM certificate');
    for (const certificate of certificates) new X509Certificate(certificate);
    return { secureContext: createSecureContext({ ca: [...getCACertificates('default'), ...certificates] }) };
  } catch (cause) {
    throw new OciError('CertificateInvalid', `the given CA cannot be used: ${errorMessage(cause)}`, {
      cause,
    });
  }
}

/** Reads no more than `limit` bytes. @throws OciError `TooLarge` */
export async function readBounded(response: HttpResponse, limit: number, what: string): Promise<Buffer> {
  const declared = contentLength(response);
  if (declared !== undefined && declared > limit) {
    response.body.destroy();
    throw new OciError('TooLarge', `${what} has ${declared} bytes, over the limit of ${limit}`);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) throw new OciError('TooLarge', `${what} is over the limit of ${limit} bytes`);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size);
}

/** Frees the connection of an answer whose body is of no interest: reads what is short, drops what is not. */
export async function discard(response: HttpResponse): Promise<void> {
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_DISCARDED) break;
  }
}

/** The one value of a header, or `undefined` when it is absent or there are several. */
export function header(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** The `Content-Length` of an answer, when it is a plain number. */
export function contentLength(response: HttpResponse): number | undefined {
  const text = header(response, 'content-length');
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

const CERTIFICATE_CODES = /CERT|UNABLE_TO|SELF_SIGNED|ERR_TLS|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE/;

/**
 * Turns what undici throws into an {@link OciError}; an abort comes out as the signal's reason.
 *
 * @param proxy what the request went through: shown by its host alone
 */
export function transportError(error: unknown, url: URL, signal: AbortSignal, proxy?: URL): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof OciError) return error;
  const code = systemCode(error) ?? '';
  if (CERTIFICATE_CODES.test(code)) {
    return new OciError(
      'CertificateInvalid',
      `the certificate of ${url.host} is not trusted: ${errorMessage(error)}`,
      {
        cause: error,
        hint: 'Give the CA that signed it, or check the name that the certificate is for.',
        facts: { host: url.host, reason: code },
      },
    );
  }
  if (code.startsWith('ERR_SSL') || code === 'EPROTO') {
    return new OciError('Unreachable', `${url.host} does not speak TLS as expected: ${errorMessage(error)}`, {
      cause: error,
      hint: 'Is it a registry on plain HTTP?',
      facts: { host: url.host, reason: code },
    });
  }
  const detail = errorMessage(error) || code;
  const through = proxy === undefined ? '' : ` through the proxy ${proxy.host}`;
  return new OciError('Unreachable', `${url.host} cannot be reached${through}: ${detail}`, {
    cause: error,
    retryable: true,
    facts: { host: url.host, reason: code, ...(proxy === undefined ? {} : { proxy: proxy.host }) },
  });
}
