import type { RegistryClient } from './client.ts';
import type { Digest } from './digest.ts';
import { OciError } from './errors.ts';
import type { PackedArtifact } from './pack.ts';

/** What {@link pushArtifact} did. */
export interface PushResult {
  readonly digest: Digest;
  /** False when the registry held it all already, and nothing was sent. */
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
 * A registry can hold a manifest and have lost one of its blobs. With `complete` the blobs of an
 * artifact that is there are asked for as well, and those that are missing are sent.
 *
 * @throws OciError as the client's calls do
 */
export async function pushArtifact(
  client: RegistryClient,
  repository: string,
  artifact: PackedArtifact,
  options: {
    readonly tags?: readonly string[];
    readonly complete?: boolean;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<PushResult> {
  const { complete = false, signal, tags = [] } = options;
  const { digest } = artifact;
  const missing: string[] = [];
  for (const tag of tags) {
    const found = await client.headManifest(repository, tag, signal);
    if (found?.digest !== digest) missing.push(tag);
  }
  const tagged = tags.length > missing.length;
  const held = tagged || (await client.headManifest(repository, digest, signal)) !== undefined;
  let bytes = 0;
  if (!held || complete) {
    for (const blob of [artifact.config, ...artifact.layers]) {
      if (await client.putBlob(repository, blob, signal)) bytes += blob.size;
    }
  }
  if (!held) {
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
