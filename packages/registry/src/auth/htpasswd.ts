import { RegistrySetupError } from '../errors.ts';
import type { RegistryPolicy } from './policy.ts';
import type { RegistryUser } from './users.ts';

const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/;
const EVERYTHING: readonly RegistryPolicy[] = [
  { repositories: '**', actions: ['read', 'create', 'update', 'delete'] },
];

/** Whether `text` is a hash as bcrypt writes it. */
export function isBcryptHash(text: string): boolean {
  return BCRYPT.test(text);
}

/**
 * Reads an htpasswd file as Apache's `htpasswd -B` writes it: a user and a bcrypt hash a line.
 *
 * @param policies what these users may do: everything, unless told
 * @throws RegistrySetupError `HtpasswdInvalid` with the line, for other hashes and for a name twice
 */
export function parseHtpasswd(
  text: string,
  policies: readonly RegistryPolicy[] = EVERYTHING,
): RegistryUser[] {
  const users = new Map<string, RegistryUser>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    const passwordHash = line.slice(colon + 1);
    if (name === '') throw invalid(index, 'it has no user name');
    if (!isBcryptHash(passwordHash)) throw invalid(index, 'its hash is not a bcrypt hash', 'htpasswd -B');
    if (users.has(name)) throw invalid(index, 'the user is listed twice');
    users.set(name, { name, passwordHash, policies });
  }
  return [...users.values()];
}

function invalid(index: number, why: string, tool?: string): RegistrySetupError {
  return new RegistrySetupError('HtpasswdInvalid', `htpasswd, line ${index + 1}: ${why}`, {
    facts: { line: index + 1 },
    ...(tool === undefined ? {} : { hint: `Make the line with "${tool}".` }),
  });
}
