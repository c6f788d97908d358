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

/** What the fleet needs, in the repositories that the hub writes and in those that spokes read. */
export interface ContentInUse {
  readonly digests: ReadonlySet<string>;
  /** The tags that spokes poll, or are about to. */
  readonly tags: ReadonlySet<string>;
  /** The repositories that spokes read, or are told to by their own objects: `oci://host/path`. */
  readonly urls: ReadonlySet<string>;
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
  return { digests: present(digests), tags: new Set(tags), urls: present(spokes.items.flatMap(read)) };
}

function present(values: readonly (string | undefined)[]): ReadonlySet<string> {
  return new Set(values.filter((value) => value !== undefined));
}

function read({ spec, status }: Spoke): (string | undefined)[] {
  const own = spec?.ociRegistry;
  return [
    ...(own === undefined ? [] : [`${own.endpoint.replace(/\/$/, '')}/${own.repository}`]),
    status?.registryUrl,
    status?.groupRegistryUrl,
    status?.rootRegistryUrl,
  ];
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
