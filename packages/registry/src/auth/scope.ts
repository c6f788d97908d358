import { isValidRepository } from '@mural/oci';
import { RegistryError } from '../errors.ts';
import { ACTIONS, type RegistryAction } from './policy.ts';

/** What a token is asked for (distribution, "Token Scope Documentation"). */
export type Scope =
  | { readonly type: 'repository'; readonly name: string; readonly actions: readonly RegistryAction[] }
  | { readonly type: 'catalog' };

const MAX_SCOPES = 64;
const MAX_LENGTH = 8192;

/** Docker's words for actions; ours are taken too. */
const DOCKER_ACTIONS: Readonly<Record<string, readonly RegistryAction[]>> = {
  pull: ['read'],
  push: ['create', 'update'],
  delete: ['delete'],
  '*': ACTIONS,
};

/**
 * Reads the scopes of a request for a token: `repository:team/app:pull,push`, several in one text with
 * spaces between. Resources of other types, and actions that nobody knows, are left out, as the
 * specification has it.
 *
 * @throws RegistryError `ScopeInvalid`
 */
export function parseScopes(texts: readonly string[]): Scope[] {
  const parts = texts.flatMap((text) => text.split(' ')).filter((part) => part !== '');
  if (parts.length > MAX_SCOPES || texts.join(' ').length > MAX_LENGTH) {
    throw new RegistryError('ScopeInvalid', `A request for a token may name ${MAX_SCOPES} scopes.`);
  }
  const repositories = new Map<string, Set<RegistryAction>>();
  let catalog = false;
  for (const part of parts) {
    const match = /^([a-z0-9]+)(?:\([a-z0-9]+\))?:(.+):([a-zA-Z*,]*)$/.exec(part);
    if (match === null) {
      throw new RegistryError('ScopeInvalid', 'A scope is written as type:name:actions.', {
        facts: { scope: part.slice(0, 200) },
      });
    }
    const [, type, name = '', actions = ''] = match;
    if (type === 'registry' && name === 'catalog') catalog = true;
    if (type !== 'repository') continue;
    if (!isValidRepository(name)) {
      throw new RegistryError('NameInvalid', 'This is not a valid repository name.', {
        facts: { name: name.slice(0, 200) },
      });
    }
    const asked = repositories.get(name) ?? new Set();
    for (const action of actions.split(',').flatMap(actionsOf)) asked.add(action);
    repositories.set(name, asked);
  }
  const scopes: Scope[] = [...repositories].map(([name, actions]) => ({
    type: 'repository',
    name,
    actions: ACTIONS.filter((action) => actions.has(action)),
  }));
  return catalog ? [...scopes, { type: 'catalog' }] : scopes;
}

/** The scope that allows an action, in Docker's words: what a challenge asks the client to get. */
export function scopeOf(repository: string, action: RegistryAction): string {
  const actions = { read: 'pull', create: 'pull,push', update: 'pull,push', delete: 'pull,delete' }[action];
  return `repository:${repository}:${actions}`;
}

function actionsOf(word: string): readonly RegistryAction[] {
  const own = ACTIONS.find((action) => action === word);
  return own === undefined ? (DOCKER_ACTIONS[word] ?? []) : [own];
}
