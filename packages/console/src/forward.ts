import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { errorMessage, type Logger, systemCode } from '@mural/core';
import { type Dispatcher, Pool } from 'undici';
import { refuse } from './answer.ts';

/** The API that the page talks to. */
export interface Upstream {
  /** URL without a path. */
  readonly server: string;
  /** PEM of the CAs that its certificate is checked against; those of the system unless given. */
  readonly ca?: string | undefined;
}

/** Hands requests of browsers on to the Kubernetes API. */
export interface Forwarder {
  /** Answers a request for `target`, a path with its query. */
  forward(request: IncomingMessage, response: ServerResponse, target: string): Promise<void>;
  close(): Promise<void>;
}

/** Requests under way at once, watches included. Each has a connection, so that none waits for another. */
const MAX_REQUESTS = 256;
const CONNECT_TIMEOUT_MS = 5000;
const HEADERS_TIMEOUT_MS = 30_000;
/** Silence within an answer that is no stream. */
const BODY_TIMEOUT_MS = 30_000;

/** What the API gets to see of a browser's request: no cookies, no impersonation, nothing hop-by-hop. */
const REQUEST_HEADERS = ['accept'] as const;
/** What the browser gets to see of the API's answer. */
const RESPONSE_HEADERS = ['content-type', 'content-length', 'retry-after', 'warning'] as const;

/** A forwarder with connections of its own. */
export function createForwarder(upstream: Upstream, log: Logger): Forwarder {
  const { origin } = new URL(upstream.server);
  const pool = new Pool(origin, {
    connections: MAX_REQUESTS,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: 30_000,
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      ...(upstream.ca === undefined ? {} : { ca: upstream.ca }),
    },
  });
  let running = 0;
  return {
    forward: async (request, response, target) => {
      if (running >= MAX_REQUESTS) {
        const message = 'the console forwards as many requests as it can; try again';
        refuse(response, {
          ...{ code: 503, reason: 'ServiceUnavailable', message },
          headers: { 'retry-after': '2' },
        });
        return;
      }
      running += 1;
      try {
        await exchange(pool, { request, response, target, log });
      } finally {
        running -= 1;
      }
    },
    close: async () => pool.destroy(),
  };
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: string;
  readonly log: Logger;
}

async function exchange(pool: Pool, { request, response, target, log }: Exchange): Promise<void> {
  const left = new AbortController();
  response.once('close', () => left.abort());
  // The query may hold what selectors name; the path says enough.
  const path = target.split('?', 1)[0];
  let answer: Dispatcher.ResponseData;
  try {
    answer = await pool.request({
      path: target,
      method: 'GET',
      headers: requestHeaders(request),
      signal: left.signal,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: isStream(target) ? 0 : BODY_TIMEOUT_MS,
    });
  } catch (error) {
    if (left.signal.aborted) return;
    log.warn({ path, error: errorMessage(error) }, 'the API did not answer the console');
    refuse(response, unanswered(error));
    return;
  }
  try {
    response.writeHead(answer.statusCode, responseHeaders(answer.headers));
    // A watch may have nothing to say for a while; that it is open must be known at once.
    response.flushHeaders();
    await pipeline(answer.body, response);
  } catch (error) {
    if (!left.signal.aborted)
      log.warn({ path, error: errorMessage(error) }, 'an answer of the API broke off');
    // The browser must not take what came until now for all of it.
    response.destroy();
  }
}

function requestHeaders(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = { 'user-agent': 'mural-console' };
  for (const name of REQUEST_HEADERS) {
    const value = request.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  const { authorization } = request.headers;
  if (authorization !== undefined && /^Bearer /i.test(authorization))
    headers['authorization'] = authorization;
  return headers;
}

function responseHeaders(headers: Dispatcher.ResponseData['headers']): Record<string, string | string[]> {
  const shown: Record<string, string | string[]> = { 'cache-control': 'no-store' };
  for (const name of RESPONSE_HEADERS) {
    const value = headers[name];
    if (value !== undefined) shown[name] = value;
  }
  return shown;
}

/** Watches, and logs that are followed, may be silent for as long as they like. */
function isStream(target: string): boolean {
  const query = new URLSearchParams(target.split('?', 2)[1] ?? '');
  return ['watch', 'follow'].some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
}

function unanswered(error: unknown) {
  const code = systemCode(error) ?? '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT') {
    return { code: 504, reason: 'Timeout', message: 'the Kubernetes API did not answer in time' };
  }
  return { code: 502, reason: 'ServiceUnavailable', message: 'the Kubernetes API cannot be reached' };
}
