import { z } from 'zod';
import { type Digest, isDigest } from './digest.ts';
import { OciError } from './errors.ts';

/** Media types that are read or written here. */
export const MEDIA_TYPES = {
  imageManifest: 'application/vnd.oci.image.manifest.v1+json',
  imageIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  emptyJson: 'application/vnd.oci.empty.v1+json',
  imageConfig: 'application/vnd.oci.image.config.v1+json',
  imageLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  /** Config of a Flux artifact. */
  fluxConfig: 'application/vnd.cncf.flux.config.v1+json',
  /** Layer of a Flux artifact. */
  fluxContent: 'application/vnd.cncf.flux.content.v1.tar+gzip',
} as const;

/** Largest manifest that is read: what distribution-spec asks registries to accept. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const MediaType = z.string().regex(/^[A-Za-z0-9][\w!#$&.+^-]{0,126}\/[A-Za-z0-9][\w!#$&.+^-]{0,126}$/);
const Annotations = z.record(z.string(), z.string());
const DigestText = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), {
  message: 'is not a digest',
});

/** image-spec, "Content descriptors". */
export const Descriptor = z.looseObject({
  mediaType: MediaType,
  digest: DigestText,
  size: z.int().min(0),
  annotations: Annotations.optional(),
  artifactType: z.string().optional(),
});
/** Type, address and length in bytes of some content. */
export type Descriptor = z.infer<typeof Descriptor>;

/** image-spec, "Image manifest"; Docker's schema 2 has the same shape. */
export const ImageManifest = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: MediaType.optional(),
  artifactType: z.string().optional(),
  config: Descriptor,
  layers: z.array(Descriptor),
  subject: Descriptor.optional(),
  annotations: Annotations.optional(),
});
/** A manifest with a config and layers. */
export type ImageManifest = z.infer<typeof ImageManifest>;

/** image-spec, "Image index"; Docker's manifest list has the same shape. */
export const ImageIndex = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: MediaType.optional(),
  artifactType: z.string().optional(),
  manifests: z.array(Descriptor),
  subject: Descriptor.optional(),
  annotations: Annotations.optional(),
});
/** A list of manifests. */
export type ImageIndex = z.infer<typeof ImageIndex>;

/** What {@link parseManifest} found. */
export type ParsedManifest =
  | { readonly kind: 'image'; readonly mediaType: string; readonly manifest: ImageManifest }
  | { readonly kind: 'index'; readonly mediaType: string; readonly manifest: ImageIndex };

const IMAGES: readonly string[] = [MEDIA_TYPES.imageManifest, MEDIA_TYPES.dockerManifest];
const INDEXES: readonly string[] = [MEDIA_TYPES.imageIndex, MEDIA_TYPES.dockerManifestList];

/**
 * Reads a manifest or an index.
 *
 * A document that could be read as both kinds, or whose `mediaType` contradicts the `Content-Type`
 * it came with, is refused: two readers must not see two different things under one digest
 * (CVE-2021-41190, "ambiguous OCI manifest parsing").
 *
 * @param contentType the type it was served with, when there was one
 * @throws OciError `ManifestInvalid`, or `TooLarge` beyond {@link MAX_MANIFEST_BYTES}
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): ParsedManifest {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw new OciError('TooLarge', `a manifest of ${bytes.length} bytes is over ${MAX_MANIFEST_BYTES}`);
  }
  const document = readJson(bytes);
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    throw invalid('it is both a manifest and an index');
  }
  const mediaType = mediaTypeOf(document, contentType);
  const kind = kindOf(mediaType);
  return kind === 'index'
    ? { kind, mediaType, manifest: check(ImageIndex, document) }
    : { kind, mediaType, manifest: check(ImageManifest, document) };
}

/** What the document says of itself, else what it was served as, else what its members tell. */
function mediaTypeOf(document: Record<string, unknown>, contentType: string | undefined): string {
  const type = contentType?.split(';', 1)[0]?.trim() ?? '';
  const served = isKnown(type) ? type : undefined;
  const written = document['mediaType'];
  if (typeof written === 'string') {
    if (served !== undefined && served !== written) throw invalid(`it says ${written}, served as ${served}`);
    return written;
  }
  return served ?? ('manifests' in document ? MEDIA_TYPES.imageIndex : MEDIA_TYPES.imageManifest);
}

function readJson(bytes: Uint8Array): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalid('it is not a JSON object');
  }
  return document as Record<string, unknown>;
}

function isKnown(mediaType: string): boolean {
  return IMAGES.includes(mediaType) || INDEXES.includes(mediaType);
}

function kindOf(mediaType: string): 'image' | 'index' {
  if (IMAGES.includes(mediaType)) return 'image';
  if (INDEXES.includes(mediaType)) return 'index';
  throw invalid(`media type ${mediaType} is neither a manifest nor an index`);
}

function check<T>(schema: z.ZodType<T>, document: unknown): T {
  const result = schema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
}

function invalid(why: string, cause?: unknown): OciError {
  return new OciError('ManifestInvalid', `the manifest cannot be used: ${why}`, { cause });
}
