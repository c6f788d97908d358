import { RegistryError } from '../errors.ts';
import { type Digest, isDigest, isValidRepository, isValidTag } from '../names.ts';

/** A tag or a digest, as the last part of a manifest's path. */
export type ManifestReference = { readonly tag: string } | { readonly digest: Digest };

/** What a path names. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: ManifestReference }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest };

const MAX_REPORTED = 200;

/**
 * Reads the path of a request, once; everything after works on the result.
 *
 * Each segment is percent-decoded once and checked against the grammar of the distribution-spec;
 * an encoded slash is refused, nothing is normalised, and no redirect is ever answered.
 *
 * @param path of the URL, without its query
 * @throws RegistryError `RouteUnknown`, `NameInvalid`, `DigestInvalid`, `TagInvalid`
 */
export function parsePath(path: string): Route {
  if (path === '/v2/' || path === '/v2') return { kind: 'base' };
  if (!path.startsWith('/v2/')) throw unknownRoute();
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const segments = path.slice('/v2/'.length).split('/').map(decodeSegment);
  return parseSegments(segments);
}

function parseSegments(segments: readonly string[]): Route {
  const count = segments.length;
  const last = segments[count - 1] ?? '';
  const second = segments[count - 2];
  const third = segments[count - 3];
  if (third === 'blobs' && second === 'uploads') {
    const repository = repositoryOf(segments.slice(0, -3));
    return last === '' ? { kind: 'uploads', repository } : { kind: 'upload', repository, id: last };
  }
  if (second === 'blobs' && last === 'uploads') {
    return { kind: 'uploads', repository: repositoryOf(segments.slice(0, -2)) };
  }
  if (second === 'tags' && last === 'list') {
    return { kind: 'tags', repository: repositoryOf(segments.slice(0, -2)) };
  }
  if (second === 'manifests') {
    const repository = repositoryOf(segments.slice(0, -2));
    return { kind: 'manifest', repository, reference: referenceOf(last) };
  }
  if (second === 'blobs') {
    return { kind: 'blob', repository: repositoryOf(segments.slice(0, -2)), digest: requireDigest(last) };
  }
  if (second === 'referrers') {
    return {
      kind: 'referrers',
      repository: repositoryOf(segments.slice(0, -2)),
      digest: requireDigest(last),
    };
  }
  throw unknownRoute();
}

/** @throws RegistryError `DigestInvalid` */
export function requireDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new RegistryError('DigestInvalid', 'This is not a sha256 or sha512 digest.', {
    facts: { digest: text.slice(0, MAX_REPORTED) },
  });
}

/** @throws RegistryError `TagInvalid` */
export function requireTag(text: string): string {
  if (isValidTag(text)) return text;
  throw new RegistryError('TagInvalid', 'This is not a valid tag.', {
    facts: { tag: text.slice(0, MAX_REPORTED) },
  });
}

/** @throws RegistryError `NameInvalid` */
export function requireRepository(name: string): string {
  if (isValidRepository(name)) return name;
  throw new RegistryError('NameInvalid', 'This is not a valid repository name.', {
    facts: { name: name.slice(0, MAX_REPORTED) },
  });
}

function repositoryOf(segments: readonly string[]): string {
  return requireRepository(segments.join('/'));
}

function referenceOf(text: string): ManifestReference {
  return text.includes(':') ? { digest: requireDigest(text) } : { tag: requireTag(text) };
}

function decodeSegment(segment: string): string {
  if (!segment.includes('%')) return segment;
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch {
    throw unknownRoute();
  }
  if (decoded.includes('/')) throw unknownRoute();
  return decoded;
}

function unknownRoute(): RegistryError {
  return new RegistryError('RouteUnknown', 'The registry has nothing at this path.');
}
