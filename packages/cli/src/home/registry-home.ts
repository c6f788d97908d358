import { type Clock, writeFileAtomic } from '@mural/core';
import { dockerConfig } from '@mural/oci';
import { type AnonymousAccess, parseHtpasswd, type RegistryUser, startRegistry } from '@mural/registry';
import { ensureCertificates, type KeyPair } from './certificates.ts';
import { type Home, openHome, type RunningHome } from './home.ts';
import type { Layout } from './layout.ts';
import type { LogSettings } from './logs.ts';
import { advertisedAddress, certificateNames, hostPort, listening, portOf, probe } from './network.ts';
import { keptSecret, writePrivate } from './secrets.ts';

/** What `mural registry serve` was asked for. */
export interface RegistryHomeOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly port: number;
  /** Content of an htpasswd file with bcrypt hashes; one generated user unless given. */
  readonly htpasswd?: string | undefined;
  readonly anonymous: AnonymousAccess;
  readonly tls: 'generated' | 'none' | KeyPair;
  readonly log: LogSettings;
  readonly clock?: Clock;
}

/** What the ready file of a registry says. */
export interface RegistryFacts {
  readonly registry: string;
  /** With a generated user: a docker `config.json` for it. */
  readonly dockerConfig?: string;
  /** With a generated certificate: the CA to trust. */
  readonly ca?: string;
}

const FLAG = '--port';

/**
 * Starts the registry alone.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`, `DataDirInUse`
 * @throws RegistrySetupError `HtpasswdInvalid` and others
 */
export async function startRegistryHome(options: RegistryHomeOptions): Promise<RunningHome<RegistryFacts>> {
  const given = options.htpasswd === undefined ? undefined : parseHtpasswd(options.htpasswd);
  await probe([{ flag: FLAG, listen: options.listen, port: options.port }]);
  const folders = ['tls', 'secrets', 'registry', 'logs'] as const;
  return openHome(options, folders, async (home) => assemble(home, options, given));
}

async function assemble(
  { clock, layout, logs, stack }: Home,
  options: RegistryHomeOptions,
  given: RegistryUser[] | undefined,
): Promise<RegistryFacts> {
  const { listen, port, anonymous } = options;
  const password = given === undefined ? await keptSecret(layout.secrets, 'registry-admin-password', 24) : '';
  const tls = await tlsOf(options, layout, clock);
  const running = await listening({ flag: FLAG, listen, port }, async () =>
    startRegistry({
      ...{ dataDir: layout.registry, listen, port, anonymous, clock },
      ...(tls === undefined ? {} : { tls }),
      users: given ?? [
        {
          name: 'admin',
          password,
          policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] }],
        },
      ],
      log: logs.main,
      accessLog: logs.access,
    }),
  );
  stack.push('registry', async () => running.close());
  const host = hostPort(advertisedAddress(listen), portOf(running.url));
  if (given === undefined) {
    await writePrivate(layout.dockerConfig, `${dockerConfig(host, { username: 'admin', password })}\n`);
  }
  return {
    registry: `${tls === undefined ? 'http' : 'https'}://${host}`,
    ...(given === undefined ? { dockerConfig: layout.dockerConfig } : {}),
    ...(options.tls === 'generated' ? { ca: layout.ca } : {}),
  };
}

async function tlsOf(
  options: RegistryHomeOptions,
  layout: Layout,
  clock: Clock,
): Promise<KeyPair | undefined> {
  if (options.tls === 'none') return undefined;
  if (options.tls !== 'generated') return options.tls;
  const names = certificateNames(options.listen, advertisedAddress(options.listen));
  const certificates = await ensureCertificates(layout.tls, names, clock);
  await writeFileAtomic(layout.ca, certificates.ca);
  return certificates.server;
}
