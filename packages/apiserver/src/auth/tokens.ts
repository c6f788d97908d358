import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@mural/core';
import { writeFileAtomic } from '@mural/core';
import type { CryptoKey, JWK } from 'jose';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, jwtVerify, SignJWT } from 'jose';
import type { User } from '../api.ts';
import type { Stored } from '../objects.ts';
import { dig, digString, omit } from '../objects.ts';
import type { Store } from '../storage/store.ts';

/** The issuer and default audience of bound tokens: that of a cluster. */
export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const LEGACY_ISSUER = 'kubernetes/serviceaccount';
const ALGORITHM = 'ES256';
/** Verified signatures are remembered, for that many tokens; what a token refers to is looked up each time. */
const REMEMBERED = 2000;

/** What a token is bound to besides its account. */
export interface BoundObject {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** A token that was accepted. */
export interface Verified {
  readonly user: User;
  readonly audiences: readonly string[];
}

interface Claims {
  readonly [claim: string]: unknown;
}

/** Signs and checks the tokens of service accounts. */
export class TokenAuthority {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #privateKey: CryptoKey;
  readonly #publicKey: CryptoKey;
  /** The public key as a JWK, for `/openid/v1/jwks`. */
  readonly publicJwk: JWK;
  readonly #verified = new Map<string, Claims>();

  private constructor(store: Store, clock: Clock, keys: Keys) {
    this.#store = store;
    this.#clock = clock;
    this.#privateKey = keys.privateKey;
    this.#publicKey = keys.publicKey;
    this.publicJwk = keys.publicJwk;
  }

  /** Opens the authority whose key is in `directory`; makes the key, readable to the owner alone, when there is none. */
  static async open(directory: string, store: Store, clock: Clock): Promise<TokenAuthority> {
    return new TokenAuthority(store, clock, await loadKeys(directory));
  }

