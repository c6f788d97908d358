import { connect } from 'node:net';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  EVENTS,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
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
  mural,
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

async function eventOf(client: KubeClient, reason: string): Promise<string> {
  return eventually(async () => {
    const { items } = await client.list<UnstructuredObject>(EVENTS, { namespace: 'mural-system' });
    return items.filter((event) => event.reason === reason).at(-1)?.message as string | undefined;
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
    const message = await eventOf(hub.client, 'ValuesInvalid');
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
    const message = await eventOf(hub.client, 'RegistryInUse');
    expect(message).toContain('edge-1');
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
});

/** Waits for the workload on one cluster, whatever the others do. */
async function arrivedOn({ client }: { readonly client: KubeClient }, color: string): Promise<void> {
  const resource = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true };
  await eventually(async () => {
    const map = await client.find<UnstructuredObject>(resource, { name: 'colors', namespace: 'default' });
    return (map?.data as Tree | undefined)?.color === color;
  }, 20_000);
}

export { mural };
