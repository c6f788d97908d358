import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Credential, RegistryClient } from '@mural/oci';
import { hash } from 'bcryptjs';
import { stringify } from 'yaml';
import { type MuralProcess, startMural, temporaryFolder } from './mural.ts';

/** A `mural registry serve` and how it is reached. */
export interface RegistryProcess extends MuralProcess {
  /** `host:port`. */
  readonly host: string;
  /** Path of the CA (PEM) that its certificate is from. */
  readonly ca: string;
  readonly htpasswd: string;
}

const USERS = ['hue', 'edge-1', 'edge-2'] as const;
/** An account of the external registry. */
export type RegistryAccount = (typeof USERS)[number];

/** The repository of the workloads in the external registry. */
export const EXTERNAL_REPOSITORY = 'fleet/workloads';

/** The password of an account: long enough to be searched for. */
export function credentialOf(username: RegistryAccount): Credential {
  return { username, password: `password-of-${username}-4711` };
}

/**
 * Starts a registry in a process of its own, with TLS and users of an htpasswd file.
 *
 * @param anonymous what everybody may do without a user
 */
export async function startExternalRegistry(anonymous: 'none' | 'pull' = 'none'): Promise<RegistryProcess> {
  const folder = await temporaryFolder();
  const htpasswd = join(folder, 'htpasswd');
  const lines = await Promise.all(
    USERS.map(async (user) => `${user}:${await hash(credentialOf(user).password, 4)}`),
  );
  await writeFile(htpasswd, `${lines.join('\n')}\n`);
  return serve(join(folder, 'registry'), htpasswd, 0, anonymous);
}

/** Starts it again on its folder and port, after it was stopped or killed. */
export async function restartExternalRegistry(registry: RegistryProcess): Promise<RegistryProcess> {
  return serve(registry.data, registry.htpasswd, Number(registry.host.split(':')[1]));
}

async function serve(
  data: string,
  htpasswd: string,
  port: number,
  anonymous = 'none',
): Promise<RegistryProcess> {
  const users = ['--htpasswd', htpasswd, '--anonymous', anonymous];
  const args = ['registry', 'serve', '--data', data, ...users, '--port', String(port)];
  const { process: started, ready } = await startMural(args, data, `${data}.ready.json`);
  return { ...started, htpasswd, host: new URL(ready.registry ?? '').host, ca: ready.ca ?? '' };
}

/** A values file that makes the registry the hub's and that of two spokes with credentials of their own. */
export async function valuesFor(registry: RegistryProcess): Promise<string> {
  const ociRegistry = (user: RegistryAccount) => ({
    endpoint: `oci://${registry.host}/fleet`,
    repository: 'workloads',
    basicAuth: credentialOf(user),
  });
  const values = {
    hue: { ociRegistry: { ...ociRegistry('hue'), interval: '1s', timeout: '10s' } },
    fleetConfig: {
      spokes: (['edge-1', 'edge-2'] as const).map((name) => ({
        name,
        labels: { tier: 'edge' },
        ociRegistry: ociRegistry(name),
      })),
    },
    zot: { enabled: false },
  };
  const file = join(await temporaryFolder(), 'values.yaml');
  await writeFile(file, stringify(values), { mode: 0o600 });
  return file;
}

/** A client that reads the registry as one of its accounts. */
export async function readerOf(registry: RegistryProcess, user: RegistryAccount): Promise<RegistryClient> {
  const ca = await readFile(registry.ca, 'utf8');
  return new RegistryClient({ registry: registry.host, credentials: credentialOf(user), ca });
}
