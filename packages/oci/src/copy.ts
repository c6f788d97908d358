import { Readable } from 'node:stream';
import type { RegistryClient } from './client.ts';
import type { Digest } from './digest.ts';
import { OciError } from './errors.ts';
import { type Descriptor, MEDIA_TYPES, type ParsedManifest, parseManifest } from './manifest.ts';

/** What a copy asks of a registry. */
export type CopyClient = Pick<
  RegistryClient,
  'getManifest' | 'headBlob' | 'headManifest' | 'listReferrers' | 'putBlob' | 'putManifest' | 'streamBlob'
>;

/** One end of a copy. */
export interface CopyEnd {
  readonly client: CopyClient;
  readonly repository: string;
  /** A tag or digest. At the target it is optional: without one the copy is found by its digest. */
  readonly reference?: string | undefined;
}

/** What is copied, and how far. */
export interface CopyOptions {
  /** Also what refers to the manifests: signatures, attestations, SBOMs. */
  readonly referrers?: boolean | undefined;
  /** Awaited before each manifest that is put, so that a caller can keep to a registry's limit. */
  readonly beforeManifest?: ((signal: AbortSignal | undefined) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What {@link copyArtifact} did. */
export interface CopyResult {
  readonly digest: Digest;
  readonly manifests: number;
  /** Blobs that were sent: the target had the others. */
  readonly blobs: number;
  /** Bytes of those blobs. */
  readonly bytes: number;
}

/** An index in an index in an index is more than any tool writes. */
const MAX_DEPTH = 8;
const MAX_MANIFESTS = 10_000;

interface Run {
  readonly from: CopyEnd;
  readonly to: CopyEnd;
  readonly options: CopyOptions;
  readonly done: Set<string>;
  readonly sent: { blobs: number; bytes: number };
}

/**
 * Copies a manifest, what it consists of and, if asked, what refers to it, byte for byte and so under
 * the same digests. What a manifest names is there before the manifest is; the tag comes last. Blobs
 * stream from one registry to the other and are verified on the way.
 *
 * @throws OciError `ManifestUnknown` when the source has no such artifact, and as the clients' calls do
 */
export async function copyArtifact(
  from: CopyEnd & { readonly reference: string },
  to: CopyEnd,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const run: Run = { from, to, options, done: new Set(), sent: { blobs: 0, bytes: 0 } };
  const fetched = await from.client.getManifest(from.repository, from.reference, options.signal);
  await copyManifest(run, fetched, 0);
  const tag = to.reference ?? fetched.digest;
  if (tag !== fetched.digest) {
    const held = await to.client.headManifest(to.repository, tag, options.signal);
    if (held?.digest !== fetched.digest) {
      await options.beforeManifest?.(options.signal);
      await to.client.putManifest(to.repository, tag, fetched.bytes, fetched.mediaType, options.signal);
    }
  }
  return { digest: fetched.digest, manifests: run.done.size, ...run.sent };
}

interface Fetched {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
}

async function copyManifest(run: Run, fetched: Fetched, depth: number): Promise<void> {
  if (run.done.has(fetched.digest)) return;
  if (depth > MAX_DEPTH) throw new OciError('ManifestInvalid', `indexes are nested deeper than ${MAX_DEPTH}`);
  if (run.done.size >= MAX_MANIFESTS)
    throw new OciError('TooLarge', `over ${MAX_MANIFESTS} manifests to copy`);
  run.done.add(fetched.digest);
  const { from, to, options } = run;
  const parsed = parseManifest(fetched.bytes, fetched.mediaType);
  const there = await to.client.headManifest(to.repository, fetched.digest, options.signal);
  // What an index lists may have referrers of its own, even where the index is there already.
  if (there === undefined || (options.referrers === true && parsed.kind === 'index')) {
    await copyChildren(run, parsed, depth);
  }
  if (there === undefined) {
    await options.beforeManifest?.(options.signal);
    await to.client.putManifest(
      to.repository,
      fetched.digest,
      fetched.bytes,
      fetched.mediaType,
      options.signal,
    );
  }
  if (options.referrers !== true) return;
  const referrers = await from.client.listReferrers(
    from.repository,
    fetched.digest,
    undefined,
    options.signal,
  );
  for (const referrer of referrers) await copyByDescriptor(run, referrer, depth + 1);
}

async function copyChildren(run: Run, parsed: ParsedManifest, depth: number): Promise<void> {
  if (parsed.kind === 'index') {
    for (const child of parsed.manifest.manifests) await copyByDescriptor(run, child, depth + 1);
    return;
  }
  const { config, layers } = parsed.manifest;
  for (const blob of new Map([config, ...layers].map((one) => [one.digest, one])).values()) {
    await copyBlob(run, blob);
  }
}

async function copyByDescriptor(run: Run, descriptor: Descriptor, depth: number): Promise<void> {
  const { from, options } = run;
  await copyManifest(
    run,
    await from.client.getManifest(from.repository, descriptor.digest, options.signal),
    depth,
  );
}

async function copyBlob(run: Run, blob: Descriptor): Promise<void> {
  const { from, to, options } = run;
  // Layers that may not be redistributed live at their own URLs, and registries need not have them.
  if (blob.mediaType.includes('nondistributable') || blob.mediaType.includes('.foreign.')) return;
  const open = (): Readable =>
    Readable.from(from.client.streamBlob(from.repository, blob, options.signal), { objectMode: false });
  const { digest, size } = blob;
  // The empty config is too small to be worth a stream, and some registries give it without storing it.
  const source =
    blob.mediaType === MEDIA_TYPES.emptyJson && size === 2
      ? { digest, size, bytes: Buffer.from('{}') }
      : { digest, size, open };
  if (await to.client.putBlob(to.repository, source, options.signal)) {
    run.sent.blobs += 1;
    run.sent.bytes += size;
  }
}
