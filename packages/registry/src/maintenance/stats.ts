import type { Store } from '../store/store.ts';

/** What one repository has. */
export interface RepositoryStats {
  readonly name: string;
  readonly tags: number;
  readonly manifests: number;
  readonly blobs: number;
  /** Of its blobs and manifests; what repositories share counts in each. */
  readonly bytes: number;
  readonly uploads: number;
}

/** What the registry has. */
export interface RegistryStats {
  readonly repositories: readonly RepositoryStats[];
  readonly tags: number;
  readonly manifests: number;
  /** Distinct blobs, and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  /** Unfinished uploads, and their bytes. */
  readonly uploads: number;
  readonly uploadBytes: number;
  /** Damaged files that were taken out of service, and their bytes. */
  readonly quarantined: number;
  readonly quarantinedBytes: number;
  readonly freeBytes: number;
}

/** Counts what is stored. Reads memory, the folder of the quarantine, and nothing else. */
export async function registryStats(store: Store): Promise<RegistryStats> {
  const { metadata, uploads, files } = store;
  const sessions = [...uploads.sessions()];
  const repositories = [...metadata.repositories()].map((repository) => ({
    name: repository.name,
    tags: repository.tags.size,
    manifests: repository.manifests.size,
    blobs: repository.blobs.size,
    bytes: sum(repository.blobs.values()) + sum([...repository.manifests.values()].map(({ size }) => size)),
    uploads: sessions.filter((session) => session.repository === repository.name).length,
  }));
  const sizes = [...metadata.blobs()].map(([, { size }]) => size);
  const { files: quarantined, bytes: quarantinedBytes } = await files.quarantined();
  return {
    repositories: repositories.sort((a, b) => (a.name < b.name ? -1 : 1)),
    tags: sum(repositories.map(({ tags }) => tags)),
    manifests: sum(repositories.map(({ manifests }) => manifests)),
    blobs: sizes.length,
    bytes: sum(sizes),
    uploads: sessions.length,
    uploadBytes: sum(sessions.map(({ size }) => size)),
    quarantined,
    quarantinedBytes,
    freeBytes: await files.freeBytes(),
  };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
