import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { User } from '../api.ts';
import { ApiError } from '../status.ts';
import type { TokenAuthority } from './tokens.ts';

/** A token that is known from the start, with who holds it. */
export interface StaticToken {
  readonly token: string;
  readonly user: string;
  readonly groups: readonly string[];
}

/** Who sends nothing that says who he is. */
export const ANONYMOUS: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** Finds out who sends a request. */
export class Authenticator {
  readonly #tokens: readonly { readonly hash: Buffer; readonly user: User }[];
  readonly #authority: TokenAuthority;

  constructor(tokens: readonly StaticToken[], authority: TokenAuthority) {
    this.#authority = authority;
    this.#tokens = tokens.map(({ token, user, groups }) => ({
      hash: hashOf(token),
      user: { name: user, groups: [...groups, 'system:authenticated'] },
    }));
  }

  /** @throws ApiError `Unauthorized` for credentials that are not good */
  async identify(message: IncomingMessage): Promise<User> {
    const header = message.headers.authorization;
    if (header === undefined || header === '') return ANONYMOUS;
    const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
    const user = token === undefined ? undefined : await this.identifyToken(token);
    if (user === undefined) throw new ApiError('Unauthorized', 'Unauthorized');
    return user;
  }

  /** The user that a token stands for. */
  async identifyToken(token: string): Promise<User | undefined> {
    const hash = hashOf(token);
    let found: User | undefined;
    // All are compared, so that the time taken says nothing about which one was close.
    for (const known of this.#tokens) if (timingSafeEqual(known.hash, hash)) found = known.user;
    return found ?? (await this.#authority.verify(token))?.user;
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
