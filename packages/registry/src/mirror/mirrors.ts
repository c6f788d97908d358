import type { Clock, Logger, Random } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { type Exchange, send } from '../http/exchange.ts';
import { getManifest } from '../http/manifests.ts';
import type { ManifestReference, Route } from '../http/request.ts';
import type { Protect } from '../maintenance/collector.ts';
import type { Store } from '../store/store.ts';
import { MIRROR_OWNER } from './blob-fetch.ts';
import { MirroredBlobs } from './blobs.ts';
import { Evictor } from './evictor.ts';
import { MirroredLists, STALE_WARNING } from './lists.ts';
import { type Found, MirroredManifests } from './manifests.ts';
import type { CompiledMirror } from './options.ts';
import { MirrorRecords } from './records.ts';
import type { MirroredRepository } from './repository.ts';
import type { MirrorKind, MirrorResult, MirrorState } from './tallies.ts';
import { Upstream } from './upstream.ts';

const MAX_NAMES = 10_000;

type RepositoryRoute = Extract<Route, { readonly repository: string }>;
/** What a mirrored repository answers. */
type MirroredRoute = Exclude<RepositoryRoute, { readonly kind: 'upload' | 'uploads' }>;

/** What {@link Mirrors} work with. */
export interface MirrorsParts {
  readonly store: Store;
  readonly mirrors: readonly CompiledMirror[];
  readonly clock: Clock;
  readonly random?: Random;
  readonly log: Logger;
  /** Names content that must stay. */
  readonly protect?: Protect | undefined;
}

/**
 * Answers for the repositories that are mirrored, after the caller was found to be allowed to read
 * them: from what is here, and from upstream where that is missing or a tag is due.
 */
export class Mirrors {
  readonly #upstreams: readonly Upstream[];
  readonly #names = new Map<string, MirroredRepository | undefined>();
  readonly #store: Store;
  readonly #records: MirrorRecords;
  readonly #manifests: MirroredManifests;
  readonly #blobs: MirroredBlobs;
  readonly #lists: MirroredLists;
  readonly #evictor: Evictor;
  readonly #stop = new AbortController();
  #loops: readonly Promise<void>[] = [];

