import { createHash, randomBytes } from 'node:crypto';

/** Media types of manifests. */
export const MEDIA = {
  image: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  dockerImage: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** Bytes and their sha256 digest. */
export interface Content {
  readonly bytes: Buffer;
  readonly digest: string;
}

export function contentOf(bytes: Buffer | string): Content {
  const buffer = Buffer.from(bytes);
  return { bytes: buffer, digest: `sha256:${createHash('sha256').update(buffer).digest('hex')}` };
}

/** `size` random bytes. */
export function randomContent(size: number): Content {
  return contentOf(randomBytes(size));
}

/** What a manifest says of some content. */
export function descriptorOf(content: Content, mediaType: string, extra: object = {}): object {
  return { mediaType, digest: content.digest, size: content.bytes.length, ...extra };
}

export const CONFIG = 'application/vnd.oci.image.config.v1+json';
export const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** An image manifest. Fields in `extra` go before the others. */
export function imageOf(config: Content, layers: readonly Content[], extra: object = {}): Content {
  return contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.image,
      config: descriptorOf(config, CONFIG),
      layers: layers.map((layer) => descriptorOf(layer, LAYER)),
      ...extra,
    }),
  );
}

/** An image index. */
export function indexOf(manifests: readonly Content[], extra: object = {}): Content {
  return contentOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA.index,
      manifests: manifests.map((manifest) => descriptorOf(manifest, MEDIA.image)),
      ...extra,
    }),
  );
}
