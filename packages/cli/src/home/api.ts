import { type RunningApiServer, startApiServer } from '@mural/apiserver';
import { type Clock, type Logger, MuralError } from '@mural/core';
import {
  createKubeClient,
  CUSTOM_RESOURCE_DEFINITIONS,
  customResourceDefinitions,
  type KubeClient,
  kubeConfigText,
  MURAL_NAMESPACE,
  type UnstructuredObject,
} from '@mural/kube';
import type { Certificates } from './certificates.ts';
import type { Layout } from './layout.ts';
import type { Logs } from './logs.ts';
import { hostPort, listening, portOf } from './network.ts';
import { keptSecret, writePrivate } from './secrets.ts';

/** The embedded API of a home, and the ways into it. */
export interface HomeApi {
  readonly server: RunningApiServer;
  /** URL as clients are told it. */
  readonly url: string;
  /** URL from within this machine. */
  readonly localUrl: string;
  /** A client that acts as one of the controllers of this process. */
  clientOf(account: string): KubeClient;
}

/** What the embedded API of a home is started with. */
export interface HomeApiOptions {
  readonly layout: Layout;
  readonly listen: string;
  readonly advertised: string;
  readonly port: number;
  readonly flag: string;
  readonly certificates: Certificates;
  readonly logs: Logs;
  readonly clock: Clock;
  /** Name of the cluster and context in the kubeconfig. */
  readonly cluster: string;
}

const ADMINS = 'system:masters';

/** Starts the embedded API and writes the kubeconfig of its administrator. */
export async function startHomeApi(options: HomeApiOptions): Promise<HomeApi> {
  const { layout, certificates, listen } = options;
  const adminToken = await keptSecret(layout.secrets, 'admin-token');
  const controllerToken = await keptSecret(layout.secrets, 'controller-token');
  const encryptionKey = Buffer.from(await keptSecret(layout.secrets, 'encryption-key', 32), 'base64url');
  const accounts = ['hue', 'source-controller', 'mural-up'];
  const tokenOf = (account: string): string => `${controllerToken}.${account}`;
  const server = await listening({ flag: options.flag, listen, port: options.port }, async () =>
    startApiServer({
      dataDir: layout.api,
      listen,
      port: options.port,
      tls: certificates.server,
      ca: certificates.ca,
      tokens: [
        { token: adminToken, user: 'admin', groups: [ADMINS] },
        ...accounts.map((account) => ({
          token: tokenOf(account),
          user: `system:serviceaccount:${MURAL_NAMESPACE}:${account}`,
          groups: ['system:serviceaccounts', ...(account === 'hue' ? [] : [ADMINS])],
        })),
      ],
      encryptionKey,
      readLog: options.logs.source,
      clock: options.clock,
      log: options.logs.main,
    }),
  );
  const url = `https://${hostPort(options.advertised, portOf(server.url))}`;
  const text = kubeConfigText(
    { server: url, ca: certificates.ca, token: adminToken },
    { cluster: options.cluster, user: 'admin', context: options.cluster },
  );
  await writePrivate(layout.kubeconfig, text);
  // Loopback keeps working when the advertised address does not lead back to this machine.
  const local = `https://${hostPort(localAddress(listen), portOf(server.url))}`;
  return {
    server,
    url,
    localUrl: local,
    clientOf: (account) => createKubeClient({ server: local, ca: certificates.ca, token: tokenOf(account) }),
  };
}

function localAddress(listen: string): string {
  if (listen === '0.0.0.0') return '127.0.0.1';
  return listen === '::' ? '::1' : listen;
}

const ESTABLISH_TIMEOUT_MS = 15_000;

/**
 * Installs or updates our resource definitions and waits until the API serves them.
 *
 * `groups` narrows them to those API groups; with `keep`, what is defined already stays as it is:
 * on a cluster that runs Flux itself, the definitions are Flux's. `more` are added to ours.
 */
export async function installDefinitions(
  client: KubeClient,
  options: {
    readonly groups?: readonly string[];
    readonly keep?: boolean;
    readonly more?: readonly UnstructuredObject[];
    readonly clock: Clock;
    readonly log: Logger;
  },
): Promise<void> {
  const ours = customResourceDefinitions().filter(
    (definition) => options.groups?.includes(specOf(definition).group) ?? true,
  );
  const wanted = [...ours, ...(options.more ?? [])];
  for (const definition of wanted) {
    const ref = { name: definition.metadata.name ?? '' };
    if (options.keep === true && (await client.find(CUSTOM_RESOURCE_DEFINITIONS, ref)) !== undefined)
      continue;
    await client.apply(CUSTOM_RESOURCE_DEFINITIONS, definition, { fieldManager: 'mural-up', force: true });
  }
  const end = options.clock.now() + ESTABLISH_TIMEOUT_MS;
  for (const definition of wanted) {
    const { group, names, versions } = specOf(definition);
    const version = versions[0]?.name ?? '';
    while ((await client.resourceFor(`${group}/${version}`, names.kind)) === undefined) {
      if (options.clock.now() > end) {
        throw new MuralError(
          'NotEstablished',
          `the API does not serve ${names.kind}, which was just defined`,
        );
      }
      await options.clock.sleep(100);
    }
  }
  options.log.debug({ definitions: wanted.length }, 'resource definitions are in place');
}

function specOf(definition: UnstructuredObject): {
  readonly group: string;
  readonly names: { readonly kind: string };
  readonly versions: readonly { readonly name: string }[];
} {
  return definition.spec as ReturnType<typeof specOf>;
}
