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

/** The manifests of all repositories, as {@link manifestRecord} reads them. */
export const MANIFEST_ROWS =
  'SELECT repository, digest, media_type, size, subject, referrer, pushed_at FROM manifests';

/** Media types are few: each is kept in memory once. */
const mediaTypes = new Map<string, string>();

/** One of {@link MANIFEST_ROWS}. */
export function manifestRecord(row: readonly unknown[]): ManifestRecord {
  const [, digest, type, size, subject, referrer, pushedAt] = row;
  const record = {
    digest: digest as Digest,
    mediaType: shared(String(type)),
    size: Number(size),
    pushedAt: Number(pushedAt),
  };
  if (typeof subject !== 'string') return record;
  return {
    ...record,
    subject: subject as Digest,
    ...(typeof referrer === 'string' ? { referrer } : {}),
  };
}

function shared(mediaType: string): string {
  const known = mediaTypes.get(mediaType);
  if (known !== undefined) return known;
  mediaTypes.set(mediaType, mediaType);
  return mediaType;
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
