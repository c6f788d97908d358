import { connect } from 'node:net';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { MIGRATION_CONFIG_MAP, MIGRATION_KEY, type MigrationState, registryPartHash } from '@mural/hub';
import {
  type Condition,
  EVENTS,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  type Resource,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { parseValues } from '@mural/values';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import {
  credentialOf,
  EXTERNAL_REPOSITORY,
  readerOf,
  type RegistryProcess,
  startExternalRegistry,
} from './support/external-registry.ts';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  restartSpoke,
  type SpokeProcess,
  startHub,
  startSpoke,
  temporaryFolder,
} from './support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';

type Tree = Readonly<Record<string, unknown>>;

/** Values that leave the registry to the default. */
function byDefault(more: Tree = {}): string {
  return stringify({ hue: { ociRegistry: { interval: '1s' } }, ...more });
}

/** Values that move the hub and its spokes to another registry, which anybody may read. */
function movedTo(registry: RegistryProcess, more: Tree = {}): string {
  const address = { endpoint: `oci://${registry.host}/fleet`, repository: 'workloads' };
  const ociRegistry = { ...address, interval: '1s', timeout: '10s', basicAuth: credentialOf('hue') };
  return stringify({ hue: { ociRegistry }, ...more });
}

const NO_ZOT = { zot: { enabled: false } };
const VALUES = { name: 'mural-values', namespace: 'mural-system' };

/** What `kubectl apply` of the Secret does. */
async function setValues(client: KubeClient, text: string): Promise<void> {
  const data = { 'values.yaml': Buffer.from(text).toString('base64') };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: VALUES, data } as UnstructuredObject;
  await client.apply(SECRETS, secret, { fieldManager: 'kubectl', force: true });
}

/** The message of an event that says `text`. */
async function eventOf(client: KubeClient, reason: string, text: string): Promise<string> {
  return eventually(async () => {
    const { items } = await client.list<UnstructuredObject>(EVENTS, { namespace: 'mural-system' });
    return items
      .filter((event) => event.reason === reason)
      .map(({ message }) => String(message))
      .find((message) => message.includes(text));
  }, 20_000);
}

/** Waits until the spokes report that they read a repository. */
async function reads(hub: Hub, names: readonly string[], url: string): Promise<void> {
  let last: unknown;
  try {
    await eventually(async () => {
      const { items } = await hub.client.list<Spoke>(SPOKES);
      last = items.map(({ metadata, status }) => [metadata.name, status?.registryUrl, status?.conditions]);
      return names.every((name) =>
        items.some(({ metadata, status }) => metadata.name === name && status?.registryUrl === url),
      );
    }, 40_000);
  } catch (error) {
    throw new Error(`not all of ${names.join(', ')} read ${url}: ${JSON.stringify(last, null, 1)}`, {
      cause: error,
    });
  }
}

async function isOpen(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  const open = await promise;
  socket.destroy();
  return open;
}

async function closed(url: string): Promise<void> {
  await eventually(async () => !(await isOpen(url)), 40_000);
}

async function deploy(hub: Hub, color: string): Promise<void> {
  await apply(
    hub.client,
    manifestsProfile('colors', configMap('colors', { color })),
    everySpoke('all'),
    deployment('colors', 'colors', 'all'),
  );
}

async function arrived(
  hub: Hub,
  spokes: readonly { readonly client: KubeClient }[],
  color: string,
): Promise<void> {
  await deploymentReady(hub, 'colors');
  const ref = { name: 'colors', namespace: 'default' };
  const resource = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true };
  await eventually(async () => {
    const maps = await Promise.all(
      spokes.map(async ({ client }) => client.find<UnstructuredObject>(resource, ref)),
    );
    return maps.every((map) => (map?.data as Tree | undefined)?.color === color);
  }, 20_000);
}

async function hueLog(hub: Hub): Promise<string> {
  return hub.client.raw('/api/v1/namespaces/mural-system/pods/hue-0/log');
}

