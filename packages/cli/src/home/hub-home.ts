import { startConsole } from '@mural/console';
import { type Clock, type ProcessEnvironment, writeFileAtomic } from '@mural/core';
import { hubAccess } from '@mural/hub';
import { createEventRecorder, type KubeClient, MURAL_NAMESPACE, type UnstructuredObject } from '@mural/kube';
import { VERSION } from '../version.ts';
import { type HomeApi, installDefinitions, startHomeApi } from './api.ts';
import { type Certificates, ensureCertificates } from './certificates.ts';
import { type ContentInUse, contentInUse } from './content-in-use.ts';
import { CONTROLLERS } from './controllers.ts';
import { Delivery } from './delivery.ts';
import { EmbeddedRegistry, metricsSpec } from './embedded-registry.ts';
import { followConfig } from './follow-config.ts';
import { helmReleaseDefinition } from './helm-release.ts';
import { type Home, openHome, type RunningHome } from './home.ts';
import type { LogSettings } from './logs.ts';
import { advertisedAddress, certificateNames, hostPort, listening, portOf, probe } from './network.ts';
import { OwnSpoke } from './own-spoke.ts';
import { type RegistrySettings, rememberSettings } from './registry-settings.ts';
import { startReleaseController } from './release-controller.ts';
import { startRenewal } from './renewal.ts';
import type { Stack } from './stack.ts';
import { readValues } from './values-document.ts';
import { type GivenValues, ValuesInForce } from './values-in-force.ts';
import { ValuesStore } from './values-store.ts';
import { publishControllers } from './workers.ts';

/** What `mural up` was asked for. */
export interface HubHomeOptions {
  readonly dataDir: string;
  readonly listen: string;
  /** The address that clients and spokes are told, where it is not the one listened on. */
  readonly advertise?: string | undefined;
  readonly apiPort: number;
  readonly registryPort: number;
  readonly consolePort: number;
  /** Put into force at the start; those of an earlier start stay in force without them. */
  readonly values?: GivenValues | undefined;
  /** PEM of the CA of a registry other than the embedded one. */
  readonly registryCa?: string | undefined;
  /** Settings of the embedded registry; their file is remembered for the next start. */
  readonly registrySettings?: RegistrySettings | undefined;
  readonly renderers: { readonly helm?: string; readonly kustomize?: string };
  readonly log: LogSettings;
  readonly clock?: Clock;
  /** The variables that name a proxy and the identity in a cloud: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
}

/** What the ready file says. */
export interface HubFacts {
  readonly api: string;
  readonly registry: string;
  readonly console: string;
  readonly kubeconfig: string;
  readonly dockerConfig: string;
  readonly ca: string;
  /** Where metrics and health of the embedded registry have a listener of their own. */
  readonly metrics?: string;
}

/**
 * Starts a whole hub in this process: API, registry, controllers, console, and the hub as its own spoke.
 *
 * When it fails, everything started until then is stopped again. Keys, credentials and state of an
 * earlier start are taken up.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`, `DataDirInUse`, `ValuesInvalid`; `FileInvalid` for
 *   settings that make a mirror of what the hub writes; OciError of a registry that cannot be opened
 */
export async function startHubHome(options: HubHomeOptions): Promise<RunningHome<HubFacts>> {
  await probe(portsOf(options));
  const folders = ['tls', 'secrets', 'api', 'registry', 'spoke', 'logs'] as const;
  return openHome(options, folders, async (home) => assemble({ ...home, options }));
}

interface Assembly extends Home {
  readonly options: HubHomeOptions;
}

/** What the parts of this home are given to work with. */
interface Services {
  readonly api: HomeApi;
  /** Acts as the process itself. */
  readonly client: KubeClient;
  readonly embedded: EmbeddedRegistry;
  readonly certificates: Certificates;
}

async function assemble(parts: Assembly): Promise<HubFacts> {
  const { options, clock, layout, logs, stack } = parts;
  const advertised = advertisedAddress(options.listen, options.advertise);
  const names = certificateNames(options.listen, advertised);
  const certificates = await ensureCertificates(layout.tls, names, clock);
  await writeFileAtomic(layout.ca, certificates.ca);
  const common = { layout, listen: options.listen, advertised, certificates, logs, clock };
  const api = await startHomeApi({ ...common, port: options.apiPort, flag: '--api-port', cluster: 'mural' });
  stack.push('api', async () => api.server.close());
  const client = clientOf(api, stack, 'mural-up');
  const embedded = new EmbeddedRegistry({
    ...{ ...common, port: options.registryPort, settings: options.registrySettings?.loaded.config },
    inUse: async (): Promise<ContentInUse> => contentInUse(client),
  });
  stack.push('registry', async () => embedded.stop());
  const registry = await startDelivery(parts, { api, client, embedded, certificates });
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
      embedded.useCertificate(pair);
      api.server.setTls(pair);
      page.setTls(pair);
    },
  });
  stack.push('renewal', stopRenewal);
  const urls = { api: api.url, registry, console: `https://${hostPort(advertised, portOf(page.url))}` };
  await followSettings(parts, embedded);
  logs.main.info(urls, 'hub serves');
  const { metricsUrl: metrics } = embedded;
  const files = { kubeconfig: layout.kubeconfig, dockerConfig: layout.dockerConfig, ca: layout.ca };
  return { ...urls, ...files, ...(metrics === undefined ? {} : { metrics }) };
}

