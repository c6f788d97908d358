import { installCrds } from '@mural/kube';
import { afterAll } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import { describeKubeApi } from '../support/kube-contract.ts';
import { cleanUp, clientFor } from '../support/mural.ts';

let cluster: Cluster | undefined;
afterAll(async () => {
  await cluster?.down();
  await cleanUp();
});

describeKubeApi('a real API server', async () => {
  cluster = await startCluster();
  const client = await clientFor(cluster.kubeconfig);
  await installCrds(client);
  return client;
});