describe('a fleet whose registry changes while it runs', () => {
  let registry: RegistryProcess;
  let url: string;
  let hub: Hub;
  let edge: SpokeProcess;

  beforeAll(async () => {
    registry = await startExternalRegistry('pull');
    url = `oci://${registry.host}/${EXTERNAL_REPOSITORY}`;
    const file = join(await temporaryFolder(), 'values.yaml');
    await writeFile(file, byDefault());
    hub = await startHub({ args: ['--values', file, '--registry-ca', registry.ca] });
    edge = await startSpoke(hub, 'edge-1');
    await deploy(hub, 'red');
    await arrived(hub, [hub, edge], 'red');
  }, 120_000);
  afterAll(cleanUp);

  it('is moved to another registry by the one it reads', async () => {
    const before = hub.ready.registry;
    await reads(hub, ['hub', 'edge-1'], `oci://${new URL(before).host}/mural/workloads`);
    await setValues(hub.client, movedTo(registry));
    await reads(hub, ['hub', 'edge-1'], url);
    for (const { client } of [hub, edge]) {
      const { items } = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
      expect(items.length).toBeGreaterThan(1);
      await eventually(async () => {
        const sources = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
        return sources.items.every(({ spec, status }) => {
          const ready = status?.conditions?.find(({ type }) => type === 'Ready');
          return spec.url === url && ready?.status === 'True';
        });
      });
    }
    expect(await hueLog(hub)).toMatch(/push|oci/i);
    await deploy(hub, 'blue');
    await arrived(hub, [hub, edge], 'blue');
    const reader = await readerOf(registry, 'edge-1');
    try {
      expect((await reader.headManifest(EXTERNAL_REPOSITORY, 'spoke-edge-1'))?.digest).toMatch(/^sha256:/);
    } finally {
      await reader.close();
    }
    expect(await isOpen(before)).toBe(true);
  }, 120_000);

  it('does without the default registry when zot is disabled, and with it again', async () => {
    await setValues(hub.client, movedTo(registry, NO_ZOT));
    await closed(hub.ready.registry);
    await deploy(hub, 'green');
    await arrived(hub, [hub, edge], 'green');
    await setValues(hub.client, movedTo(registry));
    await eventually(async () => isOpen(hub.ready.registry));
  }, 60_000);

  it('keeps what is in force when values are not valid, and says where they are wrong', async () => {
    await setValues(hub.client, movedTo(registry).replace('interval:', 'intervall:'));
    const message = await eventOf(hub.client, 'ValuesInvalid', 'values.yaml');
    expect(message).toMatch(/mural-values\/values\.yaml:\d+:\d+: error: .*did you mean interval/);
    expect(message).not.toContain(credentialOf('hue').password);
    expect(await readFile(hub.log, 'utf8')).not.toContain(credentialOf('hue').password);
    await deploy(hub, 'yellow');
    await arrived(hub, [hub, edge], 'yellow');
    await setValues(hub.client, movedTo(registry));
  }, 60_000);

  it('refuses to stop the registry that a spoke still reads, and stops it when the spoke has moved', async () => {
    await setValues(hub.client, byDefault());
    const host = new URL(hub.ready.registry).host;
    await reads(hub, ['hub', 'edge-1'], `oci://${host}/mural/workloads`);
    await edge.stop();
    await setValues(hub.client, movedTo(registry, NO_ZOT));
    const message = await eventOf(hub.client, 'RegistryInUse', 'edge-1');
    expect(message).toContain(`oci://${host}/mural/workloads`);
    await reads(hub, ['hub'], url);
    await deploy(hub, 'pink');
    await arrivedOn(hub, 'pink');
    expect(await isOpen(hub.ready.registry)).toBe(true);
    edge = await restartSpoke('edge-1', edge.data);
    await closed(hub.ready.registry);
    await reads(hub, ['hub', 'edge-1'], url);
    await arrived(hub, [hub, edge], 'pink');
  }, 120_000);

  it('strands nobody when the new registry cannot be reached', async () => {
    const nowhere = { ...registry, host: '127.0.0.1:9' };
    await setValues(hub.client, movedTo(nowhere, NO_ZOT));
    await deploy(hub, 'grey');
    await eventually(async () => (await hueLog(hub)).includes(nowhere.host), 20_000);
    await reads(hub, ['hub', 'edge-1'], url);
    await setValues(hub.client, movedTo(registry, NO_ZOT));
    await reads(hub, ['hub', 'edge-1'], url);
    await deploy(hub, 'violet');
    await arrived(hub, [hub, edge], 'violet');
  }, 60_000);
});

/** Waits for the workload on one cluster, whatever the others do. */
async function arrivedOn({ client }: { readonly client: KubeClient }, color: string): Promise<void> {
  const resource = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true };
  await eventually(async () => {
    const map = await client.find<UnstructuredObject>(resource, { name: 'colors', namespace: 'default' });
    return (map?.data as Tree | undefined)?.color === color;
  }, 20_000);
}

const HELM_RELEASES: Resource = {
  group: 'helm.toolkit.fluxcd.io',
  version: 'v2',
  kind: 'HelmRelease',
  plural: 'helmreleases',
  namespaced: true,
};

