import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import {
  type Clock,
  errorMessage,
  isLoopbackHost,
  isRecord,
  type Logger,
  SingleFlight,
  withDeadline,
} from '@mural/core';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { RegistryError } from '../errors.ts';

/** Where the keys of an issuer come from. */
export interface IssuerKeysOptions {
  /** The issuer as it stands in `iss`. */
  readonly issuer: string;
  /** Where the discovery document is, if not below the issuer. */
  readonly discoveryUrl?: string;
  /** Where the keys are; found by discovery unless given. */
  readonly jwksUri?: string;
  /** PEM of the CA of that server, where the system's do not do. */
  readonly ca?: string;
  /** File with a token to show to that server, read at each fetch: Kubernetes asks for one. */
  readonly tokenFile?: string;
}

/** Finds keys of a set for a token, as jose asks for them. */
export type KeySet = JWTVerifyGetKey;

const DEADLINE_MS = 10_000;
const MAX_BYTES = 512 * 1024;
const MAX_KEYS = 100;
/** Keys are looked up anew when they are older than this, and used until then. */
const FRESH_MS = 15 * 60_000;
/** Keys that could not be looked up anew are used for this long. */
const STALE_MS = 24 * 3_600_000;
/** Least time between two look-ups, whatever tokens come. */
const MIN_PAUSE_MS = 60_000;
/** Least time between two look-ups while there are no keys at all. */
const RETRY_PAUSE_MS = 5000;

interface Fetched {
  readonly keys: KeySet;
  readonly kids: ReadonlySet<string>;
  readonly at: number;
}

/**
 * The keys of one issuer: fetched when first needed, once for all who wait, and kept. A key that is
 * not among them has them fetched again, once a minute at most.
 */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #flight = new SingleFlight<void>();
  #fetched: Fetched | undefined;
  #triedAt = -Infinity;

  constructor(options: IssuerKeysOptions, clock: Clock, log: Logger) {
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * The keys to check a token with that names `kid`; undefined when the issuer has no such key.
   *
   * @throws RegistryError `IssuerUnavailable` when there are no keys to be had
   */
  async keysFor(kid: string): Promise<KeySet | undefined> {
    const now = this.#clock.now();
    const known = this.#fetched;
    if (known === undefined || now - known.at > STALE_MS) await this.#fetchNow(RETRY_PAUSE_MS);
    else if (!known.kids.has(kid)) await this.#fetchNow(MIN_PAUSE_MS);
    else if (now - known.at > FRESH_MS) void this.#fetchNow(MIN_PAUSE_MS);
    const keys = this.#fetched;
    if (keys === undefined || this.#clock.now() - keys.at > STALE_MS) {
      throw new RegistryError('IssuerUnavailable', 'The issuer of this token cannot be asked for its keys.', {
        headers: { 'retry-after': String(RETRY_PAUSE_MS / 1000) },
        retryable: true,
      });
    }
    return keys.kids.has(kid) ? keys.keys : undefined;
  }

  /** Never rejects: what there is stays in use. */
  async #fetchNow(pause: number): Promise<void> {
    await this.#flight.run('keys', async () => {
      if (this.#clock.now() - this.#triedAt < pause) return;
      this.#triedAt = this.#clock.now();
      const { issuer } = this.#options;
      try {
        this.#fetched = await withDeadline(
          { clock: this.#clock, ms: DEADLINE_MS, expired: () => new Error('it did not answer in time') },
          async (signal) => this.#fetch(signal),
        );
        this.#log.info({ issuer, keys: this.#fetched.kids.size }, 'keys of an issuer fetched');
      } catch (error) {
        this.#log.warn({ issuer, error: errorMessage(error) }, 'keys of an issuer could not be fetched');
      }
    });
  }

  async #fetch(signal: AbortSignal): Promise<Fetched> {
    const url = this.#options.jwksUri ?? (await this.#discover(signal));
    return { ...readKeys(await this.#get(url, signal)), at: this.#clock.now() };
  }

  /** OpenID Connect Discovery 1.0, 4: the document names the issuer that it was asked of, or it is not used. */
  async #discover(signal: AbortSignal): Promise<string> {
    const { issuer, discoveryUrl } = this.#options;
    const url = discoveryUrl ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const document = await this.#get(url, signal);
    if (!isRecord(document) || document['issuer'] !== issuer) {
      throw new Error('the discovery document names another issuer');
    }
    const uri = document['jwks_uri'];
    if (typeof uri !== 'string' || !isSafeUrl(uri)) throw new Error('its jwks_uri is not an https URL');
    return uri;
  }

  async #get(url: string, signal: AbortSignal): Promise<unknown> {
    const { tokenFile } = this.#options;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (tokenFile !== undefined && this.#isOurs(url)) {
      headers['authorization'] = `Bearer ${(await readFile(tokenFile, { encoding: 'utf8', signal })).trim()}`;
    }
    return JSON.parse(await get(url, { headers, ca: this.#options.ca, signal })) as unknown;
  }

  /** The token of the file goes to the place that the options name, and nowhere that a document names. */
  #isOurs(url: string): boolean {
    const { issuer, discoveryUrl, jwksUri } = this.#options;
    return new URL(url).origin === new URL(jwksUri ?? discoveryUrl ?? issuer).origin;
  }
}

