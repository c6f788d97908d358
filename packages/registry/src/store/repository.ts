import type { Digest } from '../names.ts';
import { TagIndex } from './tag-index.ts';

/** A manifest in a repository. Its bytes are got by `Metadata.content`. */
export interface ManifestRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly subject?: Digest;
  /** The descriptor, as JSON, that the referrers of `subject` list; only where there is a subject. */
  readonly referrer?: string;
  /** Milliseconds since the epoch. */
  readonly pushedAt: number;
}

/** One repository in memory. */
export interface Repository {
  readonly id: number;
  readonly name: string;
  readonly manifests: Map<Digest, ManifestRecord>;
  readonly tags: TagIndex<Digest>;
  /** The blobs that it has, with their sizes; 0 for one that was found lost or damaged at a start. */
  readonly blobs: Map<Digest, number>;
  /** Digests of the manifests that have a subject, by that subject. */
  readonly referrers: Map<Digest, Set<Digest>>;
}

/** A repository without content. */
export function emptyRepository(id: number, name: string): Repository {
  return {
    id,
    name,
    manifests: new Map(),
    tags: new TagIndex(),
    blobs: new Map(),
    referrers: new Map(),
  };
}

/** A row of the table of manifests. */
export function manifestRecord(row: Record<string, unknown>): ManifestRecord {
  return {
    digest: row['digest'] as Digest,
    mediaType: String(row['media_type']),
    size: Number(row['size']),
    ...(typeof row['subject'] === 'string' ? { subject: row['subject'] as Digest } : {}),
    ...(typeof row['referrer'] === 'string' ? { referrer: row['referrer'] } : {}),
    pushedAt: Number(row['pushed_at']),
  };
}

/** Adds a manifest to what a repository has in memory. */
export function addManifest(repository: Repository, record: ManifestRecord): void {
  repository.manifests.set(record.digest, record);
  if (record.subject === undefined) return;
  const referrers = repository.referrers.get(record.subject);
  if (referrers === undefined) repository.referrers.set(record.subject, new Set([record.digest]));
  else referrers.add(record.digest);
}

/** Takes a manifest out of what a repository has in memory. */
export function removeManifest(repository: Repository, record: ManifestRecord): void {
  repository.manifests.delete(record.digest);
  if (record.subject === undefined) return;
  const referrers = repository.referrers.get(record.subject);
  referrers?.delete(record.digest);
  if (referrers?.size === 0) repository.referrers.delete(record.subject);
}
