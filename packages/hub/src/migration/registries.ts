import { Readable } from 'node:stream';
import { type Clock, type Random, retry } from '@mural/core';
import {
  copyArtifact,
  type CopyClient,
  type Descriptor,
  type Digest,
  digestOf,
  isDigest,
  MEDIA_TYPES,
  OciError,
  parseManifest,
  type RegistryClient,
} from '@mural/oci';
import { RateLimit } from '../hue/rate-limit.ts';
import { MigrationError } from './errors.ts';
import type { UsedArtifact } from './fleet.ts';
import type { CopyEstimate, CopyOutcome, CopyWay, MigrationRegistries } from './ports.ts';
import type { MigrationSide } from './state.ts';

/** One registry of a migration. */
export interface MigrationRegistry {
  readonly client: RegistryClient;
  readonly repository: string;
  /** Limit of manifests that are written in a second; none unless given. */
  readonly putsPerSecond?: number | undefined;
}

export interface RegistryPairOptions {
  readonly from: MigrationRegistry;
  readonly to: MigrationRegistry;
  readonly clock: Clock;
  readonly random: Random;
}

interface End {
  readonly client: CopyClient;
  readonly repository: string;
}

/** Each try has the retries of the client within it: this is for a registry that throttles for minutes. */
const ATTEMPTS = 8;
const BASE_MS = 1000;
const CAP_MS = 30_000;
const MAX_DEPTH = 8;

/** The two registries of a migration, over the distribution API. */
export class RegistryPair implements MigrationRegistries {
  readonly #options: RegistryPairOptions;
  readonly #ends: Readonly<Record<MigrationSide, End>>;

  constructor(options: RegistryPairOptions) {
    this.#options = options;
    this.#ends = { from: paced(options.from, options.clock), to: paced(options.to, options.clock) };
  }

  async copy(artifact: UsedArtifact, way: CopyWay, signal: AbortSignal): Promise<CopyOutcome> {
    return await this.#patiently(signal, async () => this.#copy(artifact, way, signal));
  }

  async estimate(artifact: UsedArtifact, side: MigrationSide, signal: AbortSignal): Promise<CopyEstimate> {
    const { source, target } = this.#way(side);
    return await this.#patiently(signal, async () => {
      const held = await source.client.headManifest(source.repository, artifact.reference, signal);
      if (held === undefined) return { found: false, present: false, bytes: 0 };
      const there = await target.client.headManifest(target.repository, held.digest, signal);
      if (there !== undefined) return { found: true, present: true, bytes: 0 };
      const bytes = await missingBytes(source, target, held.digest, signal);
      return { found: true, present: false, bytes };
    });
  }

  async head(side: MigrationSide, tag: string, signal: AbortSignal): Promise<string | undefined> {
    const { client, repository } = this.#ends[side];
    return (await client.headManifest(repository, tag, signal))?.digest;
  }

  async probe(side: MigrationSide, write: boolean, signal: AbortSignal): Promise<void> {
    const { client, repository } = this.#options[side];
    // A digest that nothing has: asking for it takes the right to read, and what it answers does not matter.
    await client.headBlob(repository, { digest: digestOf(Buffer.from('mural: may I read?')) }, signal);
    if (write) await client.probeUpload(repository, signal);
  }

  async #copy(artifact: UsedArtifact, way: CopyWay, signal: AbortSignal): Promise<CopyOutcome> {
    const { source, target } = this.#way(way.to);
    const atTarget = async () => target.client.headManifest(target.repository, artifact.reference, signal);
    if (way.onlyMissing) {
      const there = await atTarget();
      if (there !== undefined) {
        return { found: true, bytes: await complete(source, target, there.digest, signal) };
      }
    }
    const held = await source.client.headManifest(source.repository, artifact.reference, signal);
    if (held === undefined) {
      // What was published after the hub moved is at the target and nowhere else.
      const there = await atTarget();
      if (there === undefined) return { found: false, bytes: 0 };
      return { found: true, bytes: await complete(source, target, there.digest, signal) };
    }
    const from = { ...source, reference: held.digest };
    const result = await copyArtifact(from, target, { referrers: true, signal });
    const resent = await complete(source, target, held.digest, signal);
    for (const tag of artifact.tags) await this.#tag(artifact, tag, held.digest, target, signal);
    return { found: true, bytes: result.bytes + resent };
  }

  /** Gives a copied manifest a tag. Spokes read digests; only input of hue is found by its tag. */
  async #tag(
    artifact: UsedArtifact,
    tag: string,
    digest: Digest,
    target: End,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, repository } = target;
    const held = await client.headManifest(repository, tag, signal);
    if (held?.digest === digest) return;
    if (held !== undefined && artifact.use === 'input') {
      throw new MigrationError(
        'TagTaken',
        `${artifact.user} is made from the tag ${tag}, which names another artifact at the target: ${held.digest}, not ${digest}`,
        {
          facts: { tag, repository },
          hint: 'Remove that tag at the target, or name the artifact by digest.',
        },
      );
    }
    if (held !== undefined) return;
    const { bytes, mediaType } = await client.getManifest(repository, digest, signal);
    await client.putManifest(repository, tag, bytes, mediaType, signal);
  }

  #way(to: MigrationSide): { readonly source: End; readonly target: End } {
    return { source: this.#ends[to === 'to' ? 'from' : 'to'], target: this.#ends[to] };
  }

  async #patiently<T>(signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#options;
    return await retry(action, {
      ...{ attempts: ATTEMPTS, baseMs: BASE_MS, capMs: CAP_MS, clock, random, signal },
      shouldRetry: (error) => !signal.aborted && error instanceof OciError && error.retryable,
    });
  }
}

