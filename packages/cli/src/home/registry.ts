import { join } from 'node:path';
import { type Credential, dockerConfig, RegistryClient } from '@mural/oci';
import { type RegistryUser, type RunningRegistry, startRegistry } from '@mural/registry';
import type { Clock } from '@mural/core';
import type { SpokeAccounts } from '@mural/hub';
import type { Values } from '@mural/values';
import { Readers } from './accounts.ts';
import type { RegistryDirectory } from './directory.ts';
import type { Certificates, KeyPair } from './certificates.ts';
import type { Layout } from './layout.ts';
import type { Logs } from './logs.ts';
import { hostPort, listening, portOf } from './network.ts';
import { credentialOf, embeddedRepository, type RegistryChoice } from './registry-choice.ts';
import { keptSecret } from './secrets.ts';
import { hubSpokeName } from './spokes.ts';

/** The registry that a hub writes, and how everybody concerned reaches it. */
export interface HomeRegistry {
  /** For people: `https://host:port`. */
  readonly url: string;
  /** Repository of the workloads, as `oci://host/path`. */
  readonly repositoryUrl: string;
  /** Acts as the hub. */
  readonly client: RegistryClient;
  /** The accounts of the spokes. */
  readonly accounts: SpokeAccounts;
  /** What spokes are told, unless their own objects say otherwise. */
  readonly directory: RegistryDirectory;
  /** A docker `config.json` that can push and pull. */
  readonly dockerConfig: string;
  /** PEM of the CA that spokes need for it, where the system's do not do. */
  readonly ca?: string;
  /** Uses another certificate from now on, where the registry is the embedded one. */
  useCertificate(pair: KeyPair): void;
  close(): Promise<void>;
}

/** What the registry of a home is started with. */
export interface HomeRegistryOptions {
  readonly choice: RegistryChoice;
  readonly values: Values;
  readonly layout: Layout;
  readonly listen: string;
  readonly advertised: string;
  readonly port: number;
  readonly certificates: Certificates;
  /** PEM of the CA of a registry other than the embedded one. */
  readonly externalCa?: string | undefined;
  readonly logs: Logs;
  readonly clock: Clock;
}

/** Starts the embedded registry where it is wanted, and opens the one that the hub writes. */
export async function openRegistry(options: HomeRegistryOptions): Promise<HomeRegistry> {
  const { choice } = options;
  const running = choice.runEmbedded ? await startEmbedded(options) : undefined;
  if (!choice.embedded) return openExternal(options, running);
  if (running === undefined) throw new Error('the values name no registry');
  return openEmbedded(options, running);
}

interface Embedded {
  readonly running: RunningRegistry;
  readonly host: string;
  readonly hub: Credential;
  readonly admin: Credential;
}

async function startEmbedded(options: HomeRegistryOptions): Promise<Embedded> {
  const { layout, listen, port, certificates, choice } = options;
  const admin = {
    username: 'admin',
    password: await keptSecret(layout.secrets, 'registry-admin-password', 24),
  };
  const hub = { username: 'hue', password: await keptSecret(layout.secrets, 'registry-hue-password', 24) };
  const repository = embeddedRepository(choice);
  const users: RegistryUser[] = [
    {
      name: admin.username,
      password: admin.password,
      policies: [{ repositories: '**', actions: ['pull', 'push', 'delete'] }],
    },
    {
      name: hub.username,
      password: hub.password,
      policies: [
        { repositories: repository, actions: ['pull', 'push'] },
        { repositories: '**', actions: ['pull'] },
      ],
    },
  ];
  const running = await listening({ flag: '--registry-port', listen, port }, async () =>
    startRegistry({
      dataDir: layout.registry,
      listen,
      port,
      tls: certificates.server,
      users,
      log: options.logs.main,
      accessLog: options.logs.access,
      clock: options.clock,
    }),
  );
  const host = hostPort(options.advertised, portOf(running.url));
  return { running, host, hub, admin };
}

async function openEmbedded(options: HomeRegistryOptions, embedded: Embedded): Promise<HomeRegistry> {
  const { choice, layout, certificates } = options;
  const repository = embeddedRepository(choice);
  const repositoryUrl = `oci://${embedded.host}/${repository}`;
  const accounts = await Readers.open(embedded.running, {
    path: join(layout.secrets, 'registry-readers.json'),
    repository,
  });
  const client = new RegistryClient({
    registry: embedded.host,
    credentials: embedded.hub,
    ca: certificates.ca,
    clock: options.clock,
    log: options.logs.controllers.hue,
  });
  return {
    url: `https://${embedded.host}`,
    repositoryUrl,
    client,
    accounts,
    directory: {
      fleet: {
        url: repositoryUrl,
        interval: choice.interval,
        timeout: choice.timeout,
        secrets: { credential: true, ca: true },
      },
      spokes: {},
    },
    dockerConfig: dockerConfig(embedded.host, embedded.admin),
    ca: certificates.ca,
    useCertificate: (pair) => embedded.running.setTls(pair),
    close: async () => {
      await client.close();
      await embedded.running.close();
    },
  };
}

function openExternal(options: HomeRegistryOptions, embedded: Embedded | undefined): HomeRegistry {
  const { choice, values, externalCa } = options;
  const endpoint = choice.endpoint ?? '';
  const host = new URL(endpoint.replace(/^oci:/, 'https:')).host;
  const client = new RegistryClient({
    registry: host,
    credentials: choice.credential,
    insecure: choice.insecure,
    ca: externalCa,
    clock: options.clock,
    log: options.logs.controllers.hue,
  });
  const repositoryUrl = `${endpoint}/${choice.repository}`;
  const credentials = spokeCredentials(values, choice);
  const settings = (credential: boolean) => ({
    url: repositoryUrl,
    insecure: choice.insecure,
    interval: choice.interval,
    timeout: choice.timeout,
    secrets: { credential, ca: externalCa !== undefined },
  });
  return {
    url: `${choice.insecure ? 'http' : 'https'}://${host}`,
    repositoryUrl,
    client,
    accounts: {
      // Without one the hub writes no Secret, and the spoke reads anonymously.
      ensure: async (spoke) => credentials.get(spoke) as Credential,
      remove: async () => undefined,
    },
    directory: {
      fleet: settings(false),
      spokes: Object.fromEntries([...credentials.keys()].map((name) => [name, settings(true)])),
    },
    dockerConfig: choice.credential === undefined ? '{"auths":{}}' : dockerConfig(host, choice.credential),
    ...(externalCa === undefined ? {} : { ca: externalCa }),
    useCertificate: (pair) => embedded?.running.setTls(pair),
    close: async () => {
      await client.close();
      await embedded?.running.close();
    },
  };
}

/** The credentials that the values give to spokes. The hub as a spoke can use that of the hub. */
function spokeCredentials(values: Values, choice: RegistryChoice): ReadonlyMap<string, Credential> {
  const own = hubSpokeName(values);
  const entries = values.fleetConfig.spokes.map(
    (spoke) => [spoke.name, credentialOf(spoke.ociRegistry?.basicAuth)] as const,
  );
  const credentials = new Map<string, Credential>();
  if (own !== undefined && choice.credential !== undefined) credentials.set(own, choice.credential);
  for (const [name, credential] of entries) if (credential !== undefined) credentials.set(name, credential);
  return credentials;
}
