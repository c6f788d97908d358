import { type Cache, type Spoke, type WorkloadDeployment } from '@mural/kube';

/** The state of the roots, as far as withdrawing needs it. */
export interface PublishedRoots {
  publishedDigest(spoke: string, deployment: string): string | null | undefined;
  enqueue(spoke: string): void;
}

/**
 * Spokes whose root still has, or may still have, a deployment that is being deleted. Spokes that are
 * gone or suspended are not waited for; those that are offline take the new root when they are back.
 */
export function stillPublished(
  key: string,
  deployment: WorkloadDeployment,
  spokes: Cache<Spoke>,
  roots: PublishedRoots,
): string[] {
  return (deployment.status?.spokes ?? [])
    .map(({ name }) => name)
    .filter((name) => {
      const spoke = spokes.get(name);
      if (spoke === undefined || spoke.metadata.deletionTimestamp !== undefined) return false;
      return spoke.spec?.suspend !== true && roots.publishedDigest(name, key) !== null;
    });
}