/** The end with its writes slowed down to what its registry allows. */
function paced(registry: MigrationRegistry, clock: Clock): End {
  const { client, repository, putsPerSecond } = registry;
  if (putsPerSecond === undefined) return { client, repository };
  const pace = new RateLimit(putsPerSecond, clock);
  const slow: CopyClient = {
    getManifest: async (...args) => client.getManifest(...args),
    headManifest: async (...args) => client.headManifest(...args),
    headBlob: async (...args) => client.headBlob(...args),
    putBlob: async (...args) => client.putBlob(...args),
    streamBlob: (...args) => client.streamBlob(...args),
    listReferrers: async (...args) => client.listReferrers(...args),
    async putManifest(...args) {
      await pace.take(args[4]);
      return client.putManifest(...args);
    },
  };
  return { client: slow, repository };
}

/**
 * Reads a manifest back from the target and asks for each of its blobs; what is missing although the
 * manifest is there is sent.
 *
 * @returns the bytes that were sent
 * @throws MigrationError `CopyIncomplete`, OciError `DigestMismatch`
 */
async function complete(source: End, target: End, digest: Digest, signal: AbortSignal): Promise<number> {
  let sent = 0;
  for await (const { blob, manifest } of blobsOf(target, digest, signal, 0)) {
    if (await target.client.headBlob(target.repository, blob, signal)) continue;
    const open = (): Readable =>
      Readable.from(source.client.streamBlob(source.repository, blob, signal), { objectMode: false });
    await target.client.putBlob(target.repository, { digest: blob.digest, size: blob.size, open }, signal);
    sent += blob.size;
    if (await target.client.headBlob(target.repository, blob, signal)) continue;
    throw new MigrationError(
      'CopyIncomplete',
      `the target took the blob ${blob.digest} of ${manifest} and does not have it`,
      { facts: { blob: blob.digest, manifest }, retryable: true },
    );
  }
  return sent;
}

/** Bytes of the blobs of a manifest that the target does not have. */
async function missingBytes(source: End, target: End, digest: Digest, signal: AbortSignal): Promise<number> {
  let bytes = 0;
  const seen = new Set<string>();
  for await (const { blob } of blobsOf(source, digest, signal, 0)) {
    if (seen.has(blob.digest)) continue;
    seen.add(blob.digest);
    if (!(await target.client.headBlob(target.repository, blob, signal))) bytes += blob.size;
  }
  return bytes;
}

/** Every blob below a manifest or index that a registry has to have. */
async function* blobsOf(
  end: End,
  digest: Digest,
  signal: AbortSignal,
  depth: number,
): AsyncGenerator<{ readonly blob: Descriptor; readonly manifest: Digest }> {
  if (depth > MAX_DEPTH) {
    throw new OciError('ManifestInvalid', `indexes are nested deeper than ${MAX_DEPTH}`);
  }
  const fetched = await end.client.getManifest(end.repository, digest, signal);
  const parsed = parseManifest(fetched.bytes, fetched.mediaType);
  if (parsed.kind === 'index') {
    for (const child of parsed.manifest.manifests) yield* blobsOf(end, child.digest, signal, depth + 1);
    return;
  }
  for (const blob of [parsed.manifest.config, ...parsed.manifest.layers]) {
    // Such layers lie at URLs of their own, and the empty config may be given without being stored.
    const foreign = blob.mediaType.includes('nondistributable') || blob.mediaType.includes('.foreign.');
    const empty = blob.mediaType === MEDIA_TYPES.emptyJson && blob.size === 2;
    if (!foreign && !empty && isDigest(blob.digest)) yield { blob, manifest: digest };
  }
}
