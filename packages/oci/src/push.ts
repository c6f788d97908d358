import type { RegistryClient } from './client.ts';
import type { Digest } from './digest.ts';
import { OciError } from './errors.ts';
import type { PackedArtifact } from './pack.ts';

/** What {@link pushArtifact} did. */
export interface PushResult {
  readonly digest: Digest;
  /** False when every tag held this artifact already, and nothing was sent. */
  readonly pushed: boolean;
  /** Bytes of blobs and manifests that were sent. */
  readonly bytes: number;
}

/**
 * Pushes an artifact with HEAD, POST and PUT alone, in an order that never shows a reader half of it:
 * blobs, the manifest by its digest, tags last. Nothing is listed, created or deleted.
 *
 * A tag that holds the digest already is a success and is not written: registries with immutable tags
 * refuse even identical manifests.
 *
 * @throws OciError as the client's calls do
 */
export async function pushArtifact(
  client: RegistryClient,
  repository: string,
  artifact: PackedArtifact,
  options: { readonly tags?: readonly string[]; readonly signal?: AbortSignal | undefined } = {},
): Promise<PushResult> {
  const { signal } = options;
  const { digest } = artifact;
  const missing: string[] = [];
  for (const tag of options.tags ?? []) {
    const held = await client.headManifest(repository, tag, signal);
    if (held?.digest !== digest) missing.push(tag);
  }
  if (missing.length === 0 && options.tags !== undefined && options.tags.length > 0) {
    return { digest, pushed: false, bytes: 0 };
  }
  let bytes = 0;
  if ((await client.headManifest(repository, digest, signal)) === undefined) {
    for (const blob of [artifact.config, ...artifact.layers]) {
      if (await client.putBlob(repository, blob, signal)) bytes += blob.size;
    }
    await client.putManifest(repository, digest, artifact.manifest, artifact.mediaType, signal);
    bytes += artifact.manifest.length;
  }
  for (const tag of missing) {
    await putTag(client, repository, tag, artifact, signal);
    bytes += artifact.manifest.length;
  }
  return { digest, pushed: bytes > 0, bytes };
}

/** Two pushers of one artifact may meet at an immutable tag: the later one finds its own digest there. */
async function putTag(
  client: RegistryClient,
  repository: string,
  tag: string,
  artifact: PackedArtifact,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await client.putManifest(repository, tag, artifact.manifest, artifact.mediaType, signal);
  } catch (error) {
    if (!(error instanceof OciError) || error.code !== 'RequestRefused') throw error;
    const held = await client.headManifest(repository, tag, signal);
    if (held?.digest !== artifact.digest) throw error;
  }
}
