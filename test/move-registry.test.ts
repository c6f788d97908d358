import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { eventually } from '@mural/core/testing';
import {
  type Condition,
  KUSTOMIZATIONS,
  type Kustomization,
  OCI_REPOSITORIES,
  type OCIRepository,
  SPOKES,
} from '@mural/kube';
import { RegistryClient } from '@mural/oci';
import { type FakeRegistry, startFakeRegistry, TEST_TLS } from '@mural/oci/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { Moving, type Place } from './support/moving.ts';
import { cleanUp, startHub, startSpoke } from './support/mural.ts';

const ROOT = { name: 'mural-root', namespace: 'mural-system' };
const REPOSITORY = 'mural/workloads';

let moving: Moving;
const registries: FakeRegistry[] = [];
const clients: RegistryClient[] = [];
const ended: (() => Promise<void>)[] = [];

afterEach(async () => {
  await moving.stop();
  await Promise.all(clients.splice(0).map(async (client) => client.close()));
  await Promise.all(registries.splice(0).map(async (registry) => registry.close()));
  for (const end of ended.splice(0)) await end();
});

/** A registry that everybody can read, as hub and spokes see it unless it is told otherwise. */
async function place(options: Partial<Place> = {}): Promise<Place> {
  const registry = await startFakeRegistry();
  const client = new RegistryClient({ registry: registry.host, insecure: true });
  registries.push(registry);
  clients.push(client);
  return { url: `oci://${registry.host}/${REPOSITORY}`, client, insecure: true, ...options };
}

function conditionOf(
  { status }: { readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined },
  type: string,
): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** That the workload on the spoke is the very same object, which nobody has written since. */
async function expectUntouched(before: Awaited<ReturnType<Moving['app']>>): Promise<void> {
  const { uid, resourceVersion } = (await moving.app()).metadata;
  expect([uid, resourceVersion]).toEqual([before.metadata.uid, before.metadata.resourceVersion]);
}

describe('a spoke that is moved to another registry', () => {
  it('finds its way by the one that it read so far, and says when it is there', async () => {
    moving = await Moving.start(await place(), await place());
    const before = await moving.app();
    const url = moving.places[1].url;

    moving.sendTo(1);
    const moved = await moving.reads(1);
    expect(moved.workloads).toMatchObject([{ name: 'app', ready: 'True' }]);
    expect(moved).toMatchObject({ rootRegistryUrl: url, groupRegistryUrl: url });
    const published = (tag: string) => registries[1]?.tags(REPOSITORY)[tag];
    await eventually(async () => (await moving.status())?.rootDigest === published('spoke-edge'));
    const group = (await moving.source('mural-group')).spec.ref?.tag ?? '';
    expect(moved.groupDigest).toBe(published(group));
    for (const source of moving.sources()) expect(source.spec.url).toBe(url);
    await expectUntouched(before);

    await registries[0]?.close();
    await moving.deploy('2');
    await moving.has('2');
    const root = await moving.cluster.get<Kustomization>(KUSTOMIZATIONS, ROOT);
    expect(conditionOf(root, 'Ready')?.status).toBe('True');
  }, 60_000);

  it('goes on when the hub is started anew at any moment', async () => {
    moving = await Moving.start(await place(), await place());
    const before = await moving.app();
    await moving.stopHub();
    moving.sendTo(1);
    await moving.startHub();
    await eventually(async () => (await moving.source('mural-group')).spec.url === moving.places[1].url);
    await moving.stopHub();
    await moving.startHub();
    await moving.reads(1);
    await expectUntouched(before);
  }, 60_000);

  it('is brought to it by its bootstrap when the old one is gone', async () => {
    moving = await Moving.start(await place(), await place());
    const before = await moving.app();
    await registries[0]?.close();
    moving.sendTo(1);
    await eventually(() => 'spoke-edge' in (registries[1]?.tags(REPOSITORY) ?? {}), 20_000);
    await moving.bootstrap();
    await moving.reads(1);
    await expectUntouched(before);
    await moving.deploy('2');
    await moving.has('2');
  }, 60_000);

  it('is brought to it by its bootstrap although it is started with the old root stored', async () => {
    moving = await Moving.start(await place(), await place());
    const before = await moving.app();
    await moving.stopSpoke();
    await registries[0]?.close();
    moving.sendTo(1);
    await eventually(() => 'spoke-edge' in (registries[1]?.tags(REPOSITORY) ?? {}), 20_000);
    await moving.bootstrap();
    await moving.startSpoke();
    await moving.reads(1);
    await expectUntouched(before);
  }, 60_000);
});

