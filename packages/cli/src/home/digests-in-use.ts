import {
  type KubeClient,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';

/**
 * The digests that the fleet uses, as spokes report them, and those that it is to use, as the hub
 * records them.
 *
 * @throws KubeError when the API cannot tell: then nothing must be taken for unused
 */
export async function digestsInUse(client: KubeClient): Promise<ReadonlySet<string>> {
  const [spokes, deployments] = await Promise.all([
    client.list<Spoke>(SPOKES),
    client.list<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS),
  ]);
  const reported = spokes.items.flatMap(({ status }) => [
    status?.rootDigest,
    status?.groupDigest,
    ...(status?.workloads ?? []).map(({ digest }) => digest),
  ]);
  const recorded = deployments.items.flatMap(({ status }) =>
    (status?.spokes ?? []).map(({ digest }) => digest),
  );
  return new Set([...reported, ...recorded].filter((digest) => digest !== undefined));
}
