import { type Clock, type Logger, MuralError, systemCode } from '@mural/core';
import { OciError } from '@mural/oci';
import type { Access } from '../auth/access.ts';
import { type Caller, UnauthorizedError } from '../auth/caller.ts';
import { isStorageError, RegistryError, storageError } from '../errors.ts';
import type { Events } from '../ops/events.ts';
import { type Operations, METRICS_PATH } from '../ops/operations.ts';
import { nameRequest, requestIdOf } from '../ops/request-id.ts';
import { CLIENT_GONE, type RouteKind } from '../ops/tallies.ts';
import type { Mirrors } from '../mirror/mirrors.ts';
import type { Store } from '../store/store.ts';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';
import { type Administration, ADMINISTRATION_PATH } from './administration.ts';
import { deleteBlob, getBlob } from './blobs.ts';
import { challengeOf, neededActions, TOKEN_PATH } from './challenge.ts';
import { type Exchange, refuse, send, sendError } from './exchange.ts';
import { isHealthPath } from '../ops/health.ts';
import { listReferrers, listRepositories, listTags } from './lists.ts';
import { deleteManifest, getManifest, putManifest } from './manifests.ts';
import { parsePath, type Route } from './request.ts';
import { answerToken } from './token.ts';
import { appendUpload, cancelUpload, finishUpload, startUpload, uploadStatus } from './uploads.ts';

/** What requests are answered from. */
export interface HandlerParts {
  readonly store: Store;
  readonly access: Access;
  readonly administration: Administration;
  readonly operations: Operations;
  readonly events: Events;
  /** Answers for repositories that mirror others. */
  readonly mirrors?: Mirrors | undefined;
  readonly clock: Clock;
  /** Take manifests whose blobs are not there. */
  readonly sparseManifests: boolean;
  readonly log: Logger;
  /** Takes one line for each request. */
  readonly accessLog: Logger;
}

/** Answers one request. Never rejects. */
export type Handler = (request: HttpRequest, response: HttpResponse) => Promise<void>;

/** Bytes of a refused body that are read and dropped so that the connection can go on. */
const DRAIN_LIMIT = 1024 * 1024;
const MAX_LOGGED = 512;

/** The HTTP API of the registry over `parts`. */
export function createHandler(parts: HandlerParts): Handler {
  return async (request, response) => {
    const started = performance.now();
    const { tallies } = parts.operations;
    const { socket } = request;
    const seen: Seen = { kind: 'unknown', route: undefined, user: undefined, remote: socket.remoteAddress };
    nameRequest(request, response);
    tallies.inFlight += 1;
    response.once('close', () => {
      tallies.inFlight -= 1;
      const durationMs = performance.now() - started;
      const status = response.headersSent ? response.statusCode : CLIENT_GONE;
      tallies.ended(seen.kind, request.method, status, durationMs);
      const bytes = tallies.transferred(socket);
      logAccess(parts.accessLog, request, response, { seen, status, durationMs, ...bytes });
    });
    try {
      await answer(parts, { request, response, seen });
    } catch (error) {
      if (error instanceof UnauthorizedError && !response.headersSent) {
        const refused = { route: seen.route, refusal: error.refusal };
        response.setHeader('www-authenticate', challengeOf(parts.access, request, refused));
      }
      fail(parts, request, response, error);
    }
  };
}

/** What was found out about a request, for its line in the log. */
interface Seen {
  kind: RouteKind;
  route: Route | undefined;
  user: string | undefined;
  /** Address of the client, which a connection forgets when it ends. */
  readonly remote: string | undefined;
}

interface Incoming {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly seen: Seen;
}