/** Keeps the registry to the file of its settings, and remembers that file for the next start. */
async function followSettings(
  { options, clock, layout, logs, stack }: Assembly,
  embedded: EmbeddedRegistry,
): Promise<void> {
  const settings = options.registrySettings;
  await rememberSettings(layout, settings?.file);
  if (settings === undefined) return;
  const { loaded, reload } = settings;
  const follow = { loaded, reload, clock, log: logs.main };
  stack.push(
    'settings of the registry',
    await followConfig({ ...follow, use: ({ config }) => embedded.useSettings(config) }),
  );
}

/**
 * Starts what follows from the values, and what keeps it so.
 *
 * @returns URL of the registry that the hub writes
 */
async function startDelivery(parts: Assembly, services: Services): Promise<string> {
  const { options, clock, layout, logs, stack } = parts;
  const { api, client, embedded, certificates } = services;
  const log = logs.main;
  const environment = options.environment ?? process.env;
  await installDefinitions(client, { more: [helmReleaseDefinition()], clock, log });
  await publishControllers(client, CONTROLLERS, { version: VERSION, now: clock.now(), released: true });
  await grant(client, hubAccess(MURAL_NAMESPACE));
  const ownSpoke = new OwnSpoke({
    client: clientOf(api, stack, 'source-controller'),
    dataDir: layout.spoke,
    environment,
    clock,
    log: logs.controllers['source-controller'],
  });
  const delivery = new Delivery({
    ...{ clock, layout, logs, client, embedded, ownSpoke, environment },
    hue: clientOf(api, stack, 'hue'),
    hub: { server: api.url, ca: certificates.ca },
    externalCa: options.registryCa,
    renderers: options.renderers,
  });
  stack.push('hub', async () => delivery.stop());
  stack.push('spoke', async () => ownSpoke.stop());
  const events = createEventRecorder({ client, component: 'mural-up', clock, log });
  stack.push('events', async () => events.flush());
  const store = new ValuesStore(client);
  const inForce = new ValuesInForce({ client, store, delivery, events, clock, log });
  await inForce.begin(options.values);
  inForce.start();
  stack.push('values', async () => inForce.stop());
  stack.push('releases', startReleaseController({ client, store, inForce, events, clock, log }));
  return delivery.registryUrl ?? '';
}

/** Gives a controller of this process the rights it would have on any cluster, and no others. */
async function grant(admin: KubeClient, objects: readonly UnstructuredObject[]): Promise<void> {
  for (const object of objects) {
    const resource = await admin.resourceFor(object.apiVersion, object.kind);
    if (resource !== undefined)
      await admin.apply(resource, object, { fieldManager: 'mural-up', force: true });
  }
}

function clientOf(api: HomeApi, stack: Stack, account: string): KubeClient {
  const client = api.clientOf(account);
  stack.push(`client of ${account}`, async () => client.close());
  return client;
}

function portsOf(options: HubHomeOptions) {
  const { listen, values } = options;
  const ports = [{ flag: '--api-port', listen, port: options.apiPort }, portOfConsole(options)];
  const registry = { flag: '--registry-port', listen, port: options.registryPort };
  const given = values === undefined ? undefined : readValues(values.text, values.file).document;
  if (given?.values.zot.enabled === false) return ports;
  const metrics = metricsSpec(options.registrySettings?.loaded.config);
  return [...ports, registry, ...(metrics === undefined ? [] : [metrics])];
}

function portOfConsole({ listen, consolePort }: HubHomeOptions) {
  return { flag: '--console-port', listen, port: consolePort };
}