/** Registries that the hub can write and the spoke cannot read, and what is told of them. */
const UNREADABLE: readonly (readonly [string, () => Promise<Place>, RegExp])[] = [
  ['refuses its credential', forbidden, /401|[Uu]nauthorized|authenticat|credential/],
  ['has a certificate that it does not trust', untrusted, /certificate|self-signed|issuer/i],
  ['never answers it', silent, /time|answer/i],
];

async function forbidden(): Promise<Place> {
  const credential = { username: 'hue', password: 'secret' };
  const registry = await startFakeRegistry({ credential, auth: 'basic' });
  const client = new RegistryClient({ registry: registry.host, insecure: true, credentials: credential });
  registries.push(registry);
  clients.push(client);
  return { url: `oci://${registry.host}/${REPOSITORY}`, client, insecure: true };
}

async function untrusted(): Promise<Place> {
  const registry = await startFakeRegistry({ tls: TEST_TLS });
  const client = new RegistryClient({ registry: registry.host, ca: TEST_TLS.ca });
  registries.push(registry);
  clients.push(client);
  return { url: `oci://${registry.host}/${REPOSITORY}`, client };
}

async function silent(): Promise<Place> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ended.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return await place({ url: `oci://127.0.0.1:${port}/${REPOSITORY}` });
}

describe('a move to a registry that the spoke cannot read', () => {
  it.each(UNREADABLE)(
    'which %s, leaves its root and workloads and can be taken back',
    async (_why, open, words) => {
      moving = await Moving.start(await place(), await open());
      const before = await moving.app();
      const root = await moving.source('mural-root');

      moving.sendTo(1);
      const failed = await eventually(async () => {
        const condition = conditionOf(await moving.source('mural-group'), 'FetchFailed');
        return condition?.status === 'True' && condition;
      }, 30_000);
      expect(failed.message).toMatch(words);
      const told = await eventually(async () => {
        const status = await moving.status();
        const condition = status && conditionOf({ status }, 'FetchFailed');
        return condition && { status, condition };
      });
      expect(told.condition).toMatchObject({
        ...{ status: 'True', reason: failed.reason },
        message: expect.stringContaining('OCIRepository mural-group: ') as string,
      });
      expect(told.status.registryUrl).toBeUndefined();
      expect(told.status.workloads).toMatchObject([{ name: 'app', ready: 'True' }]);
      expect((await moving.source('mural-root')).spec).toEqual(root.spec);
      await expectUntouched(before);

      // The hub may be started anew, and the registry may go, before anybody takes it back.
      await moving.stopHub();
      await registries[1]?.close();
      await moving.startHub();
      await eventually(async () => (await moving.status())?.rootRegistryUrl === moving.places[0].url);
      moving.sendTo(0);
      await moving.reads(0);
      await eventually(async () => !conditionOf({ status: await moving.status() }, 'FetchFailed'));
      await expectUntouched(before);
      await moving.deploy('2');
      await moving.has('2');
    },
    60_000,
  );
});

describe('the source of the root of a spoke', () => {
  afterAll(cleanUp);

  it('loses what its bootstrap gave it and its registry does not need any more', async () => {
    const hub = await startHub();
    const edge = await startSpoke(hub, 'edge-1');
    const source = async (ref = ROOT) => edge.client.get<OCIRepository>(OCI_REPOSITORIES, ref);
    expect((await source()).spec.secretRef).toBeDefined();
    expect((await source()).spec.certSecretRef).toBeDefined();
    const { host } = new URL(hub.ready.registry);
    const here = { endpoint: `oci://${host}/mural`, repository: 'workloads', provider: 'aws' };
    await hub.client.patch(SPOKES, { name: 'edge-1' }, 'merge', { spec: { ociRegistry: here } });
    const { spec } = await eventually(async () => {
      const now = await source();
      return now.spec.provider === 'aws' && now;
    }, 60_000);
    expect(spec.url).toBe(`oci://${host}/mural/workloads`);
    expect(spec).not.toHaveProperty('secretRef');
    expect(spec).not.toHaveProperty('certSecretRef');
    expect(spec).not.toHaveProperty('insecure');
  }, 120_000);
});