async function answer(parts: HandlerParts, incoming: Incoming): Promise<void> {
  const { request, response, seen } = incoming;
  const url = request.url;
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const { access, operations } = parts;
  if (!path.startsWith('/v2/') && isHealthPath(path)) {
    seen.kind = 'health';
    await operations.health.answer(request, response, path);
    return;
  }
  if (path === TOKEN_PATH && access.tokens !== undefined) {
    seen.kind = 'token';
    seen.user = await answerToken(access, access.tokens, { request, response, query });
    return;
  }
  const parsed = parseFor(path, seen);
  const authenticated = access.authenticate(request);
  const caller = authenticated instanceof Promise ? await authenticated : authenticated;
  seen.user = caller.name;
  if (parsed instanceof RegistryError) throw hideFromAnonymous(parsed, caller);
  if (parsed !== undefined) authorise(parsed, request.method, caller);
  const { store, clock } = parts;
  const exchange: Exchange = {
    request,
    response,
    query,
    caller,
    store,
    events: parts.events,
    now: () => clock.now(),
    sparseManifests: parts.sparseManifests,
  };
  if (parsed !== undefined) await dispatch(exchange, parsed, parts.mirrors);
  else if (seen.kind === 'metrics') await operations.answerMetrics(request, response, caller);
  else await parts.administration.answer(exchange, path.slice(ADMINISTRATION_PATH.length));
}

/** What a path names, noted in `seen`; undefined for what is not of the distribution-spec. */
function parseFor(path: string, seen: Seen): Route | RegistryError | undefined {
  if (path === METRICS_PATH) seen.kind = 'metrics';
  else if (path.startsWith(ADMINISTRATION_PATH)) seen.kind = 'administration';
  else {
    const parsed = tryParse(path);
    if (parsed instanceof RegistryError) return parsed;
    seen.route = parsed;
    seen.kind = parsed.kind;
    return parsed;
  }
  return undefined;
}

function tryParse(path: string): Route | RegistryError {
  try {
    return parsePath(path);
  } catch (error) {
    if (error instanceof RegistryError) return error;
    throw error;
  }
}

/** Somebody who may do nothing learns nothing from a malformed path either. */
function hideFromAnonymous(error: RegistryError, caller: Caller): RegistryError {
  const mayDoNothing = caller.name === undefined && !caller.allowsSomewhere('read');
  return mayDoNothing ? new UnauthorizedError() : error;
}

/**
 * The base is open to those who may push without credentials only: some clients, skopeo among them,
 * send the credentials that they have only if this first request of theirs was refused.
 *
 * @throws UnauthorizedError for callers without credentials, and for a token that was not asked to
 *   allow this
 * @throws RegistryError `Denied` for others
 */
function authorise(route: Route, method: string, caller: Caller): void {
  if (!('repository' in route)) {
    const open = caller.allowsSomewhere(route.kind === 'base' ? 'create' : 'read');
    if (caller.name !== undefined || open) return;
    throw new UnauthorizedError();
  }
  const { repository } = route;
  const needed = neededActions(route, method);
  if (!needed.some((action) => caller.allows(action, repository))) refuse(caller, repository, needed);
}

type Endpoint<R extends Route> = (exchange: Exchange, route: R) => void | Promise<void>;
type Endpoints<R extends Route> = Readonly<Record<string, Endpoint<R>>>;

/** What answers which method of what a path names. */
const ENDPOINTS: { readonly [K in Route['kind']]: Endpoints<Extract<Route, { readonly kind: K }>> } = {
  base: readOnly(({ response }) => send(response, 200, { 'content-type': 'application/json' }, '{}')),
  catalog: readOnly((exchange) => listRepositories(exchange)),
  tags: readOnly((exchange, { repository }) => listTags(exchange, repository)),
  referrers: readOnly((exchange, { repository, digest }) => listReferrers(exchange, repository, digest)),
  manifest: {
    ...readOnly((exchange, { repository, reference }) => getManifest(exchange, repository, reference)),
    PUT: (exchange, { repository, reference }) => putManifest(exchange, repository, reference),
    DELETE: (exchange, { repository, reference }) => deleteManifest(exchange, repository, reference),
  },
  blob: {
    ...readOnly((exchange, { repository, digest }) => getBlob(exchange, repository, digest)),
    DELETE: (exchange, { repository, digest }) => deleteBlob(exchange, repository, digest),
  },
  uploads: { POST: (exchange, { repository }) => startUpload(exchange, repository) },
  upload: {
    GET: (exchange, { repository, id }) => uploadStatus(exchange, repository, id),
    PATCH: (exchange, { repository, id }) => appendUpload(exchange, repository, id),
    PUT: (exchange, { repository, id }) => finishUpload(exchange, repository, id),
    DELETE: (exchange, { repository, id }) => cancelUpload(exchange, repository, id),
  },
};

