import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { spokeBootstrap, startHub } from '@mural/hub';
import { CONFIG_MAPS, installCrds, NAMESPACES, type Spoke, SPOKES } from '@mural/kube';
import { RegistryClient } from '@mural/oci';
import { startRegistry } from '@mural/registry';
import { applyBootstrap, startSpoke } from '@mural/spoke';
import { afterAll, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { cleanUp, clientFor, deploymentReady, temporaryFolder } from '../support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from '../support/objects.ts';

let cluster: Cluster | undefined;
const stops: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
  await cluster?.down();
  await cleanUp();
});

it('the hub and its spoke work the same on a real cluster, which is a home of the API like any other', async () => {
  cluster = await startCluster();
  const folder = await temporaryFolder();
  const client = await clientFor(cluster.kubeconfig);
  await installCrds(client);
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'mural-system' } };
  await client.apply(NAMESPACES, namespace, { fieldManager: 'test' });

  const registry = await startRegistry({ dataDir: join(folder, 'registry'), port: 0, anonymous: 'push' });
  stops.push(async () => registry.close());
  const settings = {
    url: `oci://${registry.host}/mural/workloads`,
    insecure: true,
    interval: '1m',
    timeout: '10s',
    secrets: { credential: false, ca: false },
  };
  const pusher = new RegistryClient({ registry: registry.host, insecure: true });
  stops.push(async () => pusher.close());
  const hub = await startHub({
    client,
    registries: [{ url: settings.url, client: pusher }],
    spokeRegistry: () => settings,
  });
  stops.push(async () => hub.stop());

  const spoke: Spoke = { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 'hub' } };
  await client.apply(SPOKES, spoke, { fieldManager: 'test' });
  const hubAddress = { server: 'https://127.0.0.1:1', ca: '' };
  const bootstrap = await eventually(async () =>
    spokeBootstrap({ client, spoke: 'hub', registry: settings, hub: hubAddress }),
  );
  await applyBootstrap(client, bootstrap);
  const agent = await startSpoke({ client, dataDir: join(folder, 'spoke'), name: 'hub', hub: { client } });
  stops.push(async () => agent.stop());

  await apply(
    client,
    everySpoke('all'),
    manifestsProfile('app', configMap('app', { value: '1' })),
    deployment('app', 'app', 'all'),
  );
  const ready = await deploymentReady({ client }, 'app', { timeoutMs: 60_000 });
  expect(ready.status?.summary).toBe('1/1');
  await expect(client.get(CONFIG_MAPS, { name: 'app', namespace: 'default' })).resolves.toBeDefined();
});
