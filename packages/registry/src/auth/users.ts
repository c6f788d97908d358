import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Clock, SingleFlight } from '@mural/core';
import { RegistryError, RegistrySetupError } from '../errors.ts';
import { BcryptVerifier } from './bcrypt.ts';
import { isBcryptHash } from './htpasswd.ts';
import { compilePolicies, type Permission, type RegistryPolicy } from './policy.ts';

/** Somebody who may sign in with basic authentication. Give a password or its bcrypt hash. */
export interface RegistryUser {
  readonly name: string;
  readonly password?: string;
  /** As bcrypt writes it: `$2b$10$…`. */
  readonly passwordHash?: string;
  readonly policies: readonly RegistryPolicy[];
}

/** What those may do who send no credentials. `push` stands for everything. */
export type AnonymousAccess = 'none' | 'pull' | 'push';

/** Who makes a request. */
export interface Caller {
  /** Undefined for somebody without credentials. */
  readonly name: string | undefined;
  readonly allows: Permission;
}

interface Account {
  readonly name: string;
  readonly passwordHash: string | undefined;
  /** Keyed hash of the password, when the password itself is known. */
  readonly passwordMac: Buffer | undefined;
  readonly allows: Permission;
}

interface Remembered {
  readonly account: Account | undefined;
  readonly verified: boolean;
  readonly until: number;
  /** Of the users, for refusals of a name that nobody has: the next user may have it. */
  readonly generation: number;
}

/** How long a verified credential is remembered, in milliseconds. */
const REMEMBER_MS = 5 * 60_000;
/** How long a refused one is: long enough to make guessing costly only to the one who guesses. */
const REMEMBER_REFUSED_MS = 10_000;
const MAX_REMEMBERED = 20_000;
const MAX_CREDENTIAL = 4096;
/** An empty name and password: what skopeo and podman send when they are asked for some and have none. */
const NO_CREDENTIALS = 'Basic Og==';
/** Verified in place of the hash of somebody who does not exist, so that both take as long. */
const DUMMY_HASH = '$2b$10$CwTycUXWue0Thq9StjUM0uJ8Q3Qv1x5pG8m7m2Yz6mZ8mYbq3m5S.';

/**
 * The users of the registry, and who a request comes from.
 *
 * A credential is verified once and remembered for a short time by a keyed hash of it, so that the
 * cost of bcrypt falls on the first request and not on each. What is remembered of a user is void
 * as soon as the user is set anew or removed.
 */
export class Users {
  readonly #clock: Clock;
  readonly #anonymous: Caller;
  readonly #accounts = new Map<string, Account>();
  readonly #remembered = new Map<string, Remembered>();
  readonly #bcrypt = new BcryptVerifier();
  readonly #verifying = new SingleFlight<Caller>();
  readonly #key = randomBytes(32);
  #generation = 0;

  constructor(clock: Clock, anonymous: AnonymousAccess) {
    this.#clock = clock;
    const allows: Permission =
      anonymous === 'push' ? () => true : (action) => anonymous === 'pull' && action === 'pull';
    this.#anonymous = { name: undefined, allows };
  }

  /**
   * Adds a user or replaces the one of that name.
   *
   * @throws RegistrySetupError `UserInvalid`
   */
  set(user: RegistryUser): void {
    validate(user);
    const own = compilePolicies(user.policies);
    this.#generation += 1;
    this.#accounts.set(user.name, {
      name: user.name,
      passwordHash: user.passwordHash,
      passwordMac: user.password === undefined ? undefined : this.#mac(user.password),
      allows: (action, repository) => own(action, repository) || this.#anonymous.allows(action, repository),
    });
  }

  remove(name: string): void {
    this.#accounts.delete(name);
  }

  /**
   * Who sends this `Authorization` header. Returns without a promise when the answer is at hand.
   *
   * @throws RegistryError `Unauthorized` for credentials that are wrong or cannot be read
   */
  authenticate(header: string | undefined): Caller | Promise<Caller> {
    if (header === undefined || header === NO_CREDENTIALS) return this.#anonymous;
    if (header.length > MAX_CREDENTIAL) throw unauthorized();
    const id = this.#mac(header).toString('base64');
    const known = this.#remembered.get(id);
    if (known !== undefined && this.#isCurrent(known))
      return callerOf(known.verified ? known.account : undefined);
    return this.#verifying.run(id, () => this.#verify(header, id));
  }

  async close(): Promise<void> {
    await this.#bcrypt.close();
  }

  async #verify(header: string, id: string): Promise<Caller> {
    const { name, password } = parseBasic(header);
    const account = this.#accounts.get(name);
    const verified = await this.#matches(account, password);
    this.#remember(id, account, verified);
    // The user may have changed while bcrypt was at work.
    return callerOf(verified && this.#accounts.get(name) === account ? account : undefined);
  }

  async #matches(account: Account | undefined, password: string): Promise<boolean> {
    if (account?.passwordMac !== undefined) {
      return timingSafeEqual(account.passwordMac, this.#mac(password));
    }
    if (account?.passwordHash !== undefined) {
      return await this.#bcrypt.matches(password, account.passwordHash);
    }
    const anyHash = [...this.#accounts.values()].some((other) => other.passwordHash !== undefined);
    if (anyHash) await this.#bcrypt.matches(password, DUMMY_HASH);
    return false;
  }

  #isCurrent(known: Remembered): boolean {
    if (known.until < this.#clock.now()) return false;
    if (known.account === undefined) return known.generation === this.#generation;
    return this.#accounts.get(known.account.name) === known.account;
  }

  #remember(id: string, account: Account | undefined, verified: boolean): void {
    const until = this.#clock.now() + (verified ? REMEMBER_MS : REMEMBER_REFUSED_MS);
    this.#remembered.delete(id);
    this.#remembered.set(id, { account, verified, until, generation: this.#generation });
    if (this.#remembered.size <= MAX_REMEMBERED) return;
    const oldest = this.#remembered.keys().next();
    if (oldest.done !== true) this.#remembered.delete(oldest.value);
  }

  #mac(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }
}

/** The answer to missing or wrong credentials, with the challenge that makes a client send some. */
export function unauthorized(): RegistryError {
  return new RegistryError('Unauthorized', 'Authentication is required.', {
    headers: { 'www-authenticate': 'Basic realm="mural"' },
  });
}

function callerOf(account: Account | undefined): Caller {
  if (account === undefined) throw unauthorized();
  return account;
}

/** RFC 7617. */
function parseBasic(header: string): { name: string; password: string } {
  const match = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header);
  const decoded = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (match === null || colon < 0) throw unauthorized();
  return { name: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function validate(user: RegistryUser): void {
  const fail = (why: string): never => {
    throw new RegistrySetupError('UserInvalid', `The user "${user.name}" cannot be used: ${why}.`);
  };
  if (user.name === '' || /[:\p{Cc}]/u.test(user.name))
    fail('the name is empty or has a colon or control character');
  if ((user.password === undefined) === (user.passwordHash === undefined)) {
    fail('it needs either a password or a hash of it');
  }
  if (user.password === '') fail('the password is empty');
  if (user.passwordHash !== undefined && !isBcryptHash(user.passwordHash)) fail('the hash is not of bcrypt');
}
