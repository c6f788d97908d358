import { RegistrySetupError } from '../errors.ts';
import { globPattern } from '../glob.ts';

/** Every action, in the order in which they are shown. */
export const ACTIONS = ['read', 'create', 'update', 'delete'] as const;

/**
 * What may be done with a repository: `read` manifests, blobs, tags and referrers; `create` blobs,
 * manifests and tags that are not there yet; `update` a tag, which moves it to another manifest;
 * `delete` tags, manifests and blobs.
 */
export type RegistryAction = (typeof ACTIONS)[number];

/** Grants actions on the repositories whose names fit a pattern. */
export interface RegistryPolicy {
  /**
   * `*` stands for any characters but a slash, `**` for any at all; the rest is literal, and the whole
   * name must fit: `team/*` covers `team/app` and not `team/app/cache`, which `team/**` covers.
   */
  readonly repositories: string;
  readonly actions: readonly RegistryAction[];
}

/** What a list of policies allows. */
export interface Permissions {
  /** Whether an action on a repository is allowed. */
  readonly allows: (action: RegistryAction, repository: string) => boolean;
  /** Whether the action is allowed on any repository that there could be. */
  readonly allowsSomewhere: (action: RegistryAction) => boolean;
  /** Whether every action on every repository is allowed, by policies for `**`. */
  readonly everything: boolean;
  /** The policies behind it. */
  readonly policies: readonly RegistryPolicy[];
}

const MAX_POLICIES = 1000;
const MAX_PATTERN = 255;

/** The permissions that policies give together; none of them takes anything away. */
export function compilePolicies(policies: readonly RegistryPolicy[]): Permissions {
  const compiled = policies.map(({ repositories, actions }) => ({
    pattern: globPattern(repositories),
    actions: new Set(actions),
  }));
  const onAll = compiled.filter((_policy, index) => policies[index]?.repositories === '**');
  return {
    policies,
    everything: ACTIONS.every((action) => onAll.some(({ actions }) => actions.has(action))),
    allows: (action, repository) =>
      compiled.some((policy) => policy.actions.has(action) && policy.pattern.test(repository)),
    allowsSomewhere: (action) => compiled.some((policy) => policy.actions.has(action)),
  };
}

/**
 * Refuses policies that cannot be meant.
 *
 * @param whose what they belong to, for the message
 * @throws RegistrySetupError `PolicyInvalid`
 */
export function checkPolicies(policies: readonly RegistryPolicy[], whose: string): void {
  const fail = (why: string): never => {
    throw new RegistrySetupError('PolicyInvalid', `A policy of ${whose} cannot be used: ${why}.`);
  };
  if (policies.length > MAX_POLICIES) fail(`there are more than ${MAX_POLICIES}`);
  for (const { repositories, actions } of policies) {
    if (repositories === '' || repositories.length > MAX_PATTERN) {
      fail(`its pattern must have 1 to ${MAX_PATTERN} characters`);
    }
    if (/[^a-z0-9._/*-]/.test(repositories)) {
      fail(`the pattern "${repositories}" has a character that no repository's name has`);
    }
    if (/\*{3}/.test(repositories)) fail(`the pattern "${repositories}" has three asterisks in a row`);
    const unknown = actions.find((action) => !ACTIONS.includes(action));
    if (unknown !== undefined) {
      fail(`"${unknown}" is not an action; the actions are ${ACTIONS.join(', ')}`);
    }
  }
}
