import { randomBytes } from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, writeFileAtomic } from '@mural/core';

/** Writes a file that only its owner may read. */
export async function writePrivate(path: string, content: string | Uint8Array): Promise<void> {
  await writeFileAtomic(path, content, { mode: 0o600 });
}

/** The content of a file, or `undefined` when there is none. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * A secret of the data folder, made on first use and kept from then on.
 *
 * @param bytes how much randomness it holds
 * @returns the secret in base64url
 */
export async function keptSecret(folder: string, name: string, bytes = 32): Promise<string> {
  const path = join(folder, name);
  const kept = (await readIfPresent(path))?.trim();
  if (kept !== undefined && kept !== '') {
    await chmod(path, 0o600);
    return kept;
  }
  const made = randomBytes(bytes).toString('base64url');
  await writePrivate(path, `${made}\n`);
  return made;
}
