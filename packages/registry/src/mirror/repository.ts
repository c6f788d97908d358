import type { Store } from '../store/store.ts';
import type { Digest } from '../names.ts';
import type { Upstream } from './upstream.ts';

/** A repository that is mirrored. */
export interface MirroredRepository {
  /** What it is called here. */
  readonly name: string;
  /** What it is called upstream. */
  readonly upstreamName: string;
  readonly upstream: Upstream;
}

/** Whether a repository has a blob that can be served. */
export function hasBlob({ metadata }: Store, name: string, digest: Digest): boolean {
  return metadata.blob(digest) !== undefined && metadata.repository(name)?.blobs.has(digest) === true;
}

/** Whether a repository has a manifest that can be served. */
export function hasManifest({ metadata }: Store, name: string, digest: Digest): boolean {
  return metadata.repository(name)?.manifests.has(digest) === true && !metadata.isDamaged(digest);
}
