import { type Clock, isRecord, writeFileAtomic } from '@mural/core';
import {
  createKubeClient,
  type KubeClient,
  type KubeObject,
  loadKubeConfig,
  MURAL_NAMESPACE,
} from '@mural/kube';
import { applyBootstrap, startSpoke } from '@mural/spoke';
import { CliError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { installDefinitions, startHomeApi } from './api.ts';
import { ensureCertificates } from './certificates.ts';
import { type Home, openHome, type RunningHome } from './home.ts';
import type { LogSettings } from './logs.ts';
import { advertisedAddress, certificateNames, probe } from './network.ts';
import { startRenewal } from './renewal.ts';
import { publishControllers } from './workers.ts';

/** What `mural spoke run` was asked for. */
export interface SpokeHomeOptions {
  readonly dataDir: string;
  /** What `mural spoke bootstrap` printed. */
  readonly bootstrap: readonly KubeObject[];
  /** Kubeconfig of the cluster to work in; the embedded API unless given. */
  readonly kubeconfig?: string | undefined;
  readonly listen: string;
  readonly apiPort: number;
  readonly log: LogSettings;
  readonly clock?: Clock;
}

/** What the ready file of a spoke says. */
export interface SpokeFacts {
  readonly name: string;
  readonly api: string;
  readonly kubeconfig: string;
}

const FLUX_GROUPS = ['source.toolkit.fluxcd.io', 'kustomize.toolkit.fluxcd.io'];

/**
 * Starts a spoke: its controllers and the agent that reports to the hub, against a cluster of its
 * own in this process or against one that is there already.
 *
 * @throws CliError `FileInvalid`, `AddressInUse`, `AddressUnavailable`, `DataDirInUse`
 */
export async function startSpokeHome(options: SpokeHomeOptions): Promise<RunningHome<SpokeFacts>> {
  const secret = hubSecret(options.bootstrap);
  if (options.kubeconfig === undefined) {
    await probe([{ flag: '--api-port', listen: options.listen, port: options.apiPort }]);
  }
  const folders = ['tls', 'secrets', 'api', 'spoke', 'logs'] as const;
  return openHome(options, folders, async (home) => assemble({ ...home, options, secret }));
}

interface Assembly extends Home {
  readonly options: SpokeHomeOptions;
  readonly secret: HubSecret;
}

async function assemble(parts: Assembly): Promise<SpokeFacts> {
  const { options, clock, layout, logs, stack, secret } = parts;
  const cluster =
    options.kubeconfig === undefined ? await ownCluster(parts) : await givenCluster(options.kubeconfig);
  const { client } = cluster;
  stack.push('client', async () => client.close());
  await installDefinitions(client, { groups: FLUX_GROUPS, clock, log: logs.main, keep: !cluster.embedded });
  if (cluster.embedded) {
    const facts = { version: VERSION, now: clock.now(), released: false };
    await publishControllers(client, ['source-controller'], facts);
  }
  await applyBootstrap(client, options.bootstrap);
  const hub = createKubeClient(await loadKubeConfig({ text: secret.kubeconfig }));
  stack.push('client of the hub', async () => hub.close());
  const spoke = await startSpoke({
    client,
    dataDir: layout.spoke,
    name: secret.name,
    hub: { client: hub },
    clock,
    log: logs.controllers['source-controller'],
    version: VERSION,
  });
  stack.push('spoke', async () => spoke.stop());
  logs.main.info({ spoke: secret.name, api: cluster.api }, 'spoke serves');
  return { name: secret.name, api: cluster.api, kubeconfig: cluster.kubeconfig };
}

interface SpokeCluster {
  readonly client: KubeClient;
  readonly api: string;
  readonly kubeconfig: string;
  readonly embedded: boolean;
}

async function ownCluster(parts: Assembly): Promise<SpokeCluster> {
  const { options, clock, layout, logs, stack, secret } = parts;
  const { listen, apiPort: port } = options;
  const advertised = advertisedAddress(listen);
  const names = certificateNames(listen, advertised);
  const certificates = await ensureCertificates(layout.tls, names, clock);
  await writeFileAtomic(layout.ca, certificates.ca);
  const api = await startHomeApi({
    ...{ layout, listen, advertised, port, certificates, logs, clock },
    flag: '--api-port',
    cluster: secret.name,
  });
  stack.push('api', async () => api.server.close());
  const stopRenewal = startRenewal({
    ...{ folder: layout.tls, names, current: certificates.server, clock, log: logs.main },
    use: (pair) => api.server.setTls(pair),
  });
  stack.push('renewal', stopRenewal);
  return {
    client: api.clientOf('source-controller'),
    api: api.url,
    kubeconfig: layout.kubeconfig,
    embedded: true,
  };
}

async function givenCluster(kubeconfig: string): Promise<SpokeCluster> {
  const connection = await loadKubeConfig({ path: kubeconfig });
  return { client: createKubeClient(connection), api: connection.server, kubeconfig, embedded: false };
}

interface HubSecret {
  readonly name: string;
  readonly kubeconfig: string;
}

/** Name of the spoke and way to the hub, out of the bootstrap's Secret `mural-hub`. */
function hubSecret(objects: readonly KubeObject[]): HubSecret {
  const secret = objects.find(
    ({ kind, metadata }) =>
      kind === 'Secret' && metadata.name === 'mural-hub' && metadata.namespace === MURAL_NAMESPACE,
  );
  const name = keyOf(secret, 'name');
  const kubeconfig = keyOf(secret, 'kubeconfig');
  if (name !== undefined && kubeconfig !== undefined) return { name, kubeconfig };
  throw new CliError('FileInvalid', 'the bootstrap file holds no Secret mural-hub with name and kubeconfig', {
    hint: 'print one with "mural spoke bootstrap NAME"',
  });
}

function keyOf(secret: KubeObject | undefined, key: string): string | undefined {
  if (secret === undefined) return undefined;
  const { data, stringData } = secret as { readonly data?: unknown; readonly stringData?: unknown };
  const plain = isRecord(stringData) ? stringData[key] : undefined;
  if (typeof plain === 'string') return plain;
  const encoded = isRecord(data) ? data[key] : undefined;
  return typeof encoded === 'string' ? Buffer.from(encoded, 'base64').toString() : undefined;
}
