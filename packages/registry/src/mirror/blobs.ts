import { type Logger, SingleFlight } from '@mural/core';
import { isStorageError, RegistryError, storageError } from '../errors.ts';
import { blobHeaders, blobUnknown, getBlob, partOf, rangeOf } from '../http/blobs.ts';
import { type Exchange, send, sendHead } from '../http/exchange.ts';
import { write } from '../http/send-file.ts';
import { type Digest, digestOf, parseDigest } from '../names.ts';
import type { Store } from '../store/store.ts';
import { BlobFetch } from './blob-fetch.ts';
import { isMissing } from './errors.ts';
import type { Evictor } from './evictor.ts';
import type { MirroredManifests } from './manifests.ts';
import { Remembered } from './remembered.ts';
import { hasBlob, type MirroredRepository } from './repository.ts';
import type { MirrorResult } from './tallies.ts';
import type { Upstream } from './upstream.ts';

/** How long a blob may wait for others of its upstream, in milliseconds. */
const WAIT_MS = 5 * 60_000;
/** Time that any blob may take, and more by its size at the slowest pace that is put up with. */
const TRANSFER_MS = 10 * 60_000;
const SLOWEST_BYTES_PER_MS = 32;
const MAX_MISSING = 20_000;

interface Parts {
  readonly store: Store;
  readonly log: Logger;
  readonly now: () => number;
  readonly manifests: MirroredManifests;
  readonly evictor: Evictor;
  /** The mirrored repository of this name, if it is one. */
  readonly find: (name: string) => MirroredRepository | undefined;
}

