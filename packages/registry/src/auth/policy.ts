import { globPattern } from '../glob.ts';

/** What may be done with a repository. */
export type RegistryAction = 'pull' | 'push' | 'delete';

/** Grants actions on the repositories whose names fit a pattern. */
export interface RegistryPolicy {
  /** `*` stands for any characters but a slash, `**` for any at all; the rest is literal. */
  readonly repositories: string;
  readonly actions: readonly RegistryAction[];
}

/** Decides whether an action on a repository is allowed. */
export type Permission = (action: RegistryAction, repository: string) => boolean;

/** The permission that a list of policies gives together; none of them takes anything away. */
export function compilePolicies(policies: readonly RegistryPolicy[]): Permission {
  const compiled = policies.map(({ repositories, actions }) => ({
    pattern: globPattern(repositories),
    actions: new Set(actions),
  }));
  return (action, repository) =>
    compiled.some((policy) => policy.actions.has(action) && policy.pattern.test(repository));
}
