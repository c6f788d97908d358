import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from 'node:crypto';
import { type Clock, isRecord } from '@mural/core';
import type { JWTPayload } from 'jose';
import { RegistrySetupError } from '../errors.ts';
import { globPattern } from '../glob.ts';
import type { AccessDatabase } from './access-database.ts';
import { type Caller, UnauthorizedError } from './caller.ts';
import type { UnverifiedToken } from './jwt.ts';
import { ACTIONS, type RegistryAction } from './policy.ts';
import type { Scope } from './scope.ts';

/** How the registry gives out tokens of its own. */
export interface TokenOptions {
  /** What tokens are for, the `service` of the challenge and `aud` of a token; `mural` unless told. */
  readonly service?: string;
  /** Address of the token endpoint as clients reach it; that of the request with `/token` unless told. */
  readonly realm?: string;
  /** Life of a token in seconds, from 60 to 3600; 300 unless told. */
  readonly lifetimeSeconds?: number;
}

/** A token and what came of what was asked for. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresInSeconds: number;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  /** What the token allows, in the words of a scope. */
  readonly scope: string;
}

interface Key {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly createdAt: number;
}

interface Access {
  readonly name: string;
  /** What the token allows. */
  readonly actions: readonly RegistryAction[];
  /** What was asked for: more of it is not to be had by asking again. */
  readonly asked: readonly RegistryAction[];
}

const ALGORITHM = 'ES256';
const MIN_LIFETIME_S = 60;
const MAX_LIFETIME_S = 3600;
const DEFAULT_LIFETIME_S = 300;
/** A key signs for this long, and verifies for as long again as a token may live. */
const KEY_LIFE_MS = 30 * 24 * 3_600_000;
const MAX_CATALOG = 4096;

/**
 * Signs and checks the registry's own tokens (distribution, "Token Authentication Specification"):
 * ES256 and no other algorithm, with a key of the data folder that is replaced every 30 days.
 *
 * A token holds what it allows and is checked without asking anything else, so that a user who is
 * changed or removed keeps what a token gives until it ends, 5 minutes later unless told otherwise.
 */
export class Tokens {
  readonly service: string;
  readonly #db: AccessDatabase;
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  #keys: readonly Key[];
  #version = -1;

  /** @throws RegistrySetupError `TokenOptionsInvalid` */
  constructor(db: AccessDatabase, clock: Clock, options: TokenOptions) {
    checkTokenOptions(options);
    this.#db = db;
    this.#clock = clock;
    this.service = options.service ?? 'mural';
    this.#lifetimeMs = (options.lifetimeSeconds ?? DEFAULT_LIFETIME_S) * 1000;
    this.#keys = [];
    this.#load();
  }

  /** Whether this key signed tokens that may still live. */
  hasKey(kid: string): boolean {
    return this.#find(kid) !== undefined;
  }

  /** Signs with another key from now on; tokens of the one before stay good until they end. */
  rotate(): void {
    this.#db.transaction(() => this.#addKey());
    this.#load();
  }

  /** A token with as much of `scopes` as the caller may do. */
  async issue(caller: Caller, scopes: readonly Scope[]): Promise<IssuedToken> {
    const now = Math.floor(this.#clock.now() / 1000);
    const lifetime = Math.floor(Math.min(this.#lifetimeMs, caller.expires - this.#clock.now()) / 1000);
    const access = scopes.flatMap((scope) => (scope.type === 'repository' ? [accessOf(caller, scope)] : []));
    const catalog = scopes.some(({ type }) => type === 'catalog') ? readable(caller) : undefined;
    const key = this.#signingKey();
    const payload = { access: access.map((one) => ({ type: 'repository', ...one })) };
    const { SignJWT } = await import('jose');
    const token = await new SignJWT(catalog === undefined ? payload : { ...payload, catalog })
      .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid: key.kid })
      .setIssuer(this.service)
      .setSubject(caller.name ?? '')
      .setAudience(this.service)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + lifetime)
      .setJti(randomUUID())
      .sign(key.privateKey);
    const granted = access.filter(({ actions }) => actions.length > 0);
    const scope = granted.map(({ name, actions }) => `repository:${name}:${actions.join(',')}`);
    if (catalog !== undefined) scope.push('registry:catalog:*');
    return { token, expiresInSeconds: lifetime, issuedAt: now * 1000, scope: scope.join(' ') };
  }

