import { join } from 'node:path';
import { CONFIG_MAPS, DEPLOYMENTS, type UnstructuredObject, type WorkloadProfile } from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanUp, deploymentReady, type Hub, startHub, temporaryFolder } from '../support/mural.ts';
import { apply, configMap, deployment, everySpoke } from '../support/objects.ts';
import { run } from '../support/run.ts';

describe('helm and kustomize', () => {
  let hub: Hub;
  let folder: string;

  beforeAll(async () => {
    folder = await temporaryFolder();
    hub = await startHub();
    await apply(hub.client, everySpoke('all'));
  });
  afterAll(cleanUp);

  function profile(name: string, components: WorkloadProfile['spec']['components']): WorkloadProfile {
    const metadata = { name, namespace: 'default' };
    return { apiVersion: 'mural.dev/v1alpha1', kind: 'WorkloadProfile', metadata, spec: { components } };
  }

  it('renders a chart that helm pushed to the registry', async () => {
    const host = new URL(hub.ready.registry).host;
    const env = { HOME: folder, SSL_CERT_FILE: hub.ready.ca };
    await run('helm', ['create', 'shop'], { cwd: folder, env });
    await run('helm', ['package', 'shop'], { cwd: folder, env });
    const auth = ['--registry-config', hub.ready.dockerConfig, '--ca-file', hub.ready.ca];
    await run('helm', ['push', 'shop-0.1.0.tgz', `oci://${host}/mural/charts`, ...auth], {
      cwd: folder,
      env,
    });
    await apply(
      hub.client,
      profile('shop', [
        {
          name: 'shop',
          type: 'helm',
          properties: {
            artifact: { url: `oci://${host}/mural/charts/shop`, tag: '0.1.0' },
            values: { replicaCount: 2, image: { tag: '${deployment.name}' } },
          },
        },
      ]),
      deployment('shop', 'shop', 'all'),
    );
    await deploymentReady(hub, 'shop');
    const live = await hub.client.get<UnstructuredObject>(DEPLOYMENTS, {
      name: 'shop',
      namespace: 'default',
    });
    expect(live.spec).toMatchObject({
      replicas: 2,
      template: { spec: { containers: [{ image: 'nginx:shop' }] } },
    });
  });

  it('builds a kustomization', async () => {
    await apply(
      hub.client,
      profile('overlay', [
        {
          name: 'overlay',
          type: 'kustomize',
          properties: {
            files: {
              'kustomization.yaml': 'resources: [cm.yaml]\nnamePrefix: built-\n',
              'cm.yaml': configMap('app', { a: '1' }),
            },
          },
        },
      ]),
      deployment('overlay', 'overlay', 'all'),
    );
    await deploymentReady(hub, 'overlay');
    await expect(
      hub.client.get(CONFIG_MAPS, { name: 'built-app', namespace: 'default' }),
    ).resolves.toBeDefined();
  });

  it('installs and upgrades a chart straight into the API', async () => {
    const env = { HOME: folder, KUBECONFIG: hub.ready.kubeconfig };
    await run(
      'helm',
      ['install', 'direct', join(folder, 'shop'), '--namespace', 'direct', '--create-namespace'],
      { env },
    );
    await run(
      'helm',
      ['upgrade', 'direct', join(folder, 'shop'), '--namespace', 'direct', '--set', 'replicaCount=3'],
      { env },
    );
    expect(await run('helm', ['list', '--namespace', 'direct'], { env })).toMatch(/direct\s+direct\s+2\s/);
    await run('helm', ['uninstall', 'direct', '--namespace', 'direct'], { env });
    const left = await hub.client.list(DEPLOYMENTS, { namespace: 'direct' });
    expect(left.items).toHaveLength(0);
  });
});
