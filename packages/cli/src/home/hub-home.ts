import { startConsole } from '@mural/console';
import { type Clock, writeFileAtomic } from '@mural/core';
import { hubAccess, startHub } from '@mural/hub';
import { type KubeClient, MURAL_NAMESPACE, type UnstructuredObject } from '@mural/kube';
import { applyBootstrap, startSpoke } from '@mural/spoke';
import type { Values } from '@mural/values';
import { VERSION } from '../version.ts';
import { type HomeApi, installDefinitions, startHomeApi } from './api.ts';
import { bootstrapObjects } from './bootstrap.ts';
import { type Certificates, ensureCertificates } from './certificates.ts';
import { publishDirectory } from './directory.ts';
import { type Home, openHome, type RunningHome } from './home.ts';
import type { LogSettings } from './logs.ts';
import { advertisedAddress, certificateNames, hostPort, listening, portOf, probe } from './network.ts';
import { chooseRegistry, type RegistryChoice, settingsOf } from './registry-choice.ts';
import { type HomeRegistry, openRegistry } from './registry.ts';
import { startRenewal } from './renewal.ts';
import { writePrivate } from './secrets.ts';
import { ensureSpokes, hubSpokeName } from './spokes.ts';
import type { Stack } from './stack.ts';
import { CONTROLLERS, publishControllers, serviceAccountsOf } from './workers.ts';

/** What `mural up` was asked for. */
export interface HubHomeOptions {
  readonly dataDir: string;
  readonly listen: string;
  /** The address that clients and spokes are told, where it is not the one listened on. */
  readonly advertise?: string | undefined;
  readonly apiPort: number;
  readonly registryPort: number;
  readonly consolePort: number;
  readonly values: Values;
  /** PEM of the CA of a registry other than the embedded one. */
  readonly registryCa?: string | undefined;
  readonly renderers: { readonly helm?: string; readonly kustomize?: string };
  readonly log: LogSettings;
  readonly clock?: Clock;
}

/** What the ready file says. */
export interface HubFacts {
  readonly api: string;
  readonly registry: string;
  readonly console: string;
  readonly kubeconfig: string;
  readonly dockerConfig: string;
  readonly ca: string;
}

/** SIGTERM has to be done within 10 s; this leaves room for the process itself. */
/**
 * Starts a whole hub in this process: API, registry, controllers, console, and the hub as its own spoke.
 *
 * When it fails, everything started until then is stopped again. Keys, credentials and state of an
 * earlier start are taken up.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`, `DataDirInUse`, `ProviderUnsupported`
 */
export async function startHubHome(options: HubHomeOptions): Promise<RunningHome<HubFacts>> {
  const choice = chooseRegistry(options.values);
  await probe(portsOf(options, choice));
  const folders = ['tls', 'secrets', 'api', 'registry', 'spoke', 'logs'] as const;
  return openHome(options, folders, async (home) => assemble({ ...home, options, choice }));
}

interface Assembly extends Home {
  readonly options: HubHomeOptions;
  readonly choice: RegistryChoice;
}

async function assemble(parts: Assembly): Promise<HubFacts> {
  const { options, clock, layout, logs, stack, choice } = parts;
  const advertised = advertisedAddress(options.listen, options.advertise);
  const names = certificateNames(options.listen, advertised);
  const certificates = await ensureCertificates(layout.tls, names, clock);
  await writeFileAtomic(layout.ca, certificates.ca);
  const common = { layout, listen: options.listen, advertised, certificates, logs, clock };
  const registry = await openRegistry({
    ...common,
    choice,
    values: options.values,
    port: options.registryPort,
    externalCa: options.registryCa,
  });
  stack.push('registry', async () => registry.close());
  await writePrivate(layout.dockerConfig, registry.dockerConfig);
  const api = await startHomeApi({ ...common, port: options.apiPort, flag: '--api-port', cluster: 'mural' });
  stack.push('api', async () => api.server.close());
  await startControllers(parts, { api, registry, certificates });
  const page = await listening(portOfConsole(options), async () =>
    startConsole({
      listen: options.listen,
      port: options.consolePort,
      tls: certificates.server,
      api: { server: api.localUrl, ca: certificates.ca },
      log: logs.main,
    }),
  );
  stack.push('console', async () => page.close());
  const stopRenewal = startRenewal({
    ...{ folder: layout.tls, names, current: certificates.server, clock, log: logs.main },
    use: (pair) => {
      registry.useCertificate(pair);
      api.server.setTls(pair);
      page.setTls(pair);
    },
  });
  stack.push('renewal', stopRenewal);
  const urls = {
    api: api.url,
    registry: registry.url,
    console: `https://${hostPort(advertised, portOf(page.url))}`,
  };
  logs.main.info(urls, 'hub serves');
  return {
    ...urls,
    kubeconfig: layout.kubeconfig,
    dockerConfig: layout.dockerConfig,
    ca: layout.ca,
  };
}

