import { type Clock, SingleFlight } from '@mural/core';
import { type Challenge, parseChallenges } from './challenge.ts';
import {
  basicHeader,
  type Credential,
  credentialOfHeader,
  type CredentialProvider,
  type CredentialRequest,
} from './credentials.ts';
import { OciError } from './errors.ts';
import { header, type HttpResponse, readBounded, type Transport } from './transport.ts';

/** What a request is about: decides which token it needs. */
export interface Scope {
  readonly repository?: string;
  /** In the order of the token specification: `pull` or `pull,push` or `delete`. */
  readonly actions: string;
}

interface Token {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

interface Bearer {
  readonly scheme: 'bearer';
  readonly realm: URL;
  readonly service: string | undefined;
}

type Mode = { readonly scheme: 'none' } | { readonly scheme: 'basic' } | Bearer;

const MAX_TOKEN_BODY = 64 * 1024;
const MAX_TOKENS = 256;
/** What the token specification gives a token that says nothing about its life. */
const DEFAULT_TOKEN_SECONDS = 60;

/** Makes `Authorization` headers for one registry, and learns from its challenges how it wants them. */
export class Authenticator {
  readonly #origin: URL;
  readonly #credentials: CredentialProvider;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Token>();
  readonly #exchanges = new SingleFlight<Token>();
  #mode: Mode = { scheme: 'none' };

  constructor(origin: URL, credentials: CredentialProvider, transport: Transport, clock: Clock) {
    this.#origin = origin;
    this.#credentials = credentials;
    this.#transport = transport;
    this.#clock = clock;
  }

  /** The header for a request, or `undefined` as long as the registry has asked for none. */
  async header(scope: Scope, signal: AbortSignal): Promise<string | undefined> {
    if (this.#mode.scheme === 'none') return undefined;
    if (this.#mode.scheme === 'basic') {
      const credential = await this.#ask({}, this.#origin, signal);
      return credential === undefined ? undefined : basicHeader(credential);
    }
    const token = await this.#token(this.#mode, scope, undefined, signal);
    return `Bearer ${token.value}`;
  }

  /**
   * Takes in a 401, or a 403 without a challenge.
   *
   * @returns the header to try once more with, or `undefined` when there is nothing better to offer
   * @throws OciError `AuthenticationFailed` when no usable scheme is offered or the token is refused
   */
  async answer(
    response: HttpResponse,
    scope: Scope,
    sent: string | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(response.headers['www-authenticate']);
    if (challenges.length > 0) this.#learn(challenges);
    else if (this.#mode.scheme === 'none') return undefined;
    if (this.#mode.scheme === 'bearer') {
      const asked = challenges.find((challenge) => challenge.scheme === 'bearer')?.parameters['scope'];
      if (sent !== undefined) this.#tokens.delete(scopeText(scope));
      const token = await this.#token(this.#mode, scope, asked, signal);
      const next = `Bearer ${token.value}`;
      return next === sent ? undefined : next;
    }
    const rejected = credentialOfHeader(sent);
    const credential = await this.#ask(rejected === undefined ? {} : { rejected }, this.#origin, signal);
    if (credential === undefined) return undefined;
    const next = basicHeader(credential);
    return next === sent ? undefined : next;
  }

  #learn(challenges: readonly Challenge[]): void {
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (bearer !== undefined) {
      const { realm, service } = bearer.parameters;
      this.#mode = { scheme: 'bearer', realm: this.#checkRealm(realm), service };
      return;
    }
    if (challenges.some((challenge) => challenge.scheme === 'basic')) {
      this.#mode = { scheme: 'basic' };
      return;
    }
    const offered = challenges.map((challenge) => challenge.scheme).join(', ');
    throw new OciError(
      'AuthenticationFailed',
      `${this.#origin.host} offers no way to sign in that is known: ${offered}`,
    );
  }

  /** A realm must be https, or plain http where the registry is so too. */
  #checkRealm(realm: string | undefined): URL {
    const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined;
    const sound =
      url?.protocol === 'https:' || (url?.protocol === 'http:' && this.#origin.protocol === 'http:');
    if (url === undefined || !sound || url.username !== '' || url.password !== '') {
      throw new OciError(
        'AuthenticationFailed',
        `${this.#origin.host} names a token server that is not safe to use`,
        {
          hint: 'Its realm must be an https URL.',
        },
      );
    }
    return url;
  }

  async #token(mode: Bearer, scope: Scope, asked: string | undefined, signal: AbortSignal): Promise<Token> {
    const key = scopeText(scope);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && cached.expires > this.#clock.now()) return cached;
    const token = await this.#exchangeOnce(
      key,
      () => this.#exchange(mode, wantedScope(scope, asked), signal),
      signal,
    );
    if (this.#tokens.size >= MAX_TOKENS) this.#tokens.clear();
    this.#tokens.set(key, token);
    return token;
  }

