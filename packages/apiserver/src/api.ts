import type { Clock, Logger, Random } from '@mural/core';
import type { Authorizer } from './auth/rbac.ts';
import type { TokenAuthority } from './auth/tokens.ts';
import type { LogSource } from './logs.ts';
import type { Resources } from './resources/registry.ts';
import type { Store } from './storage/store.ts';

/** What the parts of the server share. */
export interface Api {
  readonly store: Store;
  readonly resources: Resources;
  readonly authorizer: Authorizer;
  readonly tokens: TokenAuthority;
  readonly readLog: LogSource | undefined;
  /** The PEM that clients of this server trust. */
  readonly ca: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Who sends a request. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}
