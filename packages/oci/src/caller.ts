import { Readable } from 'node:stream';
import {
  backoff,
  type Clock,
  type Logger,
  type ProcessEnvironment,
  type Random,
  redactUrl,
  retry,
} from '@mural/core';
import { Authenticator, type Scope } from './auth.ts';
import { namedAction } from './cloud/ecr-refusals.ts';
import type { CredentialProvider } from './credentials.ts';
import { startDeadline } from './deadline.ts';
import { OciError } from './errors.ts';
import { type Subject, statusError } from './status-error.ts';
import {
  discard,
  header,
  type HttpRequest,
  type HttpResponse,
  Transport,
  transportError,
} from './transport.ts';

/** One request as the registry client words it. */
export interface Call<T> {
  readonly method: HttpRequest['method'];
  readonly url: URL;
  readonly scope: Scope;
  readonly subject: Subject;
  /** For messages: "reading the manifest x:y". */
  readonly what: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpRequest['body'];
  /** Statuses that are a success. */
  readonly expect: readonly number[];
  /** Takes what is wanted from the answer, and reads or drops its body. */
  readonly read: (response: HttpResponse) => Promise<T>;
}

/** What the caller is made of. */
export interface CallerOptions {
  readonly origin: URL;
  readonly credentials: CredentialProvider;
  readonly ca: string | undefined;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly userAgent: string;
  readonly environment: ProcessEnvironment;
}

const ATTEMPTS = 4;
/** A burst of others can empty the bucket for longer than a server is usually away. */
const THROTTLED_ATTEMPTS = 8;
const BASE_MS = 200;
const CAP_MS = 10_000;
const THROTTLED_MS = 1000;
const MAX_REDIRECTS = 5;
const MAX_REFUSAL = 32 * 1024;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/** Carries requests out: deadlines, retries, authentication and redirects are here and nowhere else. */
export class Caller {
  readonly origin: URL;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly #options: CallerOptions;
  readonly #transport: Transport;
  readonly #auth: Authenticator;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.origin = options.origin;
    this.clock = options.clock;
    this.timeoutMs = options.timeoutMs;
    this.#transport = new Transport({
      origin: options.origin.origin,
      ca: options.ca,
      userAgent: options.userAgent,
      environment: options.environment,
    });
    this.#auth = new Authenticator(options.origin, options.credentials, this.#transport, options.clock);
  }

  /**
   * Runs `action` within one deadline, again as long as it fails in a way that may pass.
   *
   * @param extraMs time beyond `timeoutMs`, for bodies that need it
   * @throws OciError `TimedOut` when the time is up, or the reason of `signal` when that aborts
   */
  async operation<T>(
    what: string,
    signal: AbortSignal | undefined,
    action: (signal: AbortSignal) => Promise<T>,
    extraMs = 0,
  ): Promise<T> {
    const deadline = startDeadline(this.clock, this.timeoutMs + extraMs, what, signal);
    try {
      return await this.attempts(what, deadline.signal, action);
    } finally {
      deadline.end();
    }
  }

  /** As {@link operation}, within a deadline that the caller keeps: a body that is still to be read needs it. */
  async attempts<T>(
    what: string,
    signal: AbortSignal,
    action: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    let failures = 0;
    let throttled: OciError | undefined;
    const tally = (error: unknown): boolean | number => {
      failures += 1;
      throttled = error instanceof OciError && error.code === 'RateLimited' ? error : undefined;
      if (throttled === undefined && failures >= ATTEMPTS) return false;
      return this.#worthAnotherTry(error, { what, failures, signal });
    };
    try {
      return await retry(() => action(signal), {
        attempts: THROTTLED_ATTEMPTS,
        baseMs: BASE_MS,
        capMs: CAP_MS,
        clock: this.clock,
        random: this.#options.random,
        signal,
        shouldRetry: tally,
      });
    } catch (error) {
      const reason: unknown = signal.reason;
      // Time that ran out while the registry was throttling: that says more than the time.
      if (throttled !== undefined && reason instanceof OciError) throw throttled;
      if (signal.aborted) throw reason;
      throw error;
    }
  }

  /** One operation of one call. */
  async run<T>(call: Call<T>, signal: AbortSignal | undefined, extraMs = 0): Promise<T> {
    return await this.operation(call.what, signal, (inner) => this.exchange(call, inner), extraMs);
  }

  /** Sends a call once, with the answers to challenges and redirects that belong to it. */
  async exchange<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    const response = await this.#follow(call, signal);
    if (!call.expect.includes(response.status)) {
      throw await statusError(response, call, this.clock.now());
    }
    try {
      return await call.read(response);
    } catch (error) {
      response.body.destroy();
      throw transportError(error, response.url, signal);
    }
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #worthAnotherTry(
    error: unknown,
    { what, failures, signal }: { what: string; failures: number; signal: AbortSignal },
  ): boolean | number {
    if (signal.aborted || !(error instanceof OciError) || !error.retryable) return false;
    this.#options.log.debug({ code: error.code, what }, 'a registry call is tried again');
    const asked = error.facts['retryAfterMs'];
    if (typeof asked === 'number') return asked;
    // A bucket that is empty fills within seconds, not within the first short delays.
    return error.code === 'RateLimited'
      ? backoff(failures, THROTTLED_MS, CAP_MS, this.#options.random)
      : true;
  }

  async #follow(call: Call<unknown>, signal: AbortSignal): Promise<HttpResponse> {
    let url = call.url;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const response = await this.#authenticated(call, url, signal);
      const location = header(response, 'location');
      if (!REDIRECTS.includes(response.status) || location === undefined) return response;
      if (!mayRedirect(call, response.status)) return response;
      await discard(response);
      url = resolveLocation(location, url, call.what);
    }
    throw new OciError('ServerError', `${this.origin.host} redirected more than ${MAX_REDIRECTS} times`);
  }

  /** Credentials go to the registry's own origin and nowhere else. */
  async #authenticated(call: Call<unknown>, url: URL, signal: AbortSignal): Promise<HttpResponse> {
    const own = url.origin === this.origin.origin;
    let authorization = own ? await this.#auth.header(call.scope, signal) : undefined;
    let refusal: HttpResponse | undefined;
    for (let answers = 0; ; answers += 1) {
      const response = await peeked(
        await this.#send(call, url, authorization, signal),
        authorization,
        signal,
      );
      if (refusal !== undefined && endedByRefusal(call, response)) {
        await discard(response);
        return refusal;
      }
      const limit = answersTo(response, authorization);
      if (!own || answers >= limit) return response;
      const next = await this.#auth.answer(response, call.scope, authorization, signal);
      if (next === undefined) return response;
      // The body of a refusal is in memory.
      if (response.refusal === undefined) await discard(response);
      else refusal = response;
      authorization = next;
    }
  }

  async #send(
    call: Call<unknown>,
    url: URL,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    return await this.#transport.send({
      method: call.method,
      url,
      headers: { ...call.headers, ...(authorization === undefined ? {} : { authorization }) },
      body: call.body,
      signal,
    });
  }
}

