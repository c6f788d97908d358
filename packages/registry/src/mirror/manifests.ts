import { type Clock, type Logger, SingleFlight } from '@mural/core';
import type { FetchedManifest } from '@mural/oci';
import { isStorageError, RegistryError, storageError } from '../errors.ts';
import { checkManifest, recordOf } from '../http/manifests.ts';
import type { ManifestReference } from '../http/request.ts';
import type { Digest } from '../names.ts';
import type { Store } from '../store/store.ts';
import type { MirrorRecords } from './records.ts';
import { Remembered } from './remembered.ts';
import { hasManifest, type MirroredRepository } from './repository.ts';
import type { MirrorResult } from './tallies.ts';
import type { Upstream } from './upstream.ts';

/** How a manifest can be served after it was looked for. */
export interface Found {
  /** What it is served from; `stale` is a tag that could not be compared with the upstream's. */
  readonly from: Exclude<MirrorResult, 'missing' | 'failed'>;
  /** A manifest that could not be stored. */
  readonly unstored?: FetchedManifest;
}

/** What one reference is looked up as, once for all who ask at the same time. */
interface Lookup {
  readonly repository: MirroredRepository;
  readonly reference: ManifestReference;
}

const HERE: Found = { from: 'cached' };
const CONFIRMED: Found = { from: 'confirmed' };
const FETCHED: Found = { from: 'fetched' };
const STALE: Found = { from: 'stale' };
/** How long a tag is served without asking again after the upstream could not be asked, in milliseconds. */
const STALE_RETRY_MS = 10_000;
/** How long a client waits for the comparison of a tag that is here, in milliseconds. */
const COMPARE_MS = 5000;
const MAX_MISSING = 20_000;
const MAX_SIZES = 200_000;

/** Manifests of mirrored repositories: fetched when they are asked for, and tags compared after their time. */
export class MirroredManifests {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #records: MirrorRecords;
  readonly #lookups = new SingleFlight<Found>();
  /** What the upstream does not have. */
  readonly #missing: Remembered<true>;
  /** Tags that could not be compared just now. */
  readonly #unasked: Remembered<true>;
  /** How large the blobs are that fetched manifests name, which spares a question before they are fetched. */
  readonly #sizes: Remembered<number>;

  constructor(parts: { store: Store; clock: Clock; log: Logger; records: MirrorRecords }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#records = parts.records;
    const now = (): number => this.#clock.now();
    this.#missing = new Remembered(MAX_MISSING, now);
    this.#unasked = new Remembered(MAX_MISSING, now);
    this.#sizes = new Remembered(MAX_SIZES, now);
  }

  /** How large a manifest says that a blob is; undefined when none has been read that names it. */
  sizeOf(name: string, digest: Digest): number | undefined {
    return this.#sizes.get(`${name} ${digest}`);
  }

