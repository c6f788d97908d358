import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Caller, UnauthorizedError } from '../auth/caller.ts';
import type { RegistryAction } from '../auth/policy.ts';
import { RegistryError } from '../errors.ts';
import type { Events } from '../ops/events.ts';
import { REQUEST_ID, requestIdOf } from '../ops/request-id.ts';
import type { Store } from '../store/store.ts';
import { steady } from './body-rate.ts';

/** Headers of an answer, in lower case. */
export type Headers = Record<string, string | number>;

/** One request with everything that its endpoint needs to answer it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly caller: Caller;
  readonly store: Store;
  readonly events: Events;
  /** Take manifests whose blobs are not there. */
  readonly sparseManifests: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The body has been asked for with `Expect: 100-continue` and not yet been invited. */
  expectsContinue: boolean;
}

/**
 * Refuses a caller what none of these actions allows.
 *
 * @throws UnauthorizedError for callers without credentials, and for a token that was not asked to
 *   allow this
 * @throws RegistryError `Denied` for others
 */
export function refuse(caller: Caller, repository: string, needed: readonly RegistryAction[]): never {
  if (caller.name === undefined) throw new UnauthorizedError();
  if (needed.some((action) => caller.mightAskFor(action, repository))) {
    throw new UnauthorizedError('insufficient_scope');
  }
  throw new RegistryError('Denied', 'These credentials do not allow this.', {
    facts: { action: needed[needed.length - 1] },
  });
}

const BASE_HEADERS: Headers = {
  'docker-distribution-api-version': 'registry/2.0',
  'x-content-type-options': 'nosniff',
};

/** Answers with a status, headers and, unless the request is a HEAD, a body. */
export function send(
  response: ServerResponse,
  status: number,
  headers: Headers,
  body?: string | Buffer,
): void {
  const bodyless = status === 204 || status === 304;
  const length = bodyless ? {} : { 'content-length': body === undefined ? 0 : Buffer.byteLength(body) };
  sendHead(response, status, { ...length, ...headers });
  response.end(response.req.method === 'HEAD' || bodyless ? undefined : body);
}

/** Answers with the status and headers of a body that follows. */
export function sendHead(response: ServerResponse, status: number, headers: Headers): void {
  response.writeHead(status, { ...BASE_HEADERS, [REQUEST_ID]: requestIdOf(response), ...headers });
}

/** Answers with a JSON document. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Headers = {},
): void {
  send(response, status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value));
}

/** Answers with the JSON of distribution-spec, "Error codes". */
export function sendError(response: ServerResponse, error: RegistryError): void {
  const entry = {
    code: error.ociCode,
    message: error.message,
    ...(Object.keys(error.facts).length === 0 ? {} : { detail: error.facts }),
  };
  sendJson(response, error.status, { errors: [entry] }, { ...error.headers });
}

/**
 * The body of a request as it arrives. Leaving the loop early does not tear the connection down, so
 * that the request can still be answered.
 *
 * @throws RegistryError `EncodingUnsupported`; `RequestTooSlow` while it is read
 */
export function bodyOf(exchange: Exchange): AsyncIterable<Buffer> {
  const { request, response } = exchange;
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new RegistryError('EncodingUnsupported', 'Bodies are taken as they are, without a content coding.');
  }
  if (exchange.expectsContinue) {
    exchange.expectsContinue = false;
    response.writeContinue();
  }
  const body = {
    [Symbol.asyncIterator]: () => request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>,
  };
  return steady(body, exchange.now);
}

/** Reads a whole body. Returns undefined, at once, when it is larger than `limit` bytes. */
export async function readBody(exchange: Exchange, limit: number): Promise<Buffer | undefined> {
  if (Number(exchange.request.headers['content-length'] ?? 0) > limit) return undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of bodyOf(exchange)) {
    length += chunk.length;
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Whether the `If-None-Match` of a request names this entity tag (RFC 9110, 13.1.2). */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((part) => part.trim().replace(/^W\//, '') === etag);
}
