import { isRecord } from '@mural/core';
import { type Digest, isDigest } from '../names.ts';

/** Layers of these types may be elsewhere (image-spec, "Non-distributable layers"). */
export const NON_DISTRIBUTABLE =
  /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.)/;

/** What a descriptor in a manifest names. */
export interface Named {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Whether it is a manifest of an index; otherwise it is a blob. */
  readonly isManifest: boolean;
}

/**
 * What a stored manifest needs to stay useful: config and layers of an image, children of an index.
 * The subject is not among them, because a referrer does not keep its subject. Each digest once.
 *
 * Undefined when the bytes cannot be read, in which case nothing may be concluded from them.
 */
export function referencesOf(bytes: Buffer): readonly Digest[] | undefined {
  const named = namedIn(bytes);
  return named === undefined ? undefined : [...new Set(named.map(({ digest }) => digest))];
}

/** As {@link referencesOf}, with what is known of each. */
export function namedIn(bytes: Buffer): readonly Named[] | undefined {
  let manifest: unknown;
  try {
    manifest = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isRecord(manifest)) return undefined;
  const blobs = [manifest['config'], ...listOf(manifest['layers'])];
  return [
    ...blobs.flatMap((descriptor) => named(descriptor, false)),
    ...listOf(manifest['manifests']).flatMap((descriptor) => named(descriptor, true)),
  ];
}

function named(descriptor: unknown, isManifest: boolean): Named[] {
  if (!isRecord(descriptor)) return [];
  const { digest, mediaType } = descriptor;
  if (typeof digest !== 'string' || !isDigest(digest)) return [];
  return [{ digest, mediaType: typeof mediaType === 'string' ? mediaType : '', isManifest }];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
