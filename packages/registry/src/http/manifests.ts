import { MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from '@mural/oci';
import { RegistryError } from '../errors.ts';
import { type Digest, digestOf, parseDigest } from '../names.ts';
import type { ManifestRecord, Metadata, Repository } from '../store/metadata.ts';
import { NON_DISTRIBUTABLE } from '../store/references.ts';
import type { RegistryAction } from '../auth/policy.ts';
import type { Change } from '../ops/events.ts';
import { type Exchange, matchesEtag, readBody, refuse, send } from './exchange.ts';
import { requireOneReading } from './one-reading.ts';
import { type ManifestReference, requireTag } from './request.ts';
import type { Headers } from '../wire/message.ts';

const MAX_TAGS = 64;
const MANIFEST_TYPES: readonly string[] = [
  MEDIA_TYPES.imageManifest,
  MEDIA_TYPES.imageIndex,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerManifestList,
];
/** Fields that decide how a manifest is read. A parser that ignores case must not see others. */
const DECISIVE = new Map(
  ['schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'subject', 'artifactType'].map((name) => [
    name.toLowerCase(),
    name,
  ]),
);

interface Reference {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** A manifest that is about to be stored, and the repository as it is then. */
interface TaggedPush {
  readonly name: string;
  readonly repository: Repository | undefined;
  readonly digest: Digest;
  readonly tags: readonly string[];
}

/** What a manifest says that matters to the registry. */
export interface CheckedManifest {
  readonly mediaType: string;
  readonly blobs: readonly Reference[];
  readonly children: readonly Reference[];
  readonly subject: Digest | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
}

/** `GET` and `HEAD` of a manifest (end-3). Touches no file. */
export function getManifest(exchange: Exchange, name: string, reference: ManifestReference): void {
  const { request, response, store } = exchange;
  const record = findManifest(store.metadata, name, reference);
  store.metadata.holds.use(name, record.digest);
  const etag = `"${record.digest}"`;
  const headers: Headers = {
    'docker-content-digest': record.digest,
    'content-type': record.mediaType,
    'content-length': record.size,
    etag,
    'cache-control': 'tag' in reference ? 'no-cache' : 'max-age=31536000, immutable',
    vary: 'accept, authorization',
  };
  if (matchesEtag(request.headers['if-none-match'], etag)) {
    send(response, 304, headers);
    return;
  }
  if (request.method === 'HEAD') {
    send(response, 200, headers);
    return;
  }
  const bytes = store.metadata.content(record.digest);
  if (bytes === undefined) throw manifestUnknown(reference);
  exchange.events.publish({ action: 'pull', ...contentOf(name, record, reference) }, exchange);
  send(response, 200, headers, bytes);
}

/** `PUT` of a manifest by tag or digest, with further tags in the query (end-7a, end-7b). */
export async function putManifest(
  exchange: Exchange,
  name: string,
  reference: ManifestReference,
): Promise<void> {
  const { response, store } = exchange;
  const tags = tagsOf(exchange, reference);
  const bytes = await readBody(exchange, MAX_MANIFEST_BYTES);
  if (bytes === undefined) {
    throw new RegistryError('ManifestTooLarge', `A manifest may have ${MAX_MANIFEST_BYTES} bytes.`);
  }
  const algorithm = 'digest' in reference ? parseDigest(reference.digest).algorithm : 'sha256';
  const digest = digestOf(bytes, algorithm);
  if ('digest' in reference && reference.digest !== digest) {
    throw new RegistryError('DigestInvalid', 'The manifest does not have the digest in the path.', {
      facts: { expected: reference.digest, computed: digest },
    });
  }
  const manifest = checkManifest(bytes, contentType(exchange));
  const record = recordOf(manifest, digest, bytes.length, exchange.now());
  // Whoever pushes the manifests of an index pushes the index after them.
  store.metadata.holds.use(name, digest);
  await store.metadata.putManifest({
    repository: name,
    record,
    bytes,
    tags,
    check: (repository) => {
      requireActions(exchange, { name, repository, digest, tags });
      const missing = checkReferences(manifest, store.metadata, repository);
      if (missing !== undefined && !exchange.sparseManifests) throw blobMissing(missing);
    },
  });
  for (const tag of tags.length === 0 ? [undefined] : tags) {
    const named = tag === undefined ? reference : { tag };
    exchange.events.publish({ action: 'push', ...contentOf(name, record, named) }, exchange);
  }
  response.setHeader('oci-tag', tags.length === 0 || 'tag' in reference ? [] : tags);
  send(response, 201, {
    location: `/v2/${name}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(record.subject === undefined ? {} : { 'oci-subject': record.subject }),
  });
}

/**
 * Whether what a push comes to is allowed: a manifest or a tag that is not there is created, a tag on
 * another manifest is updated, and a tag that is on this one already is left as it is.
 *
 * @throws UnauthorizedError, RegistryError `Denied`
 */
function requireActions(exchange: Exchange, push: TaggedPush): void {
  const { name, repository, digest, tags } = push;
  const needed = new Set<RegistryAction>();
  if (repository?.manifests.has(digest) !== true) needed.add('create');
  for (const tag of tags) {
    const current = repository?.tags.get(tag);
    if (current === undefined) needed.add('create');
    else if (current !== digest) needed.add('update');
  }
  for (const action of needed) {
    if (!exchange.caller.allows(action, name)) refuse(exchange.caller, name, [action]);
  }
}

/** `DELETE` of a tag, or of a manifest with all of its tags (end-9). */
export async function deleteManifest(
  exchange: Exchange,
  name: string,
  reference: ManifestReference,
): Promise<void> {
  const { metadata } = exchange.store;
  const removed =
    'tag' in reference
      ? await metadata.deleteTag(name, reference.tag)
      : await metadata.deleteManifest(name, reference.digest);
  if (!removed) throw manifestUnknown(reference);
  const change = { action: 'delete', kind: 'manifest', repository: name, ...reference } as const;
  exchange.events.publish(change, exchange);
  send(exchange.response, 202, {});
}

/** A manifest as events tell of it. */
function contentOf(
  repository: string,
  { digest, mediaType, size }: ManifestRecord,
  reference: ManifestReference,
): Omit<Change, 'action'> {
  const tag = 'tag' in reference ? { tag: reference.tag } : {};
  return { kind: 'manifest', repository, digest, mediaType, size, ...tag };
}

function findManifest(metadata: Metadata, name: string, reference: ManifestReference): ManifestRecord {
  const repository = metadata.repository(name);
  const digest = 'tag' in reference ? repository?.tags.get(reference.tag) : reference.digest;
  const record = digest === undefined ? undefined : repository?.manifests.get(digest);
  if (record === undefined || metadata.isDamaged(record.digest)) throw manifestUnknown(reference);
  return record;
}

function manifestUnknown(reference: ManifestReference): RegistryError {
  return new RegistryError('ManifestUnknown', 'The repository has no such manifest.', { facts: reference });
}

function tagsOf(exchange: Exchange, reference: ManifestReference): string[] {
  const asked = exchange.query.getAll('tag');
  if (asked.length > MAX_TAGS) {
    throw new RegistryError('TooManyTags', `A request may name ${MAX_TAGS} tags.`);
  }
  if ('tag' in reference) {
    if (asked.length > 0) throw new RegistryError('TagInvalid', 'Further tags need a digest in the path.');
    return [reference.tag];
  }
  return [...new Set(asked.map(requireTag))];
}

/** The type without its parameters, which the spec has registries ignore. */
function contentType(exchange: Exchange): string | undefined {
  const header = exchange.request.headers['content-type'];
  const type = header?.split(';', 1)[0]?.trim();
  return type === '' ? undefined : type;
}

/**
 * Reads a manifest so that nobody can read it differently: one kind, one media type, no field in
 * another case.
 *
 * @throws RegistryError `ManifestInvalid`, or OciError of the same meaning
 */
export function checkManifest(bytes: Buffer, served: string | undefined): CheckedManifest {
  if (served !== undefined && !MANIFEST_TYPES.includes(served)) {
    throw new RegistryError('ManifestInvalid', 'The Content-Type is not that of a manifest or an index.', {
      facts: { contentType: served.slice(0, 200) },
    });
  }
  const parsed = parseManifest(bytes, served);
  requireOneReading(bytes.toString('utf8'));
  for (const key of Object.keys(parsed.manifest)) {
    const meant = DECISIVE.get(key.toLowerCase());
    if (meant !== undefined && meant !== key) {
      throw new RegistryError('ManifestInvalid', `The field "${key}" is not "${meant}".`);
    }
  }
  const { subject, annotations } = parsed.manifest;
  const common = { mediaType: parsed.mediaType, subject: subject?.digest, annotations };
  const artifactType = parsed.manifest.artifactType === '' ? undefined : parsed.manifest.artifactType;
  if (parsed.kind === 'index') {
    return { ...common, artifactType, blobs: [], children: parsed.manifest.manifests };
  }
  const { config, layers } = parsed.manifest;
  return {
    ...common,
    artifactType: artifactType ?? config.mediaType,
    blobs: [config, ...layers],
    children: [],
  };
}

/**
 * Checks that what a manifest names is as large as it says. An index may name manifests that are not
 * there (a sparse index), and a subject may come later.
 *
 * @returns the first blob that is not there
 */
function checkReferences(
  manifest: CheckedManifest,
  metadata: Metadata,
  repository: Repository | undefined,
): Digest | undefined {
  let missing: Digest | undefined;
  for (const { digest, size, mediaType } of manifest.blobs) {
    const stored = repository?.blobs.has(digest) === true ? metadata.blob(digest)?.size : undefined;
    if (stored === undefined && !NON_DISTRIBUTABLE.test(mediaType)) missing ??= digest;
    requireSize(digest, size, stored);
  }
  for (const { digest, size } of manifest.children) {
    requireSize(digest, size, repository?.manifests.get(digest)?.size);
  }
  return missing;
}

function blobMissing(digest: Digest): RegistryError {
  return new RegistryError('ManifestBlobUnknown', 'The repository does not have a blob of this manifest.', {
    facts: { digest },
  });
}

function requireSize(digest: Digest, size: number, stored: number | undefined): void {
  if (stored === undefined || stored === size) return;
  throw new RegistryError('ManifestInvalid', 'A descriptor has a size that is not that of its content.', {
    facts: { digest, size, stored },
  });
}

/** What the metadata keep of a manifest. */
export function recordOf(
  manifest: CheckedManifest,
  digest: Digest,
  size: number,
  now: number,
): ManifestRecord {
  const { mediaType, subject, artifactType, annotations } = manifest;
  if (subject === undefined) return { digest, mediaType, size, pushedAt: now };
  const referrer = JSON.stringify({ mediaType, digest, size, artifactType, annotations });
  return { digest, mediaType, size, subject, referrer, pushedAt: now };
}
