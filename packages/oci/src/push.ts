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

/** How {@link pushArtifact} goes about it. */
export interface PushOptions {
  readonly tags?: readonly string[];
  /** Ask for the blobs of an artifact that is there already, and send those that are missing. */
  readonly complete?: boolean;
  /**
   * Put the manifest by its first tag alone, where there is one: that stores it under its digest too
   * (distribution-spec end-7), and is one call less for registries that count them.
   */
  readonly byTag?: boolean;
  /** Awaited before each manifest that is put, so that a caller can keep to a registry's limit. */
  readonly beforeManifest?: ((signal: AbortSignal | undefined) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Pushes an artifact with HEAD, POST and PUT alone, in an order that never shows a reader half of it:
 * blobs, the manifest by its digest (unless `byTag`), tags last. Nothing is listed, created or deleted.
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
  options: PushOptions = {},
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
  bytes += await putManifests({ client, repository, artifact, options }, held, missing);
  return { digest, pushed: bytes > 0, bytes };
}

interface Push {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly artifact: PackedArtifact;
  readonly options: PushOptions;
}

/** @returns bytes that were sent */
async function putManifests(push: Push, held: boolean, tags: readonly string[]): Promise<number> {
  const { client, repository, artifact, options } = push;
  const { beforeManifest, byTag = false, signal } = options;
  let puts = 0;
  if (!held && !(byTag && tags.length > 0)) {
    await beforeManifest?.(signal);
    await client.putManifest(repository, artifact.digest, artifact.manifest, artifact.mediaType, signal);
    puts += 1;
  }
  for (const tag of tags) {
    await beforeManifest?.(signal);
    await putTag(client, repository, tag, artifact, signal);
    puts += 1;
  }
  return puts * artifact.manifest.length;
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
