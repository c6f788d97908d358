import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Credential, credentialsFromDockerConfig, RegistryClient } from '@mural/oci';
import type { AccessOptions } from './commands/artifacts.ts';
import { type Context, pathOf, readUserFile } from './context.ts';
import { CliError } from './errors.ts';

/**
 * A client for a registry with the credentials that were given, or those that docker would use:
 * `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
 *
 * @param registry `host[:port]`
 */
export async function openRegistryClient(
  context: Context,
  registry: string,
  options: AccessOptions,
): Promise<RegistryClient> {
  const ca = options.ca === undefined ? undefined : await readUserFile(context, options.ca);
  return new RegistryClient({
    registry,
    credentials: await credentialFor(context, registry, options.creds),
    insecure: options.insecureRegistry ?? false,
    ca,
  });
}

/**
 * The credential that was given, or the one that docker would use.
 *
 * @throws CliError `Usage`
 */
export async function credentialFor(
  context: Context,
  registry: string,
  creds: string | undefined,
): Promise<Credential | undefined> {
  if (creds !== undefined) return credsOf(creds);
  const folder = context.env.DOCKER_CONFIG ?? join(context.env.HOME ?? homedir(), '.docker');
  const file = pathOf(context, join(folder, 'config.json'));
  if (!existsSync(file)) return undefined;
  return credentialsFromDockerConfig(await readFile(file, 'utf8'), registry);
}

/**
 * The credential that `--creds` gives.
 *
 * @throws CliError `Usage`
 */
export function credsOf(creds: string): Credential {
  const colon = creds.indexOf(':');
  if (colon <= 0) throw new CliError('Usage', '--creds must be user:password');
  return { username: creds.slice(0, colon), password: creds.slice(colon + 1) };
}
