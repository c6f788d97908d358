import { isRecord } from '@mural/core';
import { type Digest, isDigest } from '../names.ts';

/**
 * What a stored manifest needs to stay useful: config and layers of an image, children of an index.
 * The subject is not among them, because a referrer does not keep its subject. Each digest once.
 *
 * Undefined when the bytes cannot be read, in which case nothing may be concluded from them.
 */
export function referencesOf(bytes: Buffer): readonly Digest[] | undefined {
  let manifest: unknown;
  try {
    manifest = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isRecord(manifest)) return undefined;
  const found = new Set<Digest>();
  for (const descriptor of [
    manifest['config'],
    ...listOf(manifest['layers']),
    ...listOf(manifest['manifests']),
  ]) {
    const digest = isRecord(descriptor) ? descriptor['digest'] : undefined;
    if (typeof digest === 'string' && isDigest(digest)) found.add(digest);
  }
  return [...found];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
