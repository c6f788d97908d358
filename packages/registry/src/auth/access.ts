import type { HttpRequest } from '../wire/message.ts';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Clock, type Logger, SingleFlight } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { AccessDatabase } from './access-database.ts';
import { type Asking, BcryptVerifier } from './bcrypt.ts';
import {
  type AnonymousAccess,
  anonymousPolicies,
  type Caller,
  callerWith,
  UnauthorizedError,
} from './caller.ts';
import {
  CertificateCallers,
  checkClientCertificates,
  type ClientCertificates,
} from './client-certificates.ts';
import { MAX_TOKEN, readUnverified } from './jwt.ts';
import { checkIssuer, type OidcIssuer, OidcIssuers } from './oidc.ts';
import { checkPolicies } from './policy.ts';
import { Remembered, type Verdict } from './remembered.ts';
import { Robots } from './robots.ts';
import { LoginThrottle, sourceOf } from './throttle.ts';
import { checkTokenOptions, type TokenOptions, Tokens } from './tokens.ts';
import { checkUser, type RegistryUser, ROBOT_PREFIX, Users } from './users.ts';

/** Who may use a registry, and how they show who they are. */
export interface AccessOptions {
  readonly users?: readonly RegistryUser[];
  /** What is open to those without credentials, `none` unless told. */
  readonly anonymous?: AnonymousAccess;
  /** Gives out tokens and asks for them; clients sign in with basic authentication unless given. */
  readonly token?: TokenOptions;
  /** Issuers whose tokens are taken, as bearer tokens and as passwords. */
  readonly oidc?: readonly OidcIssuer[];
  /** Who may sign in with a certificate. */
  readonly clientCertificates?: ClientCertificates;
}

/**
 * Says whether a registry could be started with this, without starting anything.
 *
 * @throws RegistrySetupError as {@link Access.open}
 */
export function checkAccess(options: AccessOptions): void {
  const anonymous = anonymousPolicies(options.anonymous ?? 'none');
  checkPolicies(anonymous, 'anonymous callers');
  for (const user of options.users ?? []) checkUser(user);
  if (options.token !== undefined) checkTokenOptions(options.token);
  for (const issuer of options.oidc ?? []) checkIssuer(issuer);
  if (options.clientCertificates !== undefined) checkClientCertificates(options.clientCertificates);
}

/**
 * How long a verified password is remembered, in milliseconds: with thousands of users their
 * verifications must fit on one thread. What is changed or removed ends at once all the same.
 */
const REMEMBER_MS = 3_600_000;
/** How long a verified token is: a key that an issuer withdraws ends it then. */
const REMEMBER_TOKEN_MS = 5 * 60_000;
/** How long a refused one is: long enough to make guessing costly only to the one who guesses. */
const REMEMBER_REFUSED_MS = 10_000;
const MAX_CREDENTIAL = MAX_TOKEN + 1024;
/** An empty name and password: what skopeo and podman send when they are asked for some and have none. */
const NO_CREDENTIALS = 'Basic Og==';
const MAX_LOGGED_NAME = 128;

/** Says who makes a request. */
export class Access {
  readonly users: Users;
  readonly robots: Robots;
  /** Undefined where no tokens are given out. */
  readonly tokens: Tokens | undefined;
  readonly realm: string | undefined;
  readonly certificates: CertificateCallers;
  readonly #oidc: OidcIssuers;
  readonly #anonymous: Caller;
  readonly #db: AccessDatabase;
  readonly #bcrypt = new BcryptVerifier();
  readonly #throttle: LoginThrottle;
  readonly #remembered: Remembered;
  readonly #verifying = new SingleFlight<Caller>();
  readonly #clock: Clock;
  readonly #log: Logger;
  #generation = 0;
  /** Sign-ins that were refused, and those that were told to come later, since the start. */
  readonly signIns = { refused: 0, slowedDown: 0 };

