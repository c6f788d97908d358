import { type Caller, UnauthorizedError } from '../auth/caller.ts';
import type { RegistryAction } from '../auth/policy.ts';
import { RegistryError } from '../errors.ts';
import type { Events } from '../ops/events.ts';
import { REQUEST_ID, requestIdOf } from '../ops/request-id.ts';
import type { Store } from '../store/store.ts';
import { type Body, readUpTo } from '../store/body.ts';
import type { Headers, HttpRequest, HttpResponse } from '../wire/message.ts';

/** One request with everything that its endpoint needs to answer it. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly query: URLSearchParams;
  readonly caller: Caller;
  readonly store: Store;
  readonly events: Events;
  /** Take manifests whose blobs are not there. */
  readonly sparseManifests: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
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
export function send(response: HttpResponse, status: number, headers: Headers, body?: string | Buffer): void {
  const bodyless = status === 204 || status === 304;
  if (bodyless || 'content-length' in headers) sendHead(response, status, headers);
  else {
    const length = body === undefined ? 0 : Buffer.byteLength(body);
    sendHead(response, status, { 'content-length': length, ...headers });
  }
  response.end(response.req.method === 'HEAD' || bodyless ? undefined : body);
}

/** Answers with the status and headers of a body that follows. */
export function sendHead(response: HttpResponse, status: number, headers: Headers): void {
  response.writeHead(status, { ...BASE_HEADERS, [REQUEST_ID]: requestIdOf(response), ...headers });
}

/** Answers with a JSON document. */
export function sendJson(
  response: HttpResponse,
  status: number,
  value: unknown,
  headers: Headers = {},
): void {
  send(response, status, { 'content-type': 'application/json', ...headers }, JSON.stringify(value));
}

/** Answers with the JSON of distribution-spec, "Error codes". */
export function sendError(response: HttpResponse, error: RegistryError): void {
  const entry = {
    code: error.ociCode,
    message: error.message,
    ...(Object.keys(error.facts).length === 0 ? {} : { detail: error.facts }),
  };
  sendJson(response, error.status, { errors: [entry] }, { ...error.headers });
}

/**
 * The body of a request.
 *
 * @throws RegistryError `EncodingUnsupported`; `RequestTooSlow` while it is read
 */
export function bodyOf({ request }: Pick<Exchange, 'request'>): Body {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new RegistryError('EncodingUnsupported', 'Bodies are taken as they are, without a content coding.');
  }
  return request.body();
}

/** Bytes of a body, where the client says so: what is no number has been refused. */
export function lengthOf({ request }: Pick<Exchange, 'request'>): number | undefined {
  const length = request.headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

/** Reads a whole body. Returns undefined, at once, when it is larger than `limit` bytes. */
export async function readBody(
  exchange: Pick<Exchange, 'request'>,
  limit: number,
): Promise<Buffer | undefined> {
  const length = lengthOf(exchange);
  if ((length ?? 0) > limit) return undefined;
  const bytes = await readUpTo(bodyOf(exchange), limit, length);
  return bytes.length > limit ? undefined : bytes;
}

/** Whether the `If-None-Match` of a request names this entity tag (RFC 9110, 13.1.2). */
export function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((part) => part.trim().replace(/^W\//, '') === etag);
}