  /**
   * Sees to it that a manifest is here if the upstream has it, and that a tag is not older than it may
   * be. What is here and fresh costs no question, and is told at once.
   *
   * @throws UpstreamError when it is not here and cannot be had
   */
  bring(repository: MirroredRepository, reference: ManifestReference): Found | Promise<Found> {
    const { name } = repository;
    const text = 'tag' in reference ? reference.tag : reference.digest;
    const key = `${name} ${text}`;
    if ('digest' in reference) {
      if (hasManifest(this.#store, name, reference.digest)) return HERE;
    } else {
      const known = this.#known(repository, reference.tag, key);
      if (known !== undefined) return known;
    }
    if (this.#missing.get(key) === true) return HERE;
    return this.#lookups.run(key, () => this.#lookUp({ repository, reference }, key));
  }

  /** The tag that is here, if it need not be asked about. */
  #known({ name, upstream }: MirroredRepository, tag: string, key: string): Found | undefined {
    if (this.#local(name, tag) === undefined) return undefined;
    const checked = this.#records.checkedAt(name, tag);
    if (checked === undefined) return undefined;
    const age = this.#clock.now() - checked;
    if (age >= 0 && age < upstream.mirror.tagTtlMs) return HERE;
    const mayBeStale = age < upstream.mirror.staleMs && this.#unasked.get(key) === true;
    return mayBeStale ? STALE : undefined;
  }

  #local(name: string, tag: string): Digest | undefined {
    const digest = this.#store.metadata.repository(name)?.tags.get(tag);
    return digest !== undefined && hasManifest(this.#store, name, digest) ? digest : undefined;
  }

  async #lookUp(lookup: Lookup, key: string): Promise<Found> {
    const { repository, reference } = lookup;
    if ('digest' in reference) return await this.#fetch(lookup, reference.digest, key);
    const local = this.#local(repository.name, reference.tag);
    if (local === undefined) return await this.#fetch(lookup, reference.tag, key);
    try {
      return await this.#compare(lookup, reference.tag, local);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return this.#keep(repository, reference.tag, error);
    }
  }

  /** Serves what is here for as long as the mirror is allowed to while the upstream cannot be asked. */
  #keep({ name, upstream }: MirroredRepository, tag: string, error: RegistryError): Found {
    const { staleMs, tagTtlMs } = upstream.mirror;
    const checked = this.#records.checkedAt(name, tag) ?? -Infinity;
    if (this.#clock.now() - checked >= staleMs) throw error;
    this.#unasked.set(`${name} ${tag}`, true, Math.min(STALE_RETRY_MS, Math.max(tagTtlMs, 1000)));
    this.#log.warn(
      { repository: name, tag, upstream: upstream.host, reason: error.code },
      'a tag is served although its upstream could not be asked',
    );
    return STALE;
  }

  async #compare(lookup: Lookup, tag: string, local: Digest): Promise<Found> {
    const { name, upstream, upstreamName } = lookup.repository;
    const told = await upstream.ask(
      `asking for ${name}:${tag}`,
      (signal) => upstream.client.headManifest(upstreamName, tag, signal),
      COMPARE_MS,
    );
    if (told?.digest === local) {
      this.#records.checked(name, tag);
      return CONFIRMED;
    }
    const key = `${name} ${tag}`;
    if (told === undefined) {
      await this.#drop(name, tag);
      this.#missing.set(key, true, upstream.mirror.negativeTtlMs);
      return CONFIRMED;
    }
    return await this.#fetch(lookup, told.digest, key);
  }

  /** Fetches by tag or digest, and stores under the tag where the lookup is for one. */
  async #fetch({ repository, reference }: Lookup, wanted: string, key: string): Promise<Found> {
    const { name, upstream, upstreamName } = repository;
    const fetched = await upstream.ask(`reading the manifest ${name} ${wanted}`, (signal) =>
      upstream.client.getManifest(upstreamName, wanted, signal),
    );
    if (fetched === undefined) {
      this.#missing.set(key, true, upstream.mirror.negativeTtlMs);
      return CONFIRMED;
    }
    const tags = 'tag' in reference ? [reference.tag] : [];
    upstream.tallies.fetchedBytes += fetched.bytes.length;
    return (await this.#keepFetched(repository, fetched, tags)) ? FETCHED : { ...FETCHED, unstored: fetched };
  }

  /** Stores a manifest; false when the disk does not take it. */
  async #keepFetched(
    { name, upstream }: MirroredRepository,
    { bytes, mediaType, digest }: FetchedManifest,
    tags: readonly string[],
  ): Promise<boolean> {
    const { metadata, health } = this.#store;
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const manifest = checked(content, mediaType, upstream);
    for (const blob of manifest.blobs) this.#sizes.set(`${name} ${blob.digest}`, blob.size, Infinity);
    const record = recordOf(manifest, digest, content.length, this.#clock.now());
    try {
      metadata.holds.use(name, digest);
      await metadata.putManifest({ repository: name, record, bytes: content, tags, check: () => undefined });
    } catch (error) {
      const storage = storageError(error);
      if (storage === undefined || !isStorageError(storage)) throw error;
      health.fault();
      upstream.tallies.notKept += 1;
      this.#log.warn(
        { repository: name, digest, reason: storage.code },
        'a manifest is served without being kept',
      );
      return false;
    }
    for (const tag of tags) this.#records.checked(name, tag);
    this.#records.stored(name, digest);
    return true;
  }

  /** Removes a tag that the upstream has no longer. */
  async #drop(name: string, tag: string): Promise<void> {
    this.#records.forgetTag(name, tag);
    try {
      await this.#store.metadata.deleteTag(name, tag);
    } catch (error) {
      if (storageError(error) === undefined) throw error;
      this.#store.health.fault();
    }
  }
}

/** What an upstream sends is held to the same rules as a push. */
function checked(content: Buffer, mediaType: string, upstream: Upstream): ReturnType<typeof checkManifest> {
  try {
    return checkManifest(content, mediaType);
  } catch {
    throw upstream.broken();
  }
}
