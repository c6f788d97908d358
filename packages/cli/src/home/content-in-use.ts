import { groupTag, rootTag } from '@mural/hub';
import {
  type KubeClient,
  parsePublishedRoot,
  PUBLISHED_ROOT_ANNOTATION,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';

/** What the fleet needs of the repositories that the hub writes. */
export interface ContentInUse {
  readonly digests: ReadonlySet<string>;
  /** The tags that spokes poll, or are about to. */
  readonly tags: ReadonlySet<string>;
}

/**
 * What the fleet uses, as spokes report it, and what it is to use, as the hub records it: a spoke that
 * was never heard of, or not for a long time, finds its root and its group when it comes.
 *
 * @throws KubeError when the API cannot tell: then nothing must be taken for unused
 */
export async function contentInUse(client: KubeClient): Promise<ContentInUse> {
  const [spokes, deployments] = await Promise.all([
    client.list<Spoke>(SPOKES),
    client.list<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS),
  ]);
  const digests = [
    ...spokes.items.flatMap((spoke) => [...reported(spoke), ...published(spoke)]),
    ...deployments.items.flatMap(({ status }) => (status?.spokes ?? []).map(({ digest }) => digest)),
  ];
  const tags = spokes.items.flatMap(({ metadata: { name = '', annotations } }) => {
    const group = annotations?.[ROOT_GROUP_ANNOTATION];
    return [rootTag(name), ...(group === undefined ? [] : [groupTag(group)])];
  });
  return { digests: new Set(digests.filter((digest) => digest !== undefined)), tags: new Set(tags) };
}

function reported({ status }: Spoke): (string | undefined)[] {
  return [status?.rootDigest, status?.groupDigest, ...(status?.workloads ?? []).map(({ digest }) => digest)];
}

function published({ metadata }: Spoke): (string | undefined)[] {
  const text = metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION];
  if (text === undefined) return [];
  const { root, group } = parsePublishedRoot(text);
  return [root, group];
}