/** Blobs of mirrored repositories: fetched once for all who want one, and given out while they come. */
export class MirroredBlobs {
  readonly #parts: Parts;
  readonly #fetches = new Map<string, BlobFetch>();
  readonly #running = new Set<Promise<void>>();
  readonly #starting = new SingleFlight<BlobFetch | undefined>();
  readonly #asking = new SingleFlight<number | undefined>();
  readonly #missing: Remembered<true>;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#missing = new Remembered(MAX_MISSING, parts.now);
  }

  /** `GET` and `HEAD` of a blob (end-2). @returns what it was answered from */
  async answer(exchange: Exchange, repository: MirroredRepository, digest: Digest): Promise<MirrorResult> {
    if (await this.#answerLocally(exchange, repository, digest)) return 'cached';
    if (this.#missing.get(keyOf(repository, digest)) === true) throw blobUnknown(digest);
    if (exchange.request.method === 'HEAD') {
      const size = await this.#size(repository, digest);
      if (size === undefined) throw blobUnknown(digest);
      send(exchange.response, 200, blobHeaders(digest, size));
      return 'confirmed';
    }
    const fetch = await this.#fetch(repository, digest);
    if (fetch !== undefined) {
      await this.#stream(exchange, repository, { digest, fetch });
      return 'fetched';
    }
    if (!(await this.#answerLocally(exchange, repository, digest))) throw blobUnknown(digest);
    return 'confirmed';
  }

  /** Resolves when nothing is fetched any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** False when the blob is not here, or was found damaged: then it is fetched anew. */
  async #answerLocally(exchange: Exchange, { name }: MirroredRepository, digest: Digest): Promise<boolean> {
    const { store } = this.#parts;
    if (!hasBlob(store, name, digest)) return false;
    try {
      await getBlob(exchange, name, digest);
      return true;
    } catch (error) {
      const unknown = error instanceof RegistryError && error.code === 'BlobUnknown';
      if (unknown && !exchange.response.headersSent) return false;
      throw error;
    }
  }

  /** The fetch of a blob, which is begun if need be; undefined when the blob is here now or nowhere. */
  async #fetch(repository: MirroredRepository, digest: Digest): Promise<BlobFetch | undefined> {
    const key = keyOf(repository, digest);
    const running = this.#fetches.get(key);
    if (running?.open === true) return running;
    return await this.#starting.run(key, async () => {
      if (await this.#share(repository, digest)) return undefined;
      const size = await this.#size(repository, digest);
      return size === undefined ? undefined : this.#begin(repository, digest, size);
    });
  }

  #begin(repository: MirroredRepository, digest: Digest, size: number): BlobFetch {
    const { store, log, evictor } = this.#parts;
    const { name, upstream, upstreamName } = repository;
    const key = keyOf(repository, digest);
    upstream.requireAwake();
    requireEmpty(digest, size, upstream);
    const time = TRANSFER_MS + size / SLOWEST_BYTES_PER_MS;
    const deadline = upstream.deadline(`the blob ${digest}`, time);
    const fetch = new BlobFetch({
      ...{ store, name, digest, size },
      arrived: (bytes) => {
        upstream.tallies.fetchedBytes += bytes;
      },
      source: upstream.client.streamBlob(upstreamName, { digest, size }, deadline.signal),
      explain: (error, received) => {
        if (isMissing(error)) {
          this.#missing.set(key, true, upstream.mirror.negativeTtlMs);
          return blobUnknown(digest);
        }
        return received === 0 ? upstream.failed(error) : upstream.broken(error);
      },
      makeRoom: async (error) => await evictor.makeRoom(repository, error),
      notKept: (error) => {
        const storage = storageError(error);
        upstream.tallies.notKept += 1;
        if (isStorageError(storage)) store.health.fault();
        const reason = error instanceof RegistryError ? error.code : 'Internal';
        log.warn({ repository: name, digest, reason, err: error }, 'a blob is passed on without being kept');
      },
    });
    this.#fetches.set(key, fetch);
    const running = this.#carry(repository, fetch).finally(() => {
      deadline.end();
      if (this.#fetches.get(key) === fetch) this.#fetches.delete(key);
      this.#running.delete(running);
    });
    this.#running.add(running);
    return fetch;
  }

  async #carry({ upstream }: MirroredRepository, fetch: BlobFetch): Promise<void> {
    const waiting = upstream.deadline('waiting for other blobs', WAIT_MS);
    try {
      await upstream.transfers.run(waiting.signal, async () => {
        waiting.end();
        await fetch.run();
      });
    } catch (error) {
      fetch.fail(error instanceof RegistryError ? error : upstream.broken(error));
    } finally {
      waiting.end();
    }
  }

  /** How large a blob is: from a manifest that names it, or else from the upstream. */
  async #size(repository: MirroredRepository, digest: Digest): Promise<number | undefined> {
    const { name, upstream, upstreamName } = repository;
    const key = keyOf(repository, digest);
    const named = this.#fetches.get(key)?.size ?? this.#parts.manifests.sizeOf(name, digest);
    if (named !== undefined) return named;
    return await this.#asking.run(key, async () => {
      const size = await upstream.ask(`asking for the blob ${digest}`, async (signal) =>
        upstream.client.blobSize(upstreamName, digest, signal),
      );
      if (size === undefined) this.#missing.set(key, true, upstream.mirror.negativeTtlMs);
      return size;
    });
  }

  /**
   * Takes a blob over from another repository that mirrors the same registry, once that registry has
   * said that this repository has it too: that a digest is known somewhere gives nobody its content.
   */
  async #share(repository: MirroredRepository, digest: Digest): Promise<boolean> {
    const { store, find, log } = this.#parts;
    const { upstream, upstreamName, name } = repository;
    const here = [...store.metadata.holders(digest)].some(
      (holder) => find(holder.name)?.upstream.origin === upstream.origin,
    );
    if (!here) return false;
    const has = await upstream.ask(`asking for the blob ${digest}`, async (signal) =>
      upstream.client.headBlob(upstreamName, { digest }, signal),
    );
    if (has !== true) return false;
    try {
      return await store.blobs.mount(name, digest);
    } catch (error) {
      log.warn({ repository: name, digest, err: error }, 'a blob could not be shared');
      return false;
    }
  }

  async #stream(
    exchange: Exchange,
    { name }: MirroredRepository,
    { digest, fetch }: { digest: Digest; fetch: BlobFetch },
  ): Promise<void> {
    const { response, store } = exchange;
    const { size } = fetch;
    const range = rangeOf(exchange, `"${digest}"`, size);
    const { status, headers } = partOf(blobHeaders(digest, size), range, size);
    store.metadata.holds.use(name, digest);
    exchange.events.publish({ action: 'pull', kind: 'blob', repository: name, digest, size }, exchange);
    const sent = store.metadata.holds.transfer(name);
    const pieces = fetch.read(range ?? { start: 0, end: size - 1 });
    try {
      // Nothing is promised before the first bytes are here: until then there is a status for every failure.
      const first = await pieces.next();
      sendHead(response, status, headers);
      for (let next = first; next.done !== true; next = await pieces.next()) {
        if (!(await write(response, next.value))) return;
      }
      response.end();
    } finally {
      await pieces.return(undefined);
      sent();
    }
  }
}

function keyOf({ name }: MirroredRepository, digest: Digest): string {
  return `${name} ${digest}`;
}

/** Of nothing, no byte comes that could be held back until it is verified. */
function requireEmpty(digest: Digest, size: number, upstream: Upstream): void {
  if (size > 0 || digestOf('', parseDigest(digest).algorithm) === digest) return;
  throw upstream.broken();
}
