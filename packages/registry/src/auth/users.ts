import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { jsonEqual } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import type { Asking, BcryptVerifier } from './bcrypt.ts';
import { type Caller, callerWith } from './caller.ts';
import { isBcryptHash } from './htpasswd.ts';
import { checkPolicies, type RegistryPolicy } from './policy.ts';

/** Somebody who may sign in with basic authentication. Give a password or its bcrypt hash. */
export interface RegistryUser {
  readonly name: string;
  readonly password?: string;
  /** As bcrypt writes it: `$2b$10$…`. */
  readonly passwordHash?: string;
  readonly policies: readonly RegistryPolicy[];
}

/** A user as it is kept; another object as soon as anything of it changes. */
export interface Account {
  readonly user: Pick<RegistryUser, 'name' | 'passwordHash' | 'policies'>;
  readonly caller: Caller;
  /** Keyed hash of the password, when the password itself is known. */
  readonly passwordMac: Buffer | undefined;
}

/** What begins the names of robot accounts. */
export const ROBOT_PREFIX = 'robot+';
/** Verified in place of the hash of somebody who does not exist, at the cost of the others. */
const DUMMY_SALT_AND_HASH = 'CwTycUXWue0Thq9StjUM0uJ8Q3Qv1x5pG8m7m2Yz6mZ8mYbq3m5S.';

/** The users of the registry and their passwords. */
export class Users {
  readonly #accounts = new Map<string, Account>();
  readonly #bcrypt: BcryptVerifier;
  readonly #anonymous: readonly RegistryPolicy[];
  readonly #key = randomBytes(32);
  /** `$2b$12$…`: as dear as the dearest hash of a user; undefined while no user has a hash. */
  #dummyHash: string | undefined;

  /** @param anonymous what everybody may do beside what their own policies say */
  constructor(bcrypt: BcryptVerifier, anonymous: readonly RegistryPolicy[]) {
    this.#bcrypt = bcrypt;
    this.#anonymous = anonymous;
  }

  get(name: string): Account | undefined {
    return this.#accounts.get(name);
  }

  /**
   * Adds a user or replaces the one of that name. One that is the same as before is left alone.
   *
   * @throws RegistrySetupError `UserInvalid`, `PolicyInvalid`
   */
  set(user: RegistryUser): void {
    checkUser(user);
    this.#put(user);
    this.#measure();
  }

  remove(name: string): void {
    this.#accounts.delete(name);
    this.#measure();
  }

  /**
   * Replaces all users by these, or none when one of them cannot be used.
   *
   * @throws RegistrySetupError `UserInvalid`, `PolicyInvalid`
   */
  replace(users: readonly RegistryUser[]): void {
    const names = new Set<string>();
    for (const user of users) {
      checkUser(user);
      if (names.has(user.name)) throw invalid(user.name, 'the name is there twice');
      names.add(user.name);
    }
    for (const name of [...this.#accounts.keys()]) if (!names.has(name)) this.#accounts.delete(name);
    for (const user of users) this.#put(user);
    this.#measure();
  }

  /**
   * Whether this is the password of the account. A refusal costs one verification of a hash as soon as
   * any user has one, whoever was asked for: its time does not say which names there are.
   *
   * @param account undefined for a name that nobody has
   */
  async matches(account: Account | undefined, password: string, asking: Asking): Promise<boolean> {
    if (account?.user.passwordHash !== undefined) {
      return await this.#bcrypt.matches(password, account.user.passwordHash, asking);
    }
    const expected = account?.passwordMac ?? Buffer.alloc(32);
    const equal = timingSafeEqual(expected, this.#mac(password));
    if (equal && account !== undefined) return true;
    await this.spend(password, asking);
    return false;
  }

  /** Costs what a wrong password costs. */
  async spend(password: string, asking: Asking): Promise<void> {
    if (this.#dummyHash !== undefined) await this.#bcrypt.matches(password, this.#dummyHash, asking);
  }

  #put(user: RegistryUser): void {
    const { name, passwordHash, password, policies } = user;
    const passwordMac = password === undefined ? undefined : this.#mac(password);
    const before = this.#accounts.get(name);
    if (
      before !== undefined &&
      before.user.passwordHash === passwordHash &&
      before.passwordMac?.toString('base64') === passwordMac?.toString('base64') &&
      jsonEqual(before.user.policies, policies)
    ) {
      return;
    }
    this.#accounts.set(name, {
      user: { name, policies, ...(passwordHash === undefined ? {} : { passwordHash }) },
      passwordMac,
      caller: callerWith(name, policies, { anonymous: this.#anonymous }),
    });
  }

  #measure(): void {
    let cost = 0;
    for (const { user } of this.#accounts.values()) {
      cost = Math.max(cost, Number(user.passwordHash?.slice(4, 6) ?? 0));
    }
    this.#dummyHash = cost === 0 ? undefined : `$2b$${String(cost).padStart(2, '0')}$${DUMMY_SALT_AND_HASH}`;
  }

  #mac(text: string): Buffer {
    return createHmac('sha256', this.#key).update(text).digest();
  }
}

function invalid(name: string, why: string): RegistrySetupError {
  return new RegistrySetupError('UserInvalid', `The user "${name}" cannot be used: ${why}.`, {
    facts: { name },
  });
}

/** @throws RegistrySetupError `UserInvalid`, `PolicyInvalid` */
export function checkUser(user: RegistryUser): void {
  const fail = (why: string): never => {
    throw invalid(user.name, why);
  };
  if (user.name === '' || /[:\p{Cc}]/u.test(user.name))
    fail('the name is empty or has a colon or control character');
  if (user.name.startsWith(ROBOT_PREFIX)) fail(`names that begin with ${ROBOT_PREFIX} are those of robots`);
  if ((user.password === undefined) === (user.passwordHash === undefined)) {
    fail('it needs either a password or a hash of it');
  }
  if (user.password === '') fail('the password is empty');
  if (user.passwordHash !== undefined && !isBcryptHash(user.passwordHash)) fail('the hash is not of bcrypt');
  checkPolicies(user.policies, `the user "${user.name}"`);
}