/**
 * Reads a JSON Web Key Set (RFC 7517, 5). Keys that are not public keys for signatures are left out.
 *
 * @throws Error when it is not one, or has no key with a `kid`
 */
export function readKeys(document: unknown): Omit<Fetched, 'at'> {
  const list = isRecord(document) ? document['keys'] : undefined;
  if (!Array.isArray(list)) throw new Error('it is not a JSON Web Key Set');
  if (list.length > MAX_KEYS) throw new Error(`it has more than ${MAX_KEYS} keys`);
  const keys = list.filter(
    (key): key is JSONWebKeySet['keys'][number] =>
      isRecord(key) &&
      ['RSA', 'EC', 'OKP'].includes(String(key['kty'])) &&
      typeof key['kid'] === 'string' &&
      (key['use'] === undefined || key['use'] === 'sig'),
  );
  if (keys.length === 0) throw new Error('it has no key for signatures that has a kid');
  return { keys: keySetOf({ keys }), kids: new Set(keys.map(({ kid }) => String(kid))) };
}

/** The library is loaded with the first token. */
function keySetOf(jwks: JSONWebKeySet): KeySet {
  let find: Promise<KeySet> | undefined;
  return async (header, token) => {
    find ??= import('jose').then(({ createLocalJWKSet }) => createLocalJWKSet(jwks));
    return (await find)(header, token);
  };
}

/** Whether keys may be fetched from there: nobody may change them on the way. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname));
}

interface Getting {
  readonly headers: Record<string, string>;
  readonly ca: string | undefined;
  readonly signal: AbortSignal;
}

/** One GET without redirects, over a connection of its own, through the proxy that the environment names. */
async function get(url: string, { headers, ca, signal }: Getting): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const secure = url.startsWith('https:');
  const proxyEnv = isLoopbackHost(new URL(url).hostname) ? {} : { proxyEnv: process.env };
  const agent = secure ? new HttpsAgent(proxyEnv) : new HttpAgent(proxyEnv);
  const options = { headers, signal, agent, ...(ca === undefined ? {} : { ca }) };
  const request = secure ? httpsRequest(url, options, resolve) : httpRequest(url, options, resolve);
  request.on('error', reject);
  request.end();
  try {
    const response = await promise;
    if (response.statusCode !== 200) throw new Error(`it answered with status ${response.statusCode ?? 0}`);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_BYTES) throw new Error(`the answer is larger than ${MAX_BYTES} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    request.destroy();
    agent.destroy();
  }
}