/** The manifest of a Flux-managed installation. */
function helmRelease(spec: Tree): UnstructuredObject {
  return {
    apiVersion: 'helm.toolkit.fluxcd.io/v2',
    kind: 'HelmRelease',
    metadata: { name: 'mural', namespace: 'mural-system' },
    spec: {
      interval: '1h',
      chartRef: { kind: 'OCIRepository', name: 'mural' },
      install: { crds: 'Skip' },
      ...spec,
    },
  };
}

interface ReleaseStatus {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
}

/** The condition Ready of the release at its latest generation. */
async function released(client: KubeClient, status: Condition['status']): Promise<Condition> {
  return eventually(async () => {
    const ref = { name: 'mural', namespace: 'mural-system' };
    const release = await client.get<UnstructuredObject>(HELM_RELEASES, ref);
    const { conditions, observedGeneration } = (release.status ?? {}) as ReleaseStatus;
    if (observedGeneration !== release.metadata.generation) return undefined;
    return conditions?.find((condition) => condition.type === 'Ready' && condition.status === status);
  }, 30_000);
}

describe('a fleet that is configured by a HelmRelease', () => {
  let registry: RegistryProcess;
  let hub: Hub;
  const embedded = (): string => `oci://${new URL(hub.ready.registry).host}/mural/workloads`;
  const external = (): string => `oci://${registry.host}/${EXTERNAL_REPOSITORY}`;
  const asTree = (text: string): Tree => parse(text) as Tree;

  beforeAll(async () => {
    registry = await startExternalRegistry('pull');
    hub = await startHub({ args: ['--registry-ca', registry.ca] });
  }, 60_000);
  afterAll(cleanUp);

  it('takes its values, those of Secrets first', async () => {
    await reads(hub, ['hub'], embedded());
    const { hue, ...rest } = asTree(movedTo(registry, { zot: { enabled: true } }));
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { ...VALUES, name: 'registry' } };
    const data = { 'login.yaml': Buffer.from(stringify({ hue })).toString('base64') };
    await hub.client.apply(SECRETS, { ...secret, data }, { fieldManager: 'kubectl' });
    const valuesFrom = [{ kind: 'Secret', name: 'registry', valuesKey: 'login.yaml' }];
    await apply(hub.client, helmRelease({ values: rest, valuesFrom }));
    const { message, reason } = await released(hub.client, 'True');
    expect(reason).toBe('UpgradeSucceeded');
    expect(message).toContain('this hub takes the values of its release itself');
    await reads(hub, ['hub'], external());
  }, 60_000);

  it('says what is wrong with values, and keeps the former ones', async () => {
    const values = asTree(movedTo(registry).replace('interval:', 'intervall:'));
    await apply(hub.client, helmRelease({ values }));
    const { message, reason } = await released(hub.client, 'False');
    expect(reason).toBe('UpgradeFailed');
    expect(message).toContain('did you mean interval');
    expect(message).not.toContain(credentialOf('hue').password);
    const missing = helmRelease({ valuesFrom: [{ kind: 'ConfigMap', name: 'nowhere' }] });
    await apply(hub.client, missing);
    await eventually(async () => (await released(hub.client, 'False')).message.includes('nowhere'));
    await reads(hub, ['hub'], external());
  }, 60_000);

  it('waits for a spoke that was never heard of before it stops the default registry', async () => {
    await apply(hub.client, helmRelease({ values: asTree(byDefault()) }));
    await released(hub.client, 'True');
    await reads(hub, ['hub'], embedded());
    const spoke = { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 'silent' } };
    await apply(hub.client, spoke);
    await apply(hub.client, helmRelease({ values: asTree(movedTo(registry, NO_ZOT)) }));
    const { message } = await released(hub.client, 'False');
    expect(message).toMatch(/zot\.enabled: false is refused for now: .*silent \(has never reported\)/);
    await reads(hub, ['hub'], external());
    expect(await isOpen(hub.ready.registry)).toBe(true);
    await hub.client.patch(SPOKES, { name: 'silent' }, 'merge', { spec: { suspend: true } });
    await closed(hub.ready.registry);
    await released(hub.client, 'True');
  }, 60_000);

  it('leaves a suspended release and those of others alone', async () => {
    await apply(hub.client, helmRelease({ suspend: true, values: asTree(byDefault()) }));
    const other = helmRelease({ values: asTree(byDefault()) });
    await apply(hub.client, { ...other, metadata: { name: 'podinfo', namespace: 'default' } });
    await deploy(hub, 'red');
    await arrivedOn(hub, 'red');
    await reads(hub, ['hub'], external());
    expect(await isOpen(hub.ready.registry)).toBe(false);
    const ref = { name: 'podinfo', namespace: 'default' };
    const { status } = await hub.client.get<UnstructuredObject>(HELM_RELEASES, ref);
    expect((status as ReleaseStatus | undefined)?.conditions).toBeUndefined();
  }, 60_000);
});

