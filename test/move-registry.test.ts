import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { startHub as startHubInProcess, spokeBootstrap, type Hub as RunningHub } from '@mural/hub';
import {
  CONFIG_MAPS,
  KUSTOMIZATIONS,
  type Kustomization,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { RegistryClient } from '@mural/oci';
import { type FakeRegistry, startFakeRegistry } from '@mural/oci/testing';
import { applyBootstrap, type RunningSpoke, startSpoke as startSpokeInProcess } from '@mural/spoke';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cleanUp, startHub, startSpoke } from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from './support/objects.ts';

const ROOT = { name: 'mural-root', namespace: 'mural-system' };
const GROUP = { name: 'mural-group', namespace: 'mural-system' };

describe('a spoke that is moved to another registry', () => {
  let hubApi: FakeKubeApi;
  let cluster: FakeKubeApi;
  let registries: FakeRegistry[];
  let clients: RegistryClient[];
  let urls: string[];
  let hub: RunningHub;
  let spoke: RunningSpoke;
  let dataDir: string;
  let current = 0;

  const settings = () => ({ url: urls[current] ?? '', interval: '1m', timeout: '10s', insecure: true });

  beforeEach(async () => {
    current = 0;
    hubApi = createFakeKubeApi();
    cluster = createFakeKubeApi();
    registries = await Promise.all([startFakeRegistry(), startFakeRegistry()]);
    clients = registries.map(({ host }) => new RegistryClient({ registry: host, insecure: true }));
    urls = registries.map(({ host }) => `oci://${host}/mural/workloads`);
    dataDir = await mkdtemp(join(tmpdir(), 'mural-move-'));
    hub = await startHubInProcess({
      client: hubApi,
      registries: clients.map((client, index) => ({ url: urls[index] ?? '', client })),
      spokeRegistry: settings,
    });
    await apply(
      hubApi,
      {
        apiVersion: 'mural.dev/v1alpha1',
        kind: 'Spoke',
        metadata: { name: 'edge', labels: { tier: 'edge' } },
      },
      environment('edges', { tier: 'edge' }),
      manifestsProfile('app', configMap('app', { value: '1' })),
      deployment('app', 'app', 'edges'),
    );
    const secret = { name: 'spoke-edge-token', namespace: 'mural-system' };
    await eventually(async () => hubApi.find(SECRETS, secret));
    const token = Buffer.from('token').toString('base64');
    await hubApi.patch(SECRETS, secret, 'merge', { data: { token } });
    const objects = await spokeBootstrap({
      client: hubApi,
      spoke: 'edge',
      registry: settings(),
      hub: { server: 'https://hub.example.org', ca: 'CA' },
    });
    await applyBootstrap(cluster, objects);
    spoke = await startSpokeInProcess({ client: cluster, hub: { client: hubApi }, dataDir, name: 'edge' });
  });
  afterEach(async () => {
    await spoke.stop();
    await hub.stop();
    await Promise.all(clients.map(async (client) => client.close()));
    await Promise.all(registries.map(async (registry) => registry.close()));
    await rm(dataDir, { recursive: true, force: true });
  });

  const status = async () => (await hubApi.get<Spoke>(SPOKES, { name: 'edge' })).status;
  const value = async () => {
    const found = await cluster.find<UnstructuredObject>(CONFIG_MAPS, { name: 'app', namespace: 'default' });
    return (found?.['data'] as { value?: string } | undefined)?.value;
  };

  it('finds its way by the one that it read so far, and says when it is there', async () => {
    await eventually(async () => (await value()) === '1');
    await eventually(async () => (await status())?.registryUrl === urls[0]);
    const before = await cluster.get(CONFIG_MAPS, { name: 'app', namespace: 'default' });

    current = 1;
    hub.refresh();
    const moved = await eventually(async () => {
      const now = await status();
      return now?.registryUrl === urls[1] && now;
    }, 30_000);
    expect(moved.workloads).toMatchObject([{ name: 'app', ready: 'True' }]);
    const published = (tag: string) => registries[1]?.tags('mural/workloads')[tag];
    expect(moved.rootDigest).toBe(published('spoke-edge'));
    const group = (await cluster.get<OCIRepository>(OCI_REPOSITORIES, GROUP)).spec.ref?.tag ?? '';
    expect(moved.groupDigest).toBe(published(group));
    for (const source of cluster.stored<OCIRepository>(OCI_REPOSITORIES)) {
      expect(source.spec.url).toBe(urls[1]);
    }
    // Nothing was taken away and made again.
    const after = await cluster.get(CONFIG_MAPS, { name: 'app', namespace: 'default' });
    expect(after.metadata.uid).toBe(before.metadata.uid);
    expect(after.metadata.resourceVersion).toBe(before.metadata.resourceVersion);

    await registries[0]?.close();
    await apply(hubApi, manifestsProfile('app', configMap('app', { value: '2' })));
    await eventually(async () => (await value()) === '2', 30_000);
    const root = await cluster.get<Kustomization>(KUSTOMIZATIONS, ROOT);
    expect(root.status?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
  }, 60_000);
});

describe('the source of the root of a spoke', () => {
  afterAll(cleanUp);

  it('loses what its bootstrap gave it and its registry does not need any more', async () => {
    const hub = await startHub();
    const edge = await startSpoke(hub, 'edge-1');
    const source = async () => edge.client.get<OCIRepository>(OCI_REPOSITORIES, ROOT);
    expect((await source()).spec.secretRef).toBeDefined();
    expect((await source()).spec.certSecretRef).toBeDefined();
    const ociRegistry = {
      endpoint: 'oci://111122223333.dkr.ecr.eu-central-1.amazonaws.com',
      repository: 'mural',
      provider: 'aws',
    };
    await hub.client.patch(SPOKES, { name: 'edge-1' }, 'merge', { spec: { ociRegistry } });
    const { spec } = await eventually(async () => {
      const now = await source();
      return now.spec.provider === 'aws' && now;
    }, 60_000);
    expect(spec.url).toBe(`${ociRegistry.endpoint}/${ociRegistry.repository}`);
    expect(spec).not.toHaveProperty('secretRef');
    expect(spec).not.toHaveProperty('certSecretRef');
    expect(spec).not.toHaveProperty('insecure');
  }, 120_000);
});
