import { RegistryError } from '../errors.ts';
import { compilePolicies, type Permissions, type RegistryAction, type RegistryPolicy } from './policy.ts';

/**
 * What those may do who send no credentials: nothing, read everything, do everything, or what
 * policies say.
 */
export type AnonymousAccess = 'none' | 'pull' | 'push' | readonly RegistryPolicy[];

/** Who makes a request, and what they may do. */
export interface Caller {
  /** Undefined for somebody without credentials. */
  readonly name: string | undefined;
  /** Whether this request may do it. */
  readonly allows: (action: RegistryAction, repository: string) => boolean;
  /** Whether the action is allowed on any repository that there could be. */
  readonly allowsSomewhere: (action: RegistryAction) => boolean;
  /**
   * Whether the caller may administer the registry: somebody with a name whose own policies allow
   * everything everywhere. What is open to everybody makes nobody an administrator.
   */
  readonly administers: boolean;
  /** Whether the catalog shows this repository. */
  sees(repository: string): boolean;
  /** Whether another token of the same caller might allow it: this one was not asked to. */
  mightAskFor(action: RegistryAction, repository: string): boolean;
  /** What the caller may do, where that is known: a token holds only what was asked for. */
  readonly permissions: Permissions | undefined;
  /** Milliseconds since the epoch from which on the credential is void. */
  readonly expires: number;
}

const EVERYTHING: readonly RegistryPolicy[] = [
  { repositories: '**', actions: ['read', 'create', 'update', 'delete'] },
];

/** The policies that {@link AnonymousAccess} stands for. */
export function anonymousPolicies(access: AnonymousAccess): readonly RegistryPolicy[] {
  if (access === 'none') return [];
  if (access === 'pull') return [{ repositories: '**', actions: ['read'] }];
  return access === 'push' ? EVERYTHING : access;
}

/** Whether anonymous callers may change anything. */
export function anonymousMayWrite(access: AnonymousAccess): boolean {
  return anonymousPolicies(access).some(({ actions }) => actions.some((action) => action !== 'read'));
}

/** What a caller may do beside what their own policies say, and until when. */
export interface CallerOptions {
  /** What everybody may do. */
  readonly anonymous?: readonly RegistryPolicy[];
  /** Milliseconds since the epoch; for ever unless given. */
  readonly expires?: number;
}

/** A caller who may do what policies say, for as long as the credential lives. */
export function callerWith(
  name: string | undefined,
  policies: readonly RegistryPolicy[],
  { anonymous = [], expires = Infinity }: CallerOptions = {},
): Caller {
  const permissions = compilePolicies([...policies, ...anonymous]);
  return {
    name,
    administers: name !== undefined && compilePolicies(policies).everything,
    allows: permissions.allows,
    allowsSomewhere: permissions.allowsSomewhere,
    sees: (repository) => permissions.allows('read', repository),
    mightAskFor: () => false,
    permissions,
    expires,
  };
}

/** Why credentials were refused, in the words of RFC 6750, 3.1. */
export type Refusal = 'none' | 'invalid_token' | 'insufficient_scope';

/**
 * The answer to missing or wrong credentials. The challenge that belongs to it depends on the request
 * and is added where the answer is written.
 */
export class UnauthorizedError extends RegistryError {
  readonly refusal: Refusal;

  constructor(refusal: Refusal = 'none') {
    super('Unauthorized', 'Authentication is required.');
    this.refusal = refusal;
  }
}
