import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  type KubeClient,
  KUSTOMIZATIONS,
  type Kustomization,
  OCI_REPOSITORIES,
  type OCIRepository,
  type Resource,
  SPOKES,
} from '@mural/kube';
import { applyBootstrap } from '@mural/spoke';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { cleanUp, clientFor, deploymentReady, type Hub, mural, startHub } from '../support/mural.ts';
import {
  apply,
  configMap,
  deployment,
  environment,
  manifestsProfile,
  objectsOf,
} from '../support/objects.ts';
import { run } from '../support/run.ts';

describe('a spoke that runs Flux itself', () => {
  let hub: Hub;
  let cluster: Cluster;
  let client: KubeClient;

  beforeAll(async () => {
    hub = await startHub();
    cluster = await startCluster();
    await cluster.flux();
    client = await clientFor(cluster.kubeconfig);
    const bootstrap = await mural([
      ...['spoke', 'bootstrap', 'flux', '--create', '--labels', 'tier=flux'],
      ...['--kubeconfig', hub.ready.kubeconfig],
    ]);
    expect(bootstrap.stderr).toBe('');
    const file = join(cluster.folder, 'bootstrap.yaml');
    await writeFile(file, bootstrap.stdout);
    await run('kubectl', ['--kubeconfig', cluster.kubeconfig, 'apply', '--server-side', '-f', file]);
    await apply(
      hub.client,
      environment('flux', { tier: 'flux' }),
      manifestsProfile('app', configMap('app', { value: '1' })),
      deployment('app', 'app', 'flux'),
    );
  });
  afterAll(async () => {
    await cluster.down();
    await cleanUp();
  });

  it("gets its workloads from the same bootstrap manifests by Flux's own controllers", async () => {
    await eventually(
      async () => client.find(CONFIG_MAPS, { name: 'app', namespace: 'default' }),
      120_000,
      200,
    );
    const ref = { name: 'default.app', namespace: 'mural-system' };
    const source = await client.get<OCIRepository>(OCI_REPOSITORIES, ref);
    expect(source.status?.artifact?.revision).toMatch(/^sha256:/);
    const applied = await eventually(async () => {
      const kustomization = await client.get<Kustomization>(KUSTOMIZATIONS, ref);
      return kustomization.status?.conditions?.find(
        (entry) => entry.type === 'Ready' && entry.status === 'True',
      );
    }, 60_000);
    expect(applied.message).toMatch(/^Applied revision: sha256:/);
  });

  it('follows a change and a removal', async () => {
    await apply(hub.client, manifestsProfile('app', configMap('app', { value: '2' })));
    const group = { name: 'mural-group', namespace: 'mural-system' };
    const nudge = async () =>
      client.patch(OCI_REPOSITORIES, group, 'merge', {
        metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': String(Date.now()) } },
      });
    await eventually(
      async () => {
        await nudge();
        const live = await client.get<{ data?: { value?: string } } & Kustomization>(CONFIG_MAPS, {
          name: 'app',
          namespace: 'default',
        });
        return live.data?.value === '2';
      },
      120_000,
      1000,
    );
    await run('kubectl', ['--kubeconfig', hub.ready.kubeconfig, 'delete', 'workloaddeployment', 'app']);
    await eventually(
      async () => {
        await nudge();
        return (await client.find(CONFIG_MAPS, { name: 'app', namespace: 'default' })) === undefined;
      },
      120_000,
      1000,
    );
  });

  it('and the flux CLI pulls what hue pushed', async () => {
    await apply(hub.client, deployment('again', 'app', 'flux'));
    const published = await eventually(async () => {
      const { items } = await hub.client.list<Kustomization & { status?: { spokes?: { tag?: string }[] } }>({
        group: 'mural.dev',
        version: 'v1alpha1',
        kind: 'WorkloadDeployment',
        plural: 'workloaddeployments',
        namespaced: true,
      });
      return items.find((item) => item.metadata.name === 'again')?.status?.spokes?.[0]?.tag;
    }, 30_000);
    const out = join(cluster.folder, 'pulled');
    await run('mkdir', ['-p', out]);
    const host = new URL(hub.ready.registry).host;
    const env = { DOCKER_CONFIG: join(hub.ready.dockerConfig, '..'), SSL_CERT_FILE: hub.ready.ca };
    await run('flux', ['pull', 'artifact', `oci://${host}/mural/workloads:${published}`, '--output', out], {
      env,
    });
    const files = (await run('find', [out, '-type', 'f'])).trim().split('\n');
    const texts = await Promise.all(files.map(async (file) => readFile(file, 'utf8')));
    expect(texts.join('\n')).toContain('name: app');
  });

  it('keeps what it has when its group does not know it', async () => {
    const group = { name: 'mural-group', namespace: 'mural-system' };
    const annotations = { 'reconcile.fluxcd.io/requestedAt': String(Date.now()) };
    await client.patch(OCI_REPOSITORIES, group, 'merge', { metadata: { annotations } });
    const app = { name: 'app', namespace: 'default' };
    const { metadata } = await eventually(async () => client.find(CONFIG_MAPS, app), 60_000);
    await client.patch(KUSTOMIZATIONS, group, 'merge', { spec: { path: './spokes/nobody' } });
    const failed = await eventually(async () => {
      const { status } = await client.get<Kustomization>(KUSTOMIZATIONS, group);
      return status?.conditions?.find((entry) => entry.type === 'Ready' && entry.status === 'False');
    }, 60_000);
    expect(failed.message).toMatch(/path not found/);
    expect((await client.get(CONFIG_MAPS, app)).metadata.uid).toBe(metadata.uid);
    expect(await client.find(KUSTOMIZATIONS, { ...group, name: 'default.again' })).toBeDefined();
  });

  it('is moved by the root that it reads, and keeps nothing of its bootstrap that the root does not have', async () => {
    const root = { name: 'mural-root', namespace: 'mural-system' };
    const source = async () => client.get<OCIRepository>(OCI_REPOSITORIES, root);
    const request = async (resource: Resource) =>
      client.patch(resource, root, 'merge', {
        metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': String(Date.now()) } },
      });
    const clean = async (): Promise<OCIRepository | false> => {
      const now = await source();
      const { certSecretRef, provider, secretRef } = now.spec;
      return provider === 'aws' && secretRef === undefined && certSecretRef === undefined && now;
    };
    expect((await source()).spec.secretRef).toBeDefined();
    const endpoint = 'oci://111122223333.dkr.ecr.eu-central-1.amazonaws.com';
    const spec = { ociRegistry: { endpoint, repository: 'mural', provider: 'aws' } };
    await hub.client.patch(SPOKES, { name: 'flux' }, 'merge', { spec });
    const moved = await eventually(
      async () => {
        await request(OCI_REPOSITORIES);
        return clean();
      },
      60_000,
      1000,
    );
    expect(moved.spec.url).toBe(`${endpoint}/mural`);
    expect(moved.metadata.annotations).toMatchObject({ 'kustomize.toolkit.fluxcd.io/prune': 'disabled' });

    // The same when `mural spoke run` applied the bootstrap.
    const bootstrap = await readFile(join(cluster.folder, 'bootstrap.yaml'), 'utf8');
    await applyBootstrap(client, objectsOf(bootstrap));
    expect((await source()).spec.secretRef).toBeDefined();
    await request(KUSTOMIZATIONS);
    await eventually(clean, 60_000, 200);
  });
});

