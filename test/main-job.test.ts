import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  CLUSTER_ROLES,
  CONFIG_MAPS,
  createKubeClient,
  DEPLOYMENTS,
  KUSTOMIZATIONS,
  type KubeObject,
  type Kustomization,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
} from '@mural/kube';
import { credentialsFromDockerConfig, packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  clientFor,
  cleanUp,
  deploymentReady,
  type Hub,
  ROOT,
  startHub,
  startSpoke,
  type SpokeProcess,
} from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile, objectsOf } from './support/objects.ts';

describe('a workload on three spokes', () => {
  let hub: Hub;
  let spokes: SpokeProcess[];

  beforeAll(async () => {
    hub = await startHub();
    spokes = await Promise.all(
      ['edge-1', 'edge-2'].map(async (name) => startSpoke(hub, name, { labels: { tier: 'edge' } })),
    );
  }, 120_000);
  afterAll(cleanUp);

  const clients = () => [hub.client, ...spokes.map((spoke) => spoke.client)];

  it('brings the example of the quickstart to every spoke, with the override of one', async () => {
    const example = objectsOf(await readFile(join(ROOT, 'examples/quickstart/workload.yaml'), 'utf8'));
    const target = example.find((object) => object.kind === 'WorkloadDeployment');
    await apply(hub.client, ...example);
    const ready = await deploymentReady(hub, target?.metadata.name ?? '', {
      namespace: target?.metadata.namespace ?? 'default',
    });
    expect(ready.status?.summary).toBe('3/3');
    expect(ready.status?.spokes?.map((spoke) => spoke.name).sort()).toEqual(['edge-1', 'edge-2', 'hub']);
    for (const spoke of ready.status?.spokes ?? []) {
      expect(spoke).toMatchObject({ ready: 'True', healthy: 'Unknown', healthReason: 'NoNodes' });
      expect(spoke.appliedDigest).toBe(spoke.digest);
      expect(spoke.objects).toBeGreaterThan(1);
    }
    for (const client of clients()) {
      const deployments = await client.list<UnstructuredObject>(DEPLOYMENTS, {
        labelSelector: 'kustomize.toolkit.fluxcd.io/name',
      });
      expect(deployments.items.length).toBeGreaterThan(0);
    }
    const digests = new Set(ready.status?.spokes?.map((spoke) => spoke.digest));
    expect(digests.size).toBe(2);
  }, 90_000);

  it('shows the sources with a revision on every spoke', async () => {
    for (const client of clients()) {
      const sources = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
      expect(sources.items.map((source) => source.metadata.name)).toContain('mural-root');
      for (const source of sources.items) {
        expect(source.status?.artifact?.revision).toMatch(/sha256:[0-9a-f]{64}$/);
      }
    }
  });

  it('gives a spoke a token that writes its own status and nothing else', async () => {
    const [edge] = spokes;
    if (edge === undefined) throw new Error('no spoke');
    const secret = await edge.client.get<UnstructuredObject>(
      { group: '', version: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true },
      { name: 'mural-hub', namespace: 'mural-system' },
    );
    const data = secret.data as Record<string, string>;
    const { writeFile } = await import('node:fs/promises');
    const path = `${edge.data}.hub.kubeconfig`;
    await writeFile(path, Buffer.from(data.kubeconfig ?? '', 'base64'), { mode: 0o600 });
    const asSpoke = await clientFor(path);
    await expect(asSpoke.get<Spoke>(SPOKES, { name: 'edge-1' })).resolves.toMatchObject({ kind: 'Spoke' });
    await expect(asSpoke.get(SPOKES, { name: 'edge-2' })).rejects.toMatchObject({ code: 'Forbidden' });
    await expect(asSpoke.list(WORKLOAD_DEPLOYMENTS)).rejects.toMatchObject({ code: 'Forbidden' });
    const labels = { metadata: { labels: { tier: 'core' } } };
    await expect(asSpoke.patch(SPOKES, { name: 'edge-1' }, 'merge', labels)).rejects.toMatchObject({
      code: 'Forbidden',
    });
    const status = { status: { agentVersion: 'x' } };
    await expect(
      asSpoke.patch(SPOKES, { name: 'edge-2' }, 'merge', status, { subresource: 'status' }),
    ).rejects.toMatchObject({ code: 'Forbidden' });
  });

  it('gives a spoke a registry credential that reads and cannot write', async () => {
    const [edge] = spokes;
    const registry = new URL(hub.ready.registry).host;
    const ref = { name: 'mural-registry', namespace: 'mural-system' };
    const secret = await edge?.client.get<UnstructuredObject>(SECRETS, ref);
    const data = secret?.data as Record<string, string>;
    const config = Buffer.from(data['.dockerconfigjson'] ?? '', 'base64').toString();
    const credential = credentialsFromDockerConfig(config, registry);
    const ca = await readFile(hub.ready.ca, 'utf8');
    const asSpoke = new RegistryClient({
      registry,
      ca,
      credentials: async () => Promise.resolve(credential),
    });
    try {
      const root = await asSpoke.headManifest('mural/workloads', 'spoke-edge-1');
      expect(root?.digest).toMatch(/^sha256:/);
      const artifact = await packArtifact({
        files: [{ path: 'x.yaml', content: configMap('x', { a: '1' }) }],
      });
      const push = pushArtifact(asSpoke, 'mural/workloads', artifact, { tags: ['spoke-edge-2'] });
      await expect(push).rejects.toMatchObject({ code: 'AccessDenied' });
    } finally {
      await asSpoke.close();
    }
  });

  it('lets hue do what its job needs and nothing else', async () => {
    const token = await readFile(join(hub.data, 'secrets', 'controller-token'), 'utf8');
    const ca = await readFile(hub.ready.ca, 'utf8');
    const asHue = createKubeClient({ server: hub.ready.api, ca, token: `${token.trim()}.hue` });
    try {
      await expect(asHue.list(WORKLOAD_DEPLOYMENTS)).resolves.toMatchObject({ items: expect.any(Array) });
      for (const resource of [SECRETS, CONFIG_MAPS, DEPLOYMENTS]) {
        await expect(asHue.list(resource, { namespace: 'default' })).rejects.toMatchObject({
          code: 'Forbidden',
        });
      }
      const admin = {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'mine' },
      };
      const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }];
      await expect(asHue.create(CLUSTER_ROLES, { ...admin, rules } as KubeObject)).rejects.toMatchObject({
        code: 'Forbidden',
      });
      const log = await readFile(join(hub.data, 'logs', 'hue.log'), 'utf8');
      expect(log).not.toContain('Forbidden');
    } finally {
      await asHue.close();
    }
  });

  it('changes on the spokes what changed in the profile and leaves the rest alone', async () => {
    const manifests = (color: string) =>
      [configMap('changes', { color }), configMap('stays', { color: 'black' })].join('---\n');
    await apply(
      hub.client,
      manifestsProfile('two', manifests('red')),
      environment('edges', { tier: 'edge' }),
      deployment('two', 'two', 'edges'),
    );
    await deploymentReady(hub, 'two');
    const versions = async (name: string) =>
      Promise.all(
        spokes.map(async ({ client }) => {
          const object = await client.get<UnstructuredObject>(CONFIG_MAPS, { name, namespace: 'default' });
          return object.metadata.resourceVersion;
        }),
      );
    const before = { changes: await versions('changes'), stays: await versions('stays') };
    await apply(hub.client, manifestsProfile('two', manifests('blue')));
    await eventually(async () =>
      (
        await Promise.all(
          spokes.map(async ({ client }) =>
            client.get<UnstructuredObject>(CONFIG_MAPS, { name: 'changes', namespace: 'default' }),
          ),
        )
      ).every((object) => (object.data as { color: string }).color === 'blue'),
    );
    await deploymentReady(hub, 'two');
    expect(await versions('stays')).toEqual(before.stays);
    expect(await versions('changes')).not.toEqual(before.changes);
  });

  it('puts drift right', async () => {
    const [edge] = spokes;
    const ref = { name: 'changes', namespace: 'default' };
    await edge?.client.patch(
      CONFIG_MAPS,
      ref,
      'merge',
      { data: { color: 'pink' } },
      { fieldManager: 'someone' },
    );
    const kustomization = { name: 'default.two', namespace: 'mural-system' };
    await edge?.client.patch(KUSTOMIZATIONS, kustomization, 'merge', {
      metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': 'now' } },
    });
    await eventually(async () => {
      const object = await edge?.client.get<UnstructuredObject>(CONFIG_MAPS, ref);
      return (object?.data as { color?: string } | undefined)?.color === 'blue';
    });
  });

  it('applies in order what depends on another', async () => {
    await apply(
      hub.client,
      manifestsProfile('first', configMap('first', { a: '1' })),
      manifestsProfile('second', configMap('second', { a: '1' })),
      deployment('second', 'second', 'edges', { dependsOn: [{ name: 'first' }] }),
    );
    await eventually(async () => {
      const [edge] = spokes;
      const ref = { name: 'default.second', namespace: 'mural-system' };
      const waiting = await edge?.client.find<Kustomization>(KUSTOMIZATIONS, ref);
      return waiting?.status?.conditions?.some((entry) => entry.reason === 'DependencyNotReady');
    });
    expect(
      await spokes[0]?.client.find(CONFIG_MAPS, { name: 'second', namespace: 'default' }),
    ).toBeUndefined();
    await apply(hub.client, deployment('first', 'first', 'edges'));
    await deploymentReady(hub, 'second');
  });

  it('takes everything away that a deleted deployment brought', async () => {
    await hub.client.delete(WORKLOAD_DEPLOYMENTS, { name: 'two', namespace: 'default' });
    await eventually(async () => {
      const left = await Promise.all(
        spokes.map(async ({ client }) => client.find(CONFIG_MAPS, { name: 'changes', namespace: 'default' })),
      );
      return left.every((object) => object === undefined);
    }, 30_000);
    for (const { client } of spokes) {
      const ref = { name: 'default.two', namespace: 'mural-system' };
      await eventually(async () => (await client.find(OCI_REPOSITORIES, ref)) === undefined);
    }
    const ref = { name: 'two', namespace: 'default' };
    await eventually(async () => (await hub.client.find(WORKLOAD_DEPLOYMENTS, ref)) === undefined);
  });
});
