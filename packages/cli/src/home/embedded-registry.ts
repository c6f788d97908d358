import { join } from 'node:path';
import type { Clock } from '@mural/core';
import type { Credential } from '@mural/oci';
import { type ProtectedContent, type RunningRegistry, startRegistry } from '@mural/registry';
import { Readers } from './accounts.ts';
import type { Certificates, KeyPair } from './certificates.ts';
import type { Layout } from './layout.ts';
import type { Logs } from './logs.ts';
import { hostPort, listening, portOf } from './network.ts';
import { keptSecret } from './secrets.ts';

/** What the embedded registry of a home is run with. */
export interface EmbeddedRegistryOptions {
  readonly layout: Layout;
  readonly listen: string;
  readonly advertised: string;
  readonly port: number;
  readonly certificates: Certificates;
  /** Digests that the fleet uses or is to use: no collection and no retention rule takes them. */
  readonly inUse: () => Promise<ReadonlySet<string>>;
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
}

/** The registry in the process of a home: started and stopped while that runs; its data stays. */
export class EmbeddedRegistry {
  readonly #options: EmbeddedRegistryOptions;
  #port: number;
  #certificate: KeyPair;
  #repositories: readonly string[] = [];
  #running: Running | undefined;

  constructor(options: EmbeddedRegistryOptions) {
    this.#options = options;
    this.#port = options.port;
    this.#certificate = options.certificates.server;
  }

  get serving(): ServingRegistry | undefined {
    return this.#running;
  }

  /**
   * Serves, where it did not yet, and lets the hub write the repositories and spokes read them. A
   * start after a stop listens on the same port as before.
   *
   * @throws CliError `AddressInUse`, `AddressUnavailable`
   */
  async start(repositories: readonly string[]): Promise<ServingRegistry> {
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

  async #protected(): Promise<ProtectedContent[]> {
    const digests = [...(await this.#options.inUse())];
    return this.#repositories.flatMap((repository) => digests.map((digest) => ({ repository, digest })));
  }

  async #open(repositories: readonly string[]): Promise<Running> {
    const { layout, listen, certificates, logs, clock, advertised } = this.#options;
    const admin = await account(layout, 'admin');
    const hub = await account(layout, 'hue');
    const everything = [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] as const }];
    const port = this.#port;
    const registry = await listening({ flag: '--registry-port', listen, port }, async () =>
      startRegistry({
        dataDir: layout.registry,
        listen,
        port,
        tls: this.#certificate,
        users: [
          { name: admin.username, password: admin.password, policies: everything },
          hubUser(hub, repositories),
        ],
        maintenance: { protect: async () => this.#protected() },
        log: logs.main,
        accessLog: logs.access,
        clock,
      }),
    );
    this.#port = portOf(registry.url);
    try {
      const path = join(layout.secrets, 'registry-readers.json');
      const readers = await Readers.open(registry, { path, repositories });
      return { registry, readers, hub, admin, ca: certificates.ca, host: hostPort(advertised, this.#port) };
    } catch (error) {
      await registry.close();
      throw error;
    }
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