  /**
   * Who a token of ours stands for.
   *
   * @throws UnauthorizedError
   */
  async verify(token: string, unverified: UnverifiedToken): Promise<Caller> {
    const key = this.#find(unverified.kid ?? '');
    if (key === undefined) throw new UnauthorizedError('invalid_token');
    const { jwtVerify } = await import('jose');
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, key.publicKey, {
        algorithms: [ALGORITHM],
        issuer: this.service,
        audience: this.service,
        typ: 'JWT',
        requiredClaims: ['exp', 'nbf', 'iat', 'sub', 'access'],
        currentDate: new Date(this.#clock.now()),
      }));
    } catch {
      throw new UnauthorizedError('invalid_token');
    }
    return callerOf(payload);
  }

  #signingKey(): Key {
    const newest = this.#keys[0];
    if (newest !== undefined && this.#clock.now() - newest.createdAt < KEY_LIFE_MS) return newest;
    this.rotate();
    const made = this.#keys[0];
    if (made === undefined) throw new Error('the key that was just made is not there');
    return made;
  }

  #find(kid: string): Key | undefined {
    const found = this.#keys.find((key) => key.kid === kid);
    if (found !== undefined || this.#db.version === this.#version) return found;
    this.#load();
    return this.#keys.find((key) => key.kid === kid);
  }

  #load(): void {
    this.#version = this.#db.version;
    const rows = this.#db
      .statement("SELECT id, secret, created_at FROM keys WHERE kind = 'tokens' ORDER BY created_at DESC, id")
      .all();
    this.#keys = rows.map((row) => {
      const privateKey = createPrivateKey(String(row['secret']));
      const kid = String(row['id']);
      return {
        kid,
        privateKey,
        publicKey: createPublicKey(privateKey),
        createdAt: Number(row['created_at']),
      };
    });
  }

  #addKey(): void {
    const now = this.#clock.now();
    // A key whose successor is older than any token of it can be is of no more use.
    this.#db
      .statement(
        `DELETE FROM keys WHERE kind = 'tokens' AND EXISTS (
           SELECT 1 FROM keys AS later WHERE later.kind = 'tokens'
             AND later.created_at > keys.created_at AND later.created_at < ?)`,
      )
      .run(now - 2 * MAX_LIFETIME_S * 1000);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const secret = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    this.#db
      .statement("INSERT INTO keys (id, kind, secret, created_at) VALUES (?, 'tokens', ?, ?)")
      .run(randomUUID(), secret, now);
  }
}

/** @throws RegistrySetupError `TokenOptionsInvalid` */
export function checkTokenOptions(options: TokenOptions): void {
  const { service = 'mural', realm, lifetimeSeconds = DEFAULT_LIFETIME_S } = options;
  const fail = (why: string): never => {
    throw new RegistrySetupError('TokenOptionsInvalid', `Tokens cannot be given out: ${why}.`);
  };
  if (!/^[\w.:-]{1,200}$/.test(service))
    fail('the service has other characters than letters, digits and ._:-');
  if (realm !== undefined && !/^https?:\/\/[^\s"\\]{1,500}$/.test(realm)) fail('the realm is not a URL');
  if (!(lifetimeSeconds >= MIN_LIFETIME_S && lifetimeSeconds <= MAX_LIFETIME_S)) {
    fail(`the life of a token must be ${MIN_LIFETIME_S} to ${MAX_LIFETIME_S} seconds`);
  }
}

function accessOf(caller: Caller, scope: Scope & { type: 'repository' }): Access {
  const { name, actions: asked } = scope;
  return { name, actions: asked.filter((action) => caller.allows(action, name)), asked };
}

/** The patterns of what the caller may read, for the catalog; none when they are too long for a header. */
function readable(caller: Caller): string[] {
  const policies = caller.permissions?.policies ?? [];
  const patterns = policies.filter(({ actions }) => actions.includes('read')).map((one) => one.repositories);
  return patterns.join('').length > MAX_CATALOG ? [] : [...new Set(patterns)];
}

function callerOf(payload: JWTPayload): Caller {
  const access = readAccess(payload['access']);
  const catalog = payload['catalog'];
  const patterns = Array.isArray(catalog)
    ? catalog.filter((one) => typeof one === 'string').map((one) => globPattern(one))
    : undefined;
  const allows = (action: RegistryAction, repository: string): boolean =>
    access.get(repository)?.actions.includes(action) === true;
  return {
    name: payload.sub === '' ? undefined : payload.sub,
    allows,
    allowsSomewhere: (action) => [...access.values()].some(({ actions }) => actions.includes(action)),
    sees: (repository) =>
      patterns === undefined
        ? allows('read', repository)
        : patterns.some((pattern) => pattern.test(repository)),
    administers: false,
    mightAskFor: (action, repository) => access.get(repository)?.asked.includes(action) !== true,
    permissions: undefined,
    expires: (payload.exp ?? 0) * 1000,
  };
}

function readAccess(claim: unknown): ReadonlyMap<string, Access> {
  const access = new Map<string, Access>();
  for (const entry of Array.isArray(claim) ? claim : []) {
    if (!isRecord(entry) || entry['type'] !== 'repository' || typeof entry['name'] !== 'string') continue;
    const name = entry['name'];
    access.set(name, { name, actions: known(entry['actions']), asked: known(entry['asked']) });
  }
  return access;
}

function known(actions: unknown): RegistryAction[] {
  return ACTIONS.filter((action) => Array.isArray(actions) && actions.includes(action));
}
