import type { RegistryClient } from './client.ts';
import type { Digest } from './digest.ts';
import { OciError } from './errors.ts';
import { type Descriptor, type ImageManifest, parseManifest } from './manifest.ts';

/** What {@link pullArtifact} brings. */
export interface PulledArtifact {
  readonly digest: Digest;
  readonly manifest: ImageManifest;
  readonly annotations: Readonly<Record<string, string>>;
  /** The selected layer as it is stored, so usually compressed. */
  readonly layer: Uint8Array;
  readonly layerDescriptor: Descriptor;
}

/** What to take of an artifact. */
export interface PullOptions {
  readonly signal?: AbortSignal | undefined;
  /** The media type of the layer: the first layer of any type unless given (as Flux's `layerSelector`). */
  readonly layerSelector?: { readonly mediaType?: string | undefined } | undefined;
  /** Largest layer in bytes, 256 MiB unless given. */
  readonly maxBytes?: number | undefined;
}

const MAX_LAYER = 256 * 1024 * 1024;

/**
 * Pulls the manifest at a tag or digest and one of its layers, both verified.
 *
 * @throws OciError `ManifestInvalid` when it is an index or has no such layer, `TooLarge`, and as the client's calls do
 */
export async function pullArtifact(
  client: RegistryClient,
  repository: string,
  reference: string,
  options: PullOptions = {},
): Promise<PulledArtifact> {
  const fetched = await client.getManifest(repository, reference, options.signal);
  const parsed = parseManifest(fetched.bytes, fetched.mediaType);
  if (parsed.kind !== 'image') {
    throw new OciError('ManifestInvalid', `${repository}:${reference} is an index, not an artifact`);
  }
  const wanted = options.layerSelector?.mediaType;
  const { layers } = parsed.manifest;
  const layerDescriptor =
    wanted === undefined ? layers[0] : layers.find((layer) => layer.mediaType === wanted);
  if (layerDescriptor === undefined) {
    const which = wanted === undefined ? 'layer' : `layer of type ${wanted}`;
    throw new OciError('ManifestInvalid', `${repository}:${reference} has no ${which}`, {
      facts: { digest: fetched.digest, mediaTypes: layers.map((layer) => layer.mediaType).slice(0, 20) },
    });
  }
  const limit = options.maxBytes ?? MAX_LAYER;
  if (layerDescriptor.size > limit) {
    throw new OciError('TooLarge', `a layer of ${layerDescriptor.size} bytes is over the limit of ${limit}`);
  }
  const layer = await client.getBlob(repository, layerDescriptor, options.signal);
  const { manifest } = parsed;
  return {
    digest: fetched.digest,
    manifest,
    annotations: manifest.annotations ?? {},
    layer,
    layerDescriptor,
  };
}