async function startControllers(
  parts: Assembly,
  services: {
    readonly api: HomeApi;
    readonly registry: HomeRegistry;
    readonly certificates: Certificates;
  },
): Promise<void> {
  const { options, clock, logs, stack } = parts;
  const { api, registry } = services;
  const admin = clientOf(api, stack, 'mural-up');
  await installDefinitions(admin, { clock, log: logs.main });
  await publishControllers(admin, CONTROLLERS, {
    version: VERSION,
    now: clock.now(),
    accounts: serviceAccountsOf(options.values),
  });
  await grant(admin, hubAccess(MURAL_NAMESPACE));
  await publishDirectory(admin, {
    registries: registry.directory,
    registryCa: registry.ca,
    hub: { server: api.url, ca: services.certificates.ca },
  });
  await ensureSpokes(admin, options.values);
  const hub = await startHub({
    client: clientOf(api, stack, 'hue'),
    namespace: MURAL_NAMESPACE,
    registries: [{ url: registry.repositoryUrl, client: registry.client }],
    spokeRegistry: (spoke) => settingsOf(registry.directory, spoke),
    accounts: registry.accounts,
    renderers: options.renderers,
    clock,
    log: logs.controllers.hue,
  });
  stack.push('hub', async () => hub.stop());
  const own = hubSpokeName(options.values);
  if (own !== undefined) await startOwnSpoke(parts, services, own);
}

/** Gives a controller of this process the rights it would have on any cluster, and no others. */
async function grant(admin: KubeClient, objects: readonly UnstructuredObject[]): Promise<void> {
  for (const object of objects) {
    const resource = await admin.resourceFor(object.apiVersion, object.kind);
    if (resource !== undefined)
      await admin.apply(resource, object, { fieldManager: 'mural-up', force: true });
  }
}

/** The hub as its own spoke: the same agent, over the same API, with the bootstrap that any spoke gets. */
async function startOwnSpoke(
  parts: Assembly,
  services: { readonly api: HomeApi },
  name: string,
): Promise<void> {
  const { clock, layout, logs, stack } = parts;
  const client = clientOf(services.api, stack, 'source-controller');
  await applyBootstrap(client, await bootstrapObjects(client, name, { clock }));
  const spoke = await startSpoke({
    client,
    dataDir: layout.spoke,
    name,
    hub: { client },
    clock,
    log: logs.controllers['source-controller'],
    version: VERSION,
  });
  stack.push('spoke', async () => spoke.stop());
}

function clientOf(api: HomeApi, stack: Stack, account: string): KubeClient {
  const client = api.clientOf(account);
  stack.push(`client of ${account}`, async () => client.close());
  return client;
}

function portsOf(options: HubHomeOptions, choice: RegistryChoice) {
  const { listen } = options;
  const ports = [{ flag: '--api-port', listen, port: options.apiPort }, portOfConsole(options)];
  const registry = { flag: '--registry-port', listen, port: options.registryPort };
  return choice.runEmbedded ? [...ports, registry] : ports;
}

function portOfConsole({ listen, consolePort }: HubHomeOptions) {
  return { flag: '--console-port', listen, port: consolePort };
}