  /** Shares a running exchange, but not the end of somebody else's deadline. */
  async #exchangeOnce(key: string, exchange: () => Promise<Token>, signal: AbortSignal): Promise<Token> {
    const run = { own: false };
    try {
      return await this.#exchanges.run(key, async () => {
        run.own = true;
        return await exchange();
      });
    } catch (error) {
      const ended = !(error instanceof OciError) || error.code === 'TimedOut';
      if (run.own || signal.aborted || !ended) throw error;
      return await exchange();
    }
  }

  async #exchange(mode: Bearer, scope: string, signal: AbortSignal): Promise<Token> {
    const url = new URL(mode.realm);
    if (mode.service !== undefined) url.searchParams.set('service', mode.service);
    if (scope !== '') url.searchParams.set('scope', scope);
    const trusted = url.protocol === 'https:' || url.origin === this.#origin.origin;
    let credential = trusted ? await this.#ask({}, url, signal) : undefined;
    let { response, body } = await this.#askTokenServer(url, credential, signal);
    if (credential !== undefined && (response.status === 401 || response.status === 403)) {
      const next = await this.#ask({ rejected: credential }, url, signal);
      if (next !== undefined && basicHeader(next) !== basicHeader(credential)) {
        credential = next;
        ({ response, body } = await this.#askTokenServer(url, credential, signal));
      }
    }
    if (response.status !== 200) throw tokenRefused(url, response);
    return readToken(body, url, this.#clock.now());
  }

  async #askTokenServer(
    url: URL,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly response: HttpResponse; readonly body: Buffer }> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (credential !== undefined) headers['authorization'] = basicHeader(credential);
    const response = await this.#transport.send({ method: 'GET', url, headers, signal });
    return { response, body: await readBounded(response, MAX_TOKEN_BODY, 'the answer of the token server') };
  }

  /** Asks the provider for what may be sent to `url`, and waits for it no longer than the call lasts. */
  async #ask(request: CredentialRequest, url: URL, signal: AbortSignal): Promise<Credential | undefined> {
    signal.throwIfAborted();
    const full = { ...request, to: url.host, insecure: url.protocol !== 'https:' };
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([this.#credentials(full), aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** Ours, unless the registry asks for one that is not about this repository (ECR Public: `aws`). */
function wantedScope(scope: Scope, asked: string | undefined): string {
  const own = scopeText(scope);
  if (asked === undefined || asked === '') return own;
  const sameRepository =
    scope.repository !== undefined && asked.startsWith(`repository:${scope.repository}:`);
  return sameRepository ? own : asked;
}

function scopeText(scope: Scope): string {
  return scope.repository === undefined ? '' : `repository:${scope.repository}:${scope.actions}`;
}

function tokenRefused(url: URL, response: HttpResponse): OciError {
  const { status } = response;
  const facts = { host: url.host, status };
  if (status === 429) {
    const retryAfterMs = Number(header(response, 'retry-after') ?? 0) * 1000;
    return new OciError('RateLimited', `the token server ${url.host} asks to come back later`, {
      retryable: true,
      facts: { ...facts, ...(Number.isFinite(retryAfterMs) ? { retryAfterMs } : {}) },
    });
  }
  if (status >= 500) {
    return new OciError('ServerError', `the token server ${url.host} answered ${status}`, {
      retryable: true,
      facts,
    });
  }
  return new OciError(
    'AuthenticationFailed',
    `the token server ${url.host} refused the credentials (${status})`,
    {
      facts,
    },
  );
}

function readToken(body: Buffer, url: URL, now: number): Token {
  let document: unknown;
  try {
    document = JSON.parse(body.toString('utf8'));
  } catch {
    document = undefined;
  }
  const fields = (typeof document === 'object' && document !== null ? document : {}) as Record<
    string,
    unknown
  >;
  const value = [fields['token'], fields['access_token']].find(
    (one) => typeof one === 'string' && one !== '',
  );
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new OciError('AuthenticationFailed', `the token server ${url.host} gave no token`);
  }
  const told = fields['expires_in'];
  const seconds = typeof told === 'number' && told > 0 ? told : DEFAULT_TOKEN_SECONDS;
  // A tenth of its life is left for clocks that differ and requests that take long.
  return { value, expires: now + seconds * 900 };
}
