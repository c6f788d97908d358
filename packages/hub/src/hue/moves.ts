import type { Spoke } from '@mural/kube';

/**
 * Whether the own root of a spoke is to say nothing of its own source, which then stays what it is.
 *
 * A spoke is moved in two steps, for it may not be able to read the registry that it is sent to, and who
 * cannot read its root cannot be called back. First its group and workloads come from there; its root
 * follows when the spoke has reported that they do. A spoke that never told what its root comes from can
 * confirm nothing and is moved in one step.
 *
 * @param url the repository that the spoke is to read
 */
export function rootStays({ status }: Spoke, url: string): boolean {
  const { rootRegistryUrl, groupRegistryUrl, registryUrl } = status ?? {};
  if (rootRegistryUrl === undefined || rootRegistryUrl === url) return false;
  return groupRegistryUrl !== url && registryUrl !== url;
}

/** Whether a spoke reports that all but its root comes from a repository. */
export function readsGroupFrom({ status }: Spoke, url: string | undefined): boolean {
  return url !== undefined && (status?.groupRegistryUrl === url || status?.registryUrl === url);
}