describe('a hub that is killed while its fleet moves', () => {
  afterAll(cleanUp);

  it('goes on, whenever that is, without being told the values again', async () => {
    const registry = await startExternalRegistry('pull');
    const external = `oci://${registry.host}/${EXTERNAL_REPOSITORY}`;
    const folder = await temporaryFolder();
    const file = join(folder, 'values.yaml');
    await writeFile(file, byDefault());
    const args = ['--registry-ca', registry.ca];
    let hub = await startHub({ args: ['--values', file, ...args] });
    const [apiPort, registryPort] = [hub.ready.api, hub.ready.registry].map((at) => Number(new URL(at).port));
    const ports = { data: hub.data, apiPort: apiPort ?? 0, registryPort: registryPort ?? 0 };
    let edge = await startSpoke(hub, 'edge-1');
    const embedded = `oci://${new URL(hub.ready.registry).host}/mural/workloads`;
    await deploy(hub, 'red');
    await arrived(hub, [hub, edge], 'red');
    for (const delayMs of [0, 40, 150, 400]) {
      await setValues(hub.client, movedTo(registry, NO_ZOT));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await hub.kill();
      hub = await startHub({ ...ports, args });
      await reads(hub, ['hub', 'edge-1'], external);
      await closed(`https://${new URL(embedded).host}`);
      await setValues(hub.client, byDefault());
      await reads(hub, ['hub', 'edge-1'], embedded);
    }
    // A spoke that is away while the hub is killed is waited for by the hub that comes after.
    await edge.stop();
    await setValues(hub.client, movedTo(registry, NO_ZOT));
    await reads(hub, ['hub'], external);
    await hub.kill();
    hub = await startHub({ ...ports, args });
    await eventOf(hub.client, 'RegistryInUse', 'edge-1');
    expect(await isOpen(`https://${new URL(embedded).host}`)).toBe(true);
    edge = await restartSpoke('edge-1', edge.data);
    await closed(`https://${new URL(embedded).host}`);
    await deploy(hub, 'blue');
    await arrived(hub, [hub, edge], 'blue');
  }, 240_000);
});

describe('a hub that is started with the values from before a migration', () => {
  afterAll(cleanUp);

  it('keeps the registry that the fleet was moved to, and says what to write', async () => {
    const registry = await startExternalRegistry('pull');
    const [old, moved] = [byDefault(), movedTo(registry)];
    const folder = await temporaryFolder();
    const file = join(folder, 'values.yaml');
    await writeFile(file, moved);
    const args = ['--values', file, '--registry-ca', registry.ca];
    let hub = await startHub({ args });
    const external = `oci://${registry.host}/${EXTERNAL_REPOSITORY}`;
    await reads(hub, ['hub'], external);
    const side = (text: string, url: string) => ({
      url,
      valuesHash: registryPartHash(parseValues(text, file).values),
    });
    const at = '2026-01-01T00:00:00Z';
    const state: MigrationState = {
      ...{ version: 1, id: 'm', phase: 'Completed', startedAt: at, updatedAt: at, waves: 1 },
      ...{ from: side(old, 'oci://127.0.0.1:5000/mural/workloads'), to: side(moved, external) },
      ...{ switched: ['hub'], assumed: [], wave: [], behind: {}, copied: { artifacts: 0, bytes: 0 } },
    };
    await apply(hub.client, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: MIGRATION_CONFIG_MAP, namespace: 'mural-system' },
      data: { [MIGRATION_KEY]: JSON.stringify(state) },
    } as UnstructuredObject);
    await hub.kill();
    await writeFile(file, old);
    hub = await startHub({ data: hub.data, args });
    const log = await readFile(hub.log, 'utf8');
    expect(log).toContain('names the registry that the fleet was moved away from');
    expect(log).toContain(`endpoint: oci://${registry.host}/fleet`);
    expect(log).not.toContain(credentialOf('hue').password);
    await deploy(hub, 'red');
    await arrived(hub, [hub], 'red');
    const sources = await hub.client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
    expect(sources.items.map(({ spec }) => spec.url)).toEqual(sources.items.map(() => external));
  }, 90_000);
});
