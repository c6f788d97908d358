import { type Clock, systemClock, writeFileAtomic } from '@mural/core';
import { dockerConfig } from '@mural/oci';
import { type AnonymousAccess, parseHtpasswd, startRegistry } from '@mural/registry';
import { ensureCertificates, type KeyPair } from './certificates.ts';
import type { RunningHome } from './hub-home.ts';
import { createFolders, type Layout, layoutOf } from './layout.ts';
import { lockFolder } from './lock.ts';
import { type LogSettings, openLogs } from './logs.ts';
import { advertisedAddress, certificateNames, hostPort, listening, portOf, probe } from './network.ts';
import { keptSecret, writePrivate } from './secrets.ts';
import { Stack } from './stack.ts';

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
const STOP_DEADLINE_MS = 8000;

/**
 * Starts the registry alone.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`, `DataDirInUse`
 * @throws RegistrySetupError `HtpasswdInvalid` and others
 */
export async function startRegistryHome(options: RegistryHomeOptions): Promise<RunningHome<RegistryFacts>> {
  const clock = options.clock ?? systemClock;
  const given = options.htpasswd === undefined ? undefined : parseHtpasswd(options.htpasswd);
  const layout = layoutOf(options.dataDir);
  await probe([{ flag: FLAG, listen: options.listen, port: options.port }]);
  await createFolders(layout, ['tls', 'secrets', 'registry', 'logs']);
  const lock = lockFolder(layout.lock, layout.root);
  const logs = await openLogs(layout.logs, options.log, clock);
  const stack = new Stack(logs.main);
  stack.push('lock', () => lock.release());
  stack.push('logs', async () => logs.close());
  try {
    const { listen, port, anonymous } = options;
    const password =
      given === undefined ? await keptSecret(layout.secrets, 'registry-admin-password', 24) : '';
    const tls = await tlsOf(options, layout, clock);
    const running = await listening({ flag: FLAG, listen, port }, async () =>
      startRegistry({
        ...{ dataDir: layout.registry, listen, port, anonymous, clock },
        ...(tls === undefined ? {} : { tls }),
        users: given ?? [
          {
            name: 'admin',
            password,
            policies: [{ repositories: '**', actions: ['pull', 'push', 'delete'] }],
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
    const facts = {
      registry: `${tls === undefined ? 'http' : 'https'}://${host}`,
      ...(given === undefined ? { dockerConfig: layout.dockerConfig } : {}),
      ...(options.tls === 'generated' ? { ca: layout.ca } : {}),
    };
    return { facts, stop: async () => stack.stop(STOP_DEADLINE_MS) };
  } catch (error) {
    await stack.stop(STOP_DEADLINE_MS);
    throw error;
  }
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