interface Peeked extends HttpResponse {
  /** The start of the body of a 403 without a challenge. */
  readonly refusal?: string;
}

/** ECR says that a token has expired with 403 and no challenge: only its text tells that from a denial. */
async function peeked(
  response: HttpResponse,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<Peeked> {
  const bare = response.status === 403 && response.headers['www-authenticate'] === undefined;
  if (!bare || authorization === undefined) return response;
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_REFUSAL) break;
    }
  } catch (error) {
    throw transportError(error, response.url, signal);
  }
  const start = Buffer.concat(chunks).subarray(0, MAX_REFUSAL);
  return { ...response, body: Readable.from([start]), refusal: start.toString('utf8') };
}

/** How many answers a refusal is worth within one call: see {@link Authenticator.answer}. */
function answersTo(response: Peeked, authorization: string | undefined): number {
  if (response.status === 401) return 1;
  const { refusal } = response;
  if (refusal === undefined || authorization === undefined) return 0;
  return namedAction(refusal) === undefined ? 2 : 0;
}

/** Whether the upload is gone because it was refused, as by a quota: then the refusal says what is wrong. */
function endedByRefusal(call: Call<unknown>, response: HttpResponse): boolean {
  return response.status === 404 && call.method === 'PUT' && call.subject === 'upload';
}

function mayRedirect(call: Call<unknown>, status: number): boolean {
  return call.method === 'GET' || call.method === 'HEAD' || status === 307 || status === 308;
}

/**
 * Where a `Location` points.
 *
 * @throws OciError `ServerError` for what is not http(s), carries a user, or leaves https for http
 */
export function resolveLocation(location: string, base: URL, what: string): URL {
  const url = URL.canParse(location, base.href) ? new URL(location, base) : undefined;
  const http = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (url === undefined || !http || url.username !== '' || url.password !== '') {
    throw new OciError('RequestRefused', `${base.host} sent ${what} to a place that cannot be used`);
  }
  if (base.protocol === 'https:' && url.protocol === 'http:') {
    throw new OciError('RequestRefused', `${base.host} sent ${what} from https to ${redactUrl(url)}`, {
      hint: 'A registry behind a proxy must know that it is reached by https.',
    });
  }
  return url;
}