function readOnly<R extends Route>(endpoint: Endpoint<R>): Endpoints<R> {
  return { GET: endpoint, HEAD: endpoint };
}

function dispatch(exchange: Exchange, route: Route, mirrors: Mirrors | undefined): void | Promise<void> {
  const mirrored = mirrors?.answer(exchange, route);
  if (mirrored !== undefined) return mirrored;
  // The table says which route goes with which endpoints; the compiler cannot follow the pair.
  const endpoints = ENDPOINTS[route.kind] as Endpoints<Route>;
  const endpoint = endpoints[exchange.request.method];
  if (endpoint !== undefined) return endpoint(exchange, route);
  throw new RegistryError('MethodUnsupported', 'This method is not supported here.', {
    headers: { allow: Object.keys(endpoints).join(', ') },
  });
}

function fail(
  { log, store }: HandlerParts,
  request: HttpRequest,
  response: HttpResponse,
  cause: unknown,
): void {
  const error = apiError(cause);
  if (isStorageError(error)) store.health.fault();
  if (response.destroyed || request.socket.destroyed) return;
  if (error.status >= 500) log.error({ err: cause, method: request.method }, 'a request failed');
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const unread = !request.complete && Number(request.headers['content-length'] ?? Infinity) > DRAIN_LIMIT;
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || request.headers['content-length'] !== undefined;
  if (unread && hasBody) response.setHeader('connection', 'close');
  sendError(response, error);
}

/** The error as a client may see it: nothing of ours, such as a path, goes out with an unexpected one. */
function apiError(cause: unknown): RegistryError {
  if (cause instanceof RegistryError) return cause;
  const storage = storageError(cause);
  if (storage !== undefined) return storage;
  if (cause instanceof OciError) {
    if (cause.code === 'DigestInvalid') return new RegistryError('DigestInvalid', cause.message);
    if (cause.code === 'ManifestInvalid') return new RegistryError('ManifestInvalid', cause.message);
    if (cause.code === 'TooLarge') return new RegistryError('ManifestTooLarge', cause.message);
  }
  const code = cause instanceof MuralError ? String(cause.code) : (systemCode(cause) ?? 'unknown');
  return new RegistryError('Internal', 'The registry could not do this.', { cause, facts: { reason: code } });
}

interface Ended {
  readonly seen: Seen;
  readonly status: number;
  readonly durationMs: number;
  /** Bytes of the request and of the answer, heads included. */
  readonly received: number;
  readonly sent: number;
}

/** The query stays out of the log: it may hold what is secret, such as a token in a place of the client's own choice. */
function logAccess(
  log: Logger,
  request: HttpRequest,
  response: HttpResponse,
  { seen, status, durationMs, received, sent }: Ended,
): void {
  const { kind, route, user, remote } = seen;
  const url = request.url;
  const mark = url.indexOf('?');
  log.info(
    {
      requestId: requestIdOf(response),
      remote,
      method: request.method,
      route: kind,
      // In absolute form it may hold credentials.
      path: url.startsWith('/') ? (mark < 0 ? url : url.slice(0, mark)).slice(0, MAX_LOGGED) : '',
      ...(route !== undefined && 'repository' in route ? { repository: route.repository } : {}),
      status,
      bytes: sent,
      received,
      durationMs: Math.round(durationMs * 1000) / 1000,
      ...(user === undefined ? {} : { user }),
      userAgent: (request.headers['user-agent'] ?? '').slice(0, MAX_LOGGED),
    },
    'request',
  );
}