  constructor({ store, mirrors, clock, random = Math.random, log, protect }: MirrorsParts) {
    this.#store = store;
    const stop = this.#stop.signal;
    this.#upstreams = mirrors.map((mirror) => new Upstream(mirror, { clock, random, log, stop }));
    const find = (name: string): MirroredRepository | undefined => this.find(name);
    const now = (): number => clock.now();
    this.#records = new MirrorRecords(store, clock, log);
    const common = { store, clock, log, records: this.#records };
    this.#manifests = new MirroredManifests(common);
    this.#evictor = new Evictor({ ...common, protect, find });
    this.#blobs = new MirroredBlobs({
      ...{ store, log, now, find },
      manifests: this.#manifests,
      evictor: this.#evictor,
    });
    this.#lists = new MirroredLists(log, now);
  }

  /** Frees what an earlier run was fetching, and begins to look after what is mirrored. */
  async start(): Promise<void> {
    const { uploads } = this.#store;
    for (const session of [...uploads.sessions()]) {
      if (session.owner === MIRROR_OWNER) await uploads.cancel(session);
    }
    const { signal } = this.#stop;
    this.#loops = [this.#records.run(signal), this.#evictor.run(signal)];
  }

  /** Ends what is being fetched. Requests that wait for it fail. */
  stop(): void {
    this.#stop.abort(new RegistryError('UpstreamUnavailable', 'The registry is being stopped.'));
  }

  /** Ends everything. No request may be running. */
  async close(): Promise<void> {
    this.stop();
    await this.#blobs.ended();
    await Promise.all(this.#loops);
    await Promise.all(this.#upstreams.map(async (upstream) => upstream.close()));
  }

  /** The mirrors, and what each has done. Takes as long as looking at every blob of the registry. */
  get states(): MirrorState[] {
    const { metadata } = this.#store;
    const bytes = new Map<Upstream, number>(this.#upstreams.map((upstream) => [upstream, 0]));
    const add = (upstream: Upstream, size: number): void => {
      bytes.set(upstream, (bytes.get(upstream) ?? 0) + size);
    };
    for (const { name, manifests } of metadata.repositories()) {
      const upstream = this.find(name)?.upstream;
      if (upstream === undefined) continue;
      for (const { size } of manifests.values()) add(upstream, size);
    }
    for (const [digest, { size }] of metadata.blobs()) {
      const holders = new Set<Upstream | undefined>();
      for (const { name } of metadata.holders(digest)) holders.add(this.find(name)?.upstream);
      for (const upstream of holders) if (upstream !== undefined) add(upstream, size);
    }
    return this.#upstreams.map((upstream) => ({
      name: upstream.mirror.name,
      tallies: upstream.tallies,
      available: upstream.awake,
      cachedBytes: bytes.get(upstream) ?? 0,
    }));
  }

  /** Removes what nobody has pulled for its mirror's time. @returns how many manifests */
  async evictIdle(): Promise<number> {
    return await this.#evictor.evictIdle();
  }

  /** The mirrored repository of this name, if it is one. */
  find(name: string): MirroredRepository | undefined {
    if (this.#names.has(name)) return this.#names.get(name);
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    const found = this.#search(name);
    this.#names.set(name, found);
    return found;
  }

  /**
   * Answers a request for a mirrored repository.
   *
   * @returns undefined, at once, for any other
   * @throws RegistryError `MirrorReadOnly` for what would change a mirrored repository
   */
  answer(exchange: Exchange, route: Route): Promise<void> | undefined {
    if (!('repository' in route)) return undefined;
    const repository = this.find(route.repository);
    if (repository === undefined) return undefined;
    return this.#answer(exchange, route, repository);
  }

  async #answer(exchange: Exchange, route: RepositoryRoute, repository: MirroredRepository): Promise<void> {
    const { method } = exchange.request;
    if ((method !== 'GET' && method !== 'HEAD') || route.kind === 'upload' || route.kind === 'uploads') {
      throw readOnly(repository);
    }
    const { tallies } = repository.upstream;
    const kind: MirrorKind = route.kind === 'manifest' || route.kind === 'blob' ? route.kind : 'list';
    try {
      tallies.answered(kind, await this.#read(exchange, route, repository));
    } catch (error) {
      tallies.refused(kind, error);
      throw error;
    }
  }

  async #read(
    exchange: Exchange,
    route: MirroredRoute,
    repository: MirroredRepository,
  ): Promise<MirrorResult> {
    switch (route.kind) {
      case 'manifest':
        return await this.#answerManifest(exchange, repository, route.reference);
      case 'blob':
        return await this.#blobs.answer(exchange, repository, route.digest);
      case 'tags':
        return await this.#lists.answerTags(exchange, repository);
      case 'referrers':
        return await this.#lists.answerReferrers(exchange, repository, route.digest);
    }
  }

  async #answerManifest(
    exchange: Exchange,
    repository: MirroredRepository,
    reference: ManifestReference,
  ): Promise<MirrorResult> {
    const { response, store } = exchange;
    const { name } = repository;
    const brought = this.#manifests.bring(repository, reference);
    const { from, unstored }: Found = brought instanceof Promise ? await brought : brought;
    if (from === 'stale') response.setHeader('warning', STALE_WARNING);
    if (unstored !== undefined) {
      const { mediaType, digest, bytes } = unstored;
      const headers = { 'content-type': mediaType, 'docker-content-digest': digest, etag: `"${digest}"` };
      send(response, 200, { ...headers, 'content-length': bytes.length }, Buffer.from(bytes));
      return from;
    }
    getManifest(exchange, name, reference);
    const digest =
      'digest' in reference ? reference.digest : store.metadata.repository(name)?.tags.get(reference.tag);
    if (digest !== undefined) this.#records.pulled(name, digest);
    return from;
  }

  #search(name: string): MirroredRepository | undefined {
    for (const upstream of this.#upstreams) {
      const upstreamName = upstream.mirror.upstreamName(name);
      if (upstreamName !== undefined) return { name, upstreamName, upstream };
    }
    return undefined;
  }
}

function readOnly({ name, upstream }: MirroredRepository): RegistryError {
  return new RegistryError(
    'MirrorReadOnly',
    'This repository mirrors another registry and takes no changes: push to that registry.',
    { facts: { name, upstream: upstream.host }, headers: { allow: 'GET, HEAD' } },
  );
}
