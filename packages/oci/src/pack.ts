import { type Digest, digestOf, digestOfLarge } from './digest.ts';
import { gzipDeterministic } from './gzip.ts';
import { MEDIA_TYPES } from './manifest.ts';
import { type PackFile, writeTar } from './tar-write.ts';

/** Content with its address and type. */
export interface PackedBlob {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** An artifact that is ready to be pushed. */
export interface PackedArtifact {
  readonly manifest: Uint8Array;
  readonly mediaType: string;
  /** Of the manifest. */
  readonly digest: Digest;
  readonly config: PackedBlob;
  readonly layers: readonly PackedBlob[];
  readonly annotations: Readonly<Record<string, string>>;
  /** Of the tar before compression, and so the same whatever zlib packed it. */
  readonly contentDigest: Digest;
}

/** What is written about an artifact beside its files. */
export interface PackMetadata {
  /** RFC 3339 time of the source; the epoch unless told. Never the clock's. */
  readonly created?: string;
  /** `org.opencontainers.image.source`: where the manifests come from. */
  readonly source?: string;
  /** `org.opencontainers.image.revision`: by Flux's convention `<branch|tag>@sha1:<sha>`. */
  readonly revision?: string;
  /** Further annotations; one with the key of a field above is overridden by that field. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What {@link packArtifact} packs. */
export interface PackOptions extends PackMetadata {
  readonly files: readonly PackFile[];
}

const EPOCH = '1970-01-01T00:00:00Z';
/** The config of every artifact that flux 2.9 pushes, member for member: so it is one blob for all of them. */
const FLUX_CONFIG = {
  architecture: '',
  created: '0001-01-01T00:00:00Z',
  os: '',
  rootfs: { type: 'layers', diff_ids: null },
  config: {},
};

/**
 * Packs files as `flux push artifact` would, but so that equal files and metadata give equal bytes on
 * every machine. Compression runs in the thread pool, and hashing yields to other work.
 *
 * @throws OciError `ArchiveInvalid` for a path that cannot be packed
 */
export async function packArtifact(options: PackOptions): Promise<PackedArtifact> {
  const tar = writeTar(options.files);
  const [contentDigest, layerBytes] = await Promise.all([digestOfLarge(tar), gzipDeterministic(tar)]);
  const layer: PackedBlob = {
    bytes: layerBytes,
    digest: await digestOfLarge(layerBytes),
    size: layerBytes.length,
    mediaType: MEDIA_TYPES.fluxContent,
  };
  return assemble(layer, contentDigest, options);
}

function assemble(layer: PackedBlob, contentDigest: Digest, metadata: PackMetadata): PackedArtifact {
  const created = metadata.created ?? EPOCH;
  const config = jsonBlob(FLUX_CONFIG, MEDIA_TYPES.fluxConfig);
  const annotations = sortedByKey({
    ...metadata.annotations,
    'org.opencontainers.image.created': created,
    ...(metadata.source === undefined ? {} : { 'org.opencontainers.image.source': metadata.source }),
    ...(metadata.revision === undefined ? {} : { 'org.opencontainers.image.revision': metadata.revision }),
  });
  const manifest = jsonBlob(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageManifest,
      config: descriptorOf(config),
      layers: [descriptorOf(layer)],
      annotations,
    },
    MEDIA_TYPES.imageManifest,
  );
  return {
    manifest: manifest.bytes,
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    config,
    layers: [layer],
    annotations,
    contentDigest,
  };
}

function jsonBlob(value: unknown, mediaType: string): PackedBlob {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, digest: digestOf(bytes), size: bytes.length, mediaType };
}

/** Members in the order in which Go's libraries write them. */
function descriptorOf(blob: PackedBlob): Record<string, unknown> {
  return { mediaType: blob.mediaType, size: blob.size, digest: blob.digest };
}

function sortedByKey(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
}
