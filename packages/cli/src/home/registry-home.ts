import { type Clock, writeFileAtomic } from '@mural/core';
import { dockerConfig } from '@mural/oci';
import {
  type AnonymousAccess,
  type MetricsOptions,
  type RegistryUser,
  type RunningRegistry,
  startRegistry,
} from '@mural/registry';
import { ensureCertificates, type KeyPair } from './certificates.ts';
import { followConfig, type LoadedConfig, rulesOf } from './follow-config.ts';
import { type Home, openHome, type RunningHome } from './home.ts';
import type { LogSettings } from './logs.ts';
import { advertisedAddress, certificateNames, hostPort, listening, portOf, probe } from './network.ts';
import { startRenewal } from './renewal.ts';
import { keptSecret, writePrivate } from './secrets.ts';

/** What `mural registry serve` was asked for. */
export interface RegistryHomeOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly port: number;
  /** Where metrics have a listener of their own; before what the configuration says. */
  readonly metrics?: Pick<MetricsOptions, 'port' | 'listen'> | undefined;
  /** Before what the configuration says. */
  readonly anonymous?: AnonymousAccess | undefined;
  readonly tls: 'generated' | 'none' | KeyPair;
  readonly log: LogSettings;
  readonly clock?: Clock;
  /** Users and the rest of who has access; one generated user unless given. */
  readonly loaded?: LoadedConfig | undefined;
  /**
   * Reads all of it again when one of its files has changed.
   *
   * @param tell takes each finding
   */
  readonly reload?: ((tell: (line: string) => void) => Promise<LoadedConfig>) | undefined;
}

/** What the ready file of a registry says. */
export interface RegistryFacts {
  readonly registry: string;
  /** With a generated user: a docker `config.json` for it. */
  readonly dockerConfig?: string;
  /** With a generated certificate: the CA to trust. */
  readonly ca?: string;
  /** Where metrics and health have a listener of their own. */
  readonly metrics?: string;
}

const FLAG = '--port';
const METRICS_FLAGS = { flag: '--metrics-port', listenFlag: '--metrics-listen' };

/**
 * Starts the registry alone.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`, `DataDirInUse`
 * @throws RegistrySetupError
 */
export async function startRegistryHome(options: RegistryHomeOptions): Promise<RunningHome<RegistryFacts>> {
  const metrics = metricsOf(options);
  await probe([
    { flag: FLAG, listen: options.listen, port: options.port },
    ...(metrics.port === undefined
      ? []
      : [{ ...METRICS_FLAGS, listen: metrics.listen ?? '127.0.0.1', port: metrics.port }]),
  ]);
  const folders = ['tls', 'secrets', 'registry', 'logs'] as const;
  return openHome(options, folders, async (home) => assemble(home, options));
}

async function assemble(home: Home, options: RegistryHomeOptions): Promise<RegistryFacts> {
  const { clock, layout, logs, stack } = home;
  const { listen, port, loaded } = options;
  const access = loaded?.config.access ?? {};
  const anonymous = options.anonymous ?? access.anonymous ?? 'none';
  const password = namesUsers(loaded)
    ? undefined
    : await keptSecret(layout.secrets, 'registry-admin-password', 24);
  const served = await certificateOf(home, options);
  const running = await listening({ flag: FLAG, listen, port }, async () =>
    startRegistry({
      ...access,
      ...{ dataDir: layout.registry, listen, port, anonymous, clock },
      ...(served === undefined ? {} : { tls: served.pair }),
      maintenance: loaded?.config.maintenance ?? {},
      metrics: metricsOf(options),
      events: loaded?.config.events ?? {},
      mirrors: loaded?.config.mirrors ?? [],
      users: password === undefined ? (access.users ?? []) : [generatedUser(password)],
      log: logs.main,
      accessLog: logs.access,
    }),
  );
  stack.push('registry', async () => running.close());
  if (served?.generatedFor !== undefined) {
    const renewal = { folder: layout.tls, names: served.generatedFor, current: served.pair };
    const use = (pair: KeyPair): void => running.setTls(pair);
    const stopRenewal = startRenewal({ ...renewal, use, clock, log: logs.main });
    stack.push('renewal', stopRenewal);
  }
  await watchConfig(home, options, running);
  const host = hostPort(advertisedAddress(listen), portOf(running.url));
  if (password !== undefined) {
    await writePrivate(layout.dockerConfig, `${dockerConfig(host, { username: 'admin', password })}\n`);
  }
  return {
    registry: `${served === undefined ? 'http' : 'https'}://${host}`,
    ...(password === undefined ? {} : { dockerConfig: layout.dockerConfig }),
    ...(options.tls === 'generated' ? { ca: layout.ca } : {}),
    ...(running.metricsUrl === undefined ? {} : { metrics: running.metricsUrl }),
  };
}

function metricsOf({ metrics, loaded }: RegistryHomeOptions): MetricsOptions {
  return { ...loaded?.config.metrics, ...metrics };
}

function namesUsers(loaded: LoadedConfig | undefined): boolean {
  return loaded?.config.namesUsers === true;
}

function generatedUser(password: string): RegistryUser {
  return {
    name: 'admin',
    password,
    policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] }],
  };
}

/** Puts what changed to use where that is possible while the registry serves. */
async function watchConfig(
  { clock, logs, stack }: Home,
  { loaded, reload }: RegistryHomeOptions,
  running: RunningRegistry,
): Promise<void> {
  if (loaded === undefined || reload === undefined || loaded.files.length === 0) return;
  const use = async (next: LoadedConfig): Promise<void> => {
    if (next.pair !== undefined) {
      const clientCa = next.config.access.clientCertificates?.ca;
      running.setTls({ ...next.pair, ...(clientCa === undefined ? {} : { clientCa }) });
    }
    if (namesUsers(next)) await running.setUsers(next.config.access.users ?? []);
    running.maintenance.setRules(rulesOf(next.config));
  };
  stack.push('watch', await followConfig({ loaded, reload, use, clock, log: logs.main }));
}

interface Served {
  readonly pair: KeyPair;
  /** The names that a generated certificate covers. */
  readonly generatedFor?: readonly string[];
}

async function certificateOf(
  { layout, clock }: Home,
  { tls, listen }: RegistryHomeOptions,
): Promise<Served | undefined> {
  if (tls === 'none') return undefined;
  if (tls !== 'generated') return { pair: tls };
  const names = certificateNames(listen, advertisedAddress(listen));
  const certificates = await ensureCertificates(layout.tls, names, clock);
  await writeFileAtomic(layout.ca, certificates.ca);
  return { pair: certificates.server, generatedFor: names };
}