  private constructor(db: AccessDatabase, options: AccessOptions, clock: Clock, log: Logger) {
    checkAccess(options);
    const anonymous = anonymousPolicies(options.anonymous ?? 'none');
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#anonymous = callerWith(undefined, anonymous);
    this.#throttle = new LoginThrottle(clock);
    this.#remembered = new Remembered(clock);
    this.users = new Users(this.#bcrypt, anonymous);
    this.users.replace(options.users ?? []);
    this.robots = new Robots(db, clock, anonymous);
    this.tokens = options.token === undefined ? undefined : new Tokens(db, clock, options.token);
    this.realm = options.token?.realm;
    this.#oidc = new OidcIssuers(options.oidc ?? [], { clock, log, anonymous });
    this.certificates = new CertificateCallers(options.clientCertificates, clock, anonymous);
  }

  /**
   * @param dataDir folder of the registry, which this process has to itself
   * @throws RegistrySetupError
   */
  static open(dataDir: string, options: AccessOptions, clock: Clock, log: Logger): Access {
    const db = AccessDatabase.open(dataDir);
    try {
      return new Access(db, options, clock, log);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Passwords that were verified by their costly hash since the start. */
  get verifications(): number {
    return this.#bcrypt.verifications;
  }

  /** Replaces all users. @throws RegistrySetupError `UserInvalid`, `PolicyInvalid` */
  setUsers(users: readonly RegistryUser[]): void {
    this.users.replace(users);
    this.#generation += 1;
  }

  /** @throws RegistrySetupError `UserInvalid`, `PolicyInvalid` */
  setUser(user: RegistryUser): void {
    this.users.set(user);
    this.#generation += 1;
  }

  /**
   * Who makes this request: by its `Authorization`, else by the certificate of its connection, else
   * nobody. Returns without a promise when the answer is at hand.
   *
   * @throws UnauthorizedError for credentials that are wrong or cannot be read
   * @throws RegistryError `TooManyRequests` with `Retry-After`, `IssuerUnavailable`
   */
  authenticate(request: Pick<HttpRequest, 'headers' | 'socket'>): Caller | Promise<Caller> {
    const header = request.headers.authorization;
    if (header === undefined || header === NO_CREDENTIALS) {
      return this.#byCertificate(request.socket) ?? this.#anonymous;
    }
    try {
      if (header.length > MAX_CREDENTIAL * 2) throw new UnauthorizedError('invalid_token');
      const id = this.#remembered.idOf(header);
      const known = this.#remembered.find(id);
      if (known !== undefined) return known;
      const source = sourceOf(request.socket.remoteAddress);
      return this.#verifying
        .run(`${id} ${source}`, () => this.#verify(header, id, source))
        .catch((error: unknown) => this.#count(error));
    } catch (error) {
      return this.#count(error);
    }
  }

  /** Remembers the certificate of a connection whose handshake is over. */
  opened(socket: TLSSocket): void {
    this.certificates.opened(socket);
  }

  async close(): Promise<void> {
    await this.#bcrypt.close();
    this.#db.close();
  }

  #count(error: unknown): never {
    if (error instanceof UnauthorizedError) this.signIns.refused += 1;
    else if (error instanceof RegistryError && error.code === 'TooManyRequests') this.signIns.slowedDown += 1;
    throw error;
  }

  #byCertificate(socket: Socket): Caller | undefined {
    return this.certificates.callerOf(socket, (name) => this.users.get(name)?.caller);
  }

  async #verify(header: string, id: string, source: string): Promise<Caller> {
    const [scheme = '', value = ''] = header.split(/ +/, 2);
    if (scheme.toLowerCase() === 'bearer') return await this.#verifyBearer(value, id);
    return await this.#verifyBasic(header, id, source);
  }

  /** A token cannot be guessed, so that refusals of one are not slowed down. */
  async #verifyBearer(token: string, id: string): Promise<Caller> {
    const unverified = await readUnverified(token);
    if (unverified === undefined) throw new UnauthorizedError('invalid_token');
    const { tokens } = this;
    const caller =
      tokens !== undefined && unverified.issuer === tokens.service
        ? await tokens.verify(token, unverified)
        : await this.#oidc.verify(token, unverified);
    return this.#rememberToken(id, caller);
  }

  async #verifyBasic(header: string, id: string, source: string): Promise<Caller> {
    const { name, password } = parseBasic(header);
    // A token of an issuer in place of a password, since not every client can send it otherwise. The
    // name plays no part, or the time would tell which names there are. A token of ours is no password:
    // it would buy the next one for ever.
    const unverified = this.#oidc.enabled ? await readUnverified(password) : undefined;
    if (unverified !== undefined && this.#oidc.has(unverified.issuer)) {
      return this.#rememberToken(id, await this.#oidc.verify(password, unverified));
    }
    const wait = this.#throttle.wait(name, source);
    if (wait > 0) throw slowDown(wait);
    const asking: Asking = { source, known: this.#throttle.knows(name, source) };
    this.#throttle.began(name, source);
    let outcome: boolean | undefined;
    try {
      const verdict = await this.#verdictOf(name, password, asking);
      outcome = verdict.caller !== undefined;
      this.#remembered.keep(id, verdict);
      // The user may have changed while the password was verified.
      if (verdict.caller !== undefined && verdict.isCurrent()) return verdict.caller;
    } finally {
      this.#throttle.ended(name, source, outcome, id);
    }
    this.#log.warn({ user: name.slice(0, MAX_LOGGED_NAME), source }, 'a sign-in was refused');
    throw new UnauthorizedError('invalid_token');
  }

  async #verdictOf(name: string, password: string, asking: Asking): Promise<Verdict> {
    if (name.startsWith(ROBOT_PREFIX)) {
      const robot = this.robots.signIn(name, password);
      if (robot !== undefined) return this.#verdict(robot.caller, () => robot.isCurrent());
      await this.users.spend(password, asking);
      return this.#refusal();
    }
    const account = this.users.get(name);
    const matches = await this.users.matches(account, password, asking);
    if (!matches || account === undefined) return this.#refusal();
    return this.#verdict(account.caller, () => this.users.get(name) === account);
  }

  #rememberToken(id: string, caller: Caller): Caller {
    const until = Math.min(this.#clock.now() + REMEMBER_TOKEN_MS, caller.expires);
    this.#remembered.keep(id, { caller, until, isCurrent: () => true });
    return caller;
  }

  #verdict(caller: Caller, isCurrent: () => boolean): Verdict {
    return { caller, until: Math.min(this.#clock.now() + REMEMBER_MS, caller.expires), isCurrent };
  }

  /** A refusal holds as long as there are the same users: the next may have this name and password. */
  #refusal(): Verdict {
    const generation = this.#generation;
    return {
      caller: undefined,
      until: this.#clock.now() + REMEMBER_REFUSED_MS,
      isCurrent: () => generation === this.#generation,
    };
  }
}

function slowDown(waitMs: number): RegistryError {
  return new RegistryError('TooManyRequests', 'Too many failed sign-ins; try again later.', {
    headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    retryable: true,
  });
}

/** RFC 7617. */
function parseBasic(header: string): { name: string; password: string } {
  const match = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header);
  const decoded = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (match === null || colon < 0) throw new UnauthorizedError('invalid_token');
  return { name: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}