describe('our own controllers on a real cluster', () => {
  let cluster: Cluster;
  afterAll(async () => {
    await cluster.down();
    await cleanUp();
  });

  it('deliver and report as on the embedded API', async () => {
    const hub = await startHub();
    cluster = await startCluster();
    const bootstrap = await mural([
      ...['spoke', 'bootstrap', 'real', '--create', '--labels', 'tier=real'],
      ...['--kubeconfig', hub.ready.kubeconfig],
    ]);
    const file = join(cluster.folder, 'bootstrap.yaml');
    await writeFile(file, bootstrap.stdout);
    const { spawn } = await import('node:child_process');
    const { ROOT } = await import('../support/mural.ts');
    const spoke = spawn(
      process.execPath,
      [
        join(ROOT, 'packages/cli/bin/mural.js'),
        ...['spoke', 'run', '--data', join(cluster.folder, 'spoke'), '--bootstrap', file],
        ...['--kubeconfig', cluster.kubeconfig, '--ready-file', join(cluster.folder, 'ready.json')],
      ],
      { stdio: 'inherit' },
    );
    try {
      await apply(
        hub.client,
        environment('real', { tier: 'real' }),
        manifestsProfile('app', configMap('app', { value: '1' })),
        deployment('app', 'app', 'real'),
      );
      const ready = await deploymentReady(hub, 'app', { timeoutMs: 90_000 });
      expect(ready.status?.spokes?.[0]).toMatchObject({ name: 'real', ready: 'True', objects: 1 });
      const client = await clientFor(cluster.kubeconfig);
      await expect(client.get(CONFIG_MAPS, { name: 'app', namespace: 'default' })).resolves.toBeDefined();
    } finally {
      spoke.kill();
    }
  });
});