  /** A token for an account, bound to its life and to that of `bound`. */
  async issue(
    account: Stored,
    options: {
      readonly audiences: readonly string[];
      readonly seconds: number;
      readonly bound?: BoundObject;
    },
  ): Promise<{ readonly token: string; readonly expires: number }> {
    const now = Math.floor(this.#clock.now() / 1000);
    const { namespace = '', name = '', uid = '' } = account.metadata;
    const { bound } = options;
    const kubernetes = {
      namespace,
      serviceaccount: { name, uid },
      ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
    };
    const expires = now + options.seconds;
    const token = await new SignJWT({ 'kubernetes.io': kubernetes })
      .setProtectedHeader({ alg: ALGORITHM, kid: this.publicJwk.kid ?? '' })
      .setIssuer(ISSUER)
      .setSubject(`system:serviceaccount:${namespace}:${name}`)
      .setAudience([...options.audiences])
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(expires)
      .setJti(randomUUID())
      .sign(this.#privateKey);
    return { token, expires: expires * 1000 };
  }

  /** A token without end for a Secret of type `kubernetes.io/service-account-token`; it dies with the Secret. */
  async issueForSecret(account: Stored, secret: string): Promise<string> {
    const { namespace = '', name = '', uid = '' } = account.metadata;
    return await new SignJWT({
      'kubernetes.io/serviceaccount/namespace': namespace,
      'kubernetes.io/serviceaccount/secret.name': secret,
      'kubernetes.io/serviceaccount/service-account.name': name,
      'kubernetes.io/serviceaccount/service-account.uid': uid,
    })
      .setProtectedHeader({ alg: ALGORITHM, kid: this.publicJwk.kid ?? '' })
      .setIssuer(LEGACY_ISSUER)
      .setSubject(`system:serviceaccount:${namespace}:${name}`)
      .sign(this.#privateKey);
  }

  /** Who a token stands for; `undefined` when it is not ours, has expired or what it is bound to is gone. */
  async verify(token: string, audiences: readonly string[] = [ISSUER]): Promise<Verified | undefined> {
    const claims = await this.#claims(token);
    if (claims === undefined) return undefined;
    if (claims['iss'] === LEGACY_ISSUER) return this.#legacy(token, claims);
    return this.#bound(claims, audiences);
  }

  async #claims(token: string): Promise<Claims | undefined> {
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#verified.get(key);
    if (known !== undefined) return this.#inTime(known) ? known : undefined;
    try {
      const { payload } = await jwtVerify(token, this.#publicKey, {
        algorithms: [ALGORITHM],
        currentDate: new Date(this.#clock.now()),
      });
      const oldest = this.#verified.keys().next();
      if (this.#verified.size >= REMEMBERED && oldest.done !== true) this.#verified.delete(oldest.value);
      this.#verified.set(key, payload);
      return payload;
    } catch {
      return undefined;
    }
  }

  #inTime(claims: Claims): boolean {
    const expires = claims['exp'];
    return typeof expires !== 'number' || expires * 1000 > this.#clock.now();
  }

  #legacy(token: string, claims: Claims): Verified | undefined {
    const namespace = digString(claims, 'kubernetes.io/serviceaccount/namespace');
    const name = digString(claims, 'kubernetes.io/serviceaccount/service-account.name');
    const uid = digString(claims, 'kubernetes.io/serviceaccount/service-account.uid');
    const secretName = digString(claims, 'kubernetes.io/serviceaccount/secret.name');
    const secret = this.#store.get('secrets', namespace, secretName);
    const held = Buffer.from(digString(secret, 'data', 'token'), 'base64').toString('utf8');
    if (secret?.metadata.deletionTimestamp !== undefined || held !== token) return undefined;
    const user = this.#user(namespace, name, uid);
    return user === undefined ? undefined : { user, audiences: [ISSUER] };
  }

  #bound(claims: Claims, wanted: readonly string[]): Verified | undefined {
    if (claims['iss'] !== ISSUER) return undefined;
    const given = [claims['aud']].flat().filter((one) => typeof one === 'string');
    const audiences = given.filter((one) => wanted.includes(one));
    const kubernetes = claims['kubernetes.io'];
    const namespace = digString(kubernetes, 'namespace');
    if (audiences.length === 0 || !this.#stands(kubernetes, namespace)) return undefined;
    const uid = digString(kubernetes, 'serviceaccount', 'uid');
    const user = this.#user(namespace, digString(kubernetes, 'serviceaccount', 'name'), uid);
    return user === undefined ? undefined : { user, audiences };
  }

  /** Whether the objects that a token is bound to are still there. */
  #stands(kubernetes: unknown, namespace: string): boolean {
    const kinds = [
      ['pod', 'pods', namespace],
      ['secret', 'secrets', namespace],
      ['node', 'nodes', ''],
    ] as const;
    return kinds.every(([kind, storage, place]) => {
      if (dig(kubernetes, kind) === undefined) return true;
      const found = this.#store.get(storage, place, digString(kubernetes, kind, 'name'));
      return found !== undefined && found.metadata.uid === digString(kubernetes, kind, 'uid');
    });
  }

  #user(namespace: string, name: string, uid: string): User | undefined {
    const account = this.#store.get('serviceaccounts', namespace, name);
    if (account === undefined || account.metadata.uid !== uid) return undefined;
    if (account.metadata.deletionTimestamp !== undefined) return undefined;
    return {
      name: `system:serviceaccount:${namespace}:${name}`,
      uid,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    };
  }
}

interface Keys {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
}

async function loadKeys(directory: string): Promise<Keys> {
  const path = join(directory, 'service-account-key.json');
  if (!existsSync(path)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const pair = await generateKeyPair(ALGORITHM, { extractable: true });
    await writeFileAtomic(path, JSON.stringify(await exportJWK(pair.privateKey)), { mode: 0o600 });
  }
  const jwk = JSON.parse(readFileSync(path, 'utf8')) as JWK;
  const open = omit({ ...jwk }, 'd') as JWK;
  const kid = await calculateJwkThumbprint(open);
  return {
    privateKey: (await importJWK(jwk, ALGORITHM)) as CryptoKey,
    publicKey: (await importJWK(open, ALGORITHM)) as CryptoKey,
    publicJwk: { ...open, kid, use: 'sig', alg: ALGORITHM },
  };
}
