import { join } from 'node:path';
import type { Clock } from '@mural/core';
import type { Credential } from '@mural/oci';
import {
  type ProtectedContent,
  type RegistryOptions,
  RegistrySetupError,
  type RunningRegistry,
  startRegistry,
} from '@mural/registry';
import type { RegistryConfig } from '../registry-config/read.ts';
import { Readers } from './accounts.ts';
import type { Certificates, KeyPair } from './certificates.ts';
import type { ContentInUse } from './content-in-use.ts';
import { rulesOf } from './follow-config.ts';
import type { Layout } from './layout.ts';
import type { Logs } from './logs.ts';
import { hostPort, listenError, type ListenSpec, portOf } from './network.ts';
import { requireWritable } from './registry-settings.ts';
import { keptSecret } from './secrets.ts';

/** What the embedded registry of a home is run with. */
export interface EmbeddedRegistryOptions {
  readonly layout: Layout;
  readonly listen: string;
  readonly advertised: string;
  readonly port: number;
  readonly certificates: Certificates;
  /** Everything that is not the home's to decide. */
  readonly settings?: RegistryConfig | undefined;
  /** What the fleet uses or is to use: no collection and no retention rule takes it. */
  readonly inUse: () => Promise<ContentInUse>;
  readonly logs: Logs;
  readonly clock: Clock;
}

/** The embedded registry while it serves. */
export interface ServingRegistry {
  /** `host:port` as clients are told it. */
  readonly host: string;
  readonly ca: string;
  /** The account of the hub. */
  readonly hub: Credential;
  /** The account of the person who owns the home. */
  readonly admin: Credential;
  readonly readers: Readers;
}

interface Running extends ServingRegistry {
  readonly registry: RunningRegistry;
  /** What it was started with. */
  readonly settings: RegistryConfig | undefined;
}

/** The registry in the process of a home: started and stopped while that runs; its data stays. */
export class EmbeddedRegistry {
  readonly #options: EmbeddedRegistryOptions;
  #port: number;
  #certificate: KeyPair;
  #settings: RegistryConfig | undefined;
  #repositories: readonly string[] = [];
  #running: Running | undefined;

  constructor(options: EmbeddedRegistryOptions) {
    this.#options = options;
    this.#port = options.port;
    this.#certificate = options.certificates.server;
    this.#settings = options.settings;
  }

  get serving(): ServingRegistry | undefined {
    return this.#running;
  }

  /** Where metrics have a listener of their own, while the registry serves. */
  get metricsUrl(): string | undefined {
    return this.#running?.registry.metricsUrl;
  }

  /**
   * Serves, where it did not yet, and lets the hub write the repositories and spokes read them. A
   * start after a stop listens on the same port as before.
   *
   * @throws CliError `AddressInUse`, `AddressUnavailable`; `FileInvalid` when the settings make a mirror of
   *   one of the repositories
   */
  async start(repositories: readonly string[]): Promise<ServingRegistry> {
    requireWritable(this.#settings, repositories);
    requireWritable(this.#running?.settings, repositories);
    this.#repositories = repositories;
    this.#running ??= await this.#open(repositories);
    const { hub, readers, registry } = this.#running;
    await registry.setUser(hubUser(hub, repositories));
    await readers.allow(repositories);
    return this.#running;
  }

  /** Closes the port; what is stored stays. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.registry.close();
  }

  /** Uses another certificate for connections from now on. */
  useCertificate(pair: KeyPair): void {
    this.#certificate = pair;
    this.#running?.registry.setTls(pair);
  }

  /**
   * Goes by other settings: by the rules of maintenance at once, by the rest when the registry is started
   * the next time.
   *
   * @throws CliError `FileInvalid`, and then nothing has changed
   */
  useSettings(settings: RegistryConfig): void {
    requireWritable(settings, this.#repositories);
    this.#running?.registry.maintenance.setRules(rulesOf(settings));
    this.#settings = settings;
  }

  async #protected(): Promise<ProtectedContent[]> {
    const { digests, tags, urls } = await this.#options.inUse();
    const own = `oci://${hostPort(this.#options.advertised, this.#port)}/`;
    // A spoke may still read what the hub wrote before the values named another repository.
    const read = [...urls].flatMap((url) => (url.startsWith(own) ? [url.slice(own.length)] : []));
    return [...new Set([...this.#repositories, ...read])].flatMap((repository) => [
      ...[...digests].map((digest) => ({ repository, digest })),
      ...[...tags].map((tag) => ({ repository, tag })),
    ]);
  }

  async #open(repositories: readonly string[]): Promise<Running> {
    const { layout, listen, certificates, logs, clock, advertised } = this.#options;
    const admin = await account(layout, 'admin');
    const hub = await account(layout, 'hue');
    const everything = [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] as const }];
    const port = this.#port;
    const settings = this.#settings;
    const { access, maintenance, metrics = {}, events = {}, mirrors = [] } = settings ?? {};
    const registry = await startOn({ flag: '--registry-port', listen, port }, metricsSpec(settings), {
      ...access,
      ...{ dataDir: layout.registry, listen, port, metrics, events, mirrors, clock },
      tls: this.#certificate,
      users: [
        { name: admin.username, password: admin.password, policies: everything },
        hubUser(hub, repositories),
      ],
      maintenance: { ...maintenance, protect: async () => this.#protected() },
      log: logs.main,
      accessLog: logs.access,
    });
    this.#port = portOf(registry.url);
    try {
      const path = join(layout.secrets, 'registry-readers.json');
      const readers = await Readers.open(registry, { path, repositories });
      const host = hostPort(advertised, this.#port);
      return { registry, settings, readers, hub, admin, ca: certificates.ca, host };
    } catch (error) {
      await registry.close();
      throw error;
    }
  }
}

/** Where the settings have metrics served; undefined when they have no listener of their own. */
export function metricsSpec(settings: RegistryConfig | undefined): ListenSpec | undefined {
  const { port, listen = '127.0.0.1' } = settings?.metrics ?? {};
  if (port === undefined) return undefined;
  const file = settings?.files[0] ?? 'the configuration of the registry';
  return { flag: `metrics.port of ${file}`, listenFlag: 'metrics.listen', listen, port };
}

/** Starts a registry, and explains an address that it cannot listen on. */
async function startOn(
  own: ListenSpec,
  metrics: ListenSpec | undefined,
  options: RegistryOptions,
): Promise<RunningRegistry> {
  try {
    return await startRegistry(options);
  } catch (error) {
    const port = error instanceof RegistrySetupError ? error.facts['port'] : undefined;
    throw listenError(error, port === metrics?.port && port !== own.port ? (metrics ?? own) : own);
  }
}

function hubUser(hub: Credential, repositories: readonly string[]) {
  return {
    name: hub.username,
    password: hub.password,
    policies: [
      ...repositories.map((name) => ({ repositories: name, actions: ['read', 'create', 'update'] as const })),
      { repositories: '**', actions: ['read'] as const },
    ],
  };
}

async function account(layout: Layout, username: string): Promise<Credential> {
  return { username, password: await keptSecret(layout.secrets, `registry-${username}-password`, 24) };
}
