import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Logger } from '@mural/core';
import { RegistryError } from '../errors.ts';
import type { Protect } from '../maintenance/collector.ts';
import type { Digest } from '../names.ts';
import type { Repository } from '../store/metadata.ts';
import { namedIn } from '../store/references.ts';
import type { Store } from '../store/store.ts';
import type { MirrorRecords } from './records.ts';
import type { MirroredRepository } from './repository.ts';
import type { EvictionReason } from './tallies.ts';

/** Pause between two looks for what nobody pulls any more, in milliseconds. */
const EVICT_EVERY = 60 * 60_000;
const SLICE = 64;

interface Parts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly records: MirrorRecords;
  readonly protect: Protect | undefined;
  readonly find: (name: string) => MirroredRepository | undefined;
}

interface Candidate {
  readonly repository: Repository;
  readonly digest: Digest;
  /** When it, or what it belongs to, was last pulled. */
  readonly pulledAt: number;
}

/**
 * Lets mirrored content go again: what nobody has pulled for longer than the mirror says, and the least
 * recently pulled where a quota has no room. Never what is in use, leased or protected.
 */
export class Evictor {
  readonly #parts: Parts;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Looks for what nobody pulls any more, every hour, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      await this.#parts.clock.sleep(EVICT_EVERY, signal).catch(() => undefined);
      try {
        if (!stopped()) await this.evictIdle();
      } catch (error) {
        this.#parts.log.error({ err: error }, 'what nobody pulls any more could not be removed');
      }
    }
  }

  /** Removes the manifests that nobody has pulled for their mirror's time; their blobs go with the next collection. */
  async evictIdle(): Promise<number> {
    return await this.#alone(async () => {
      const { store, clock, find, log } = this.#parts;
      const kept = await this.#protected();
      let removed = 0;
      for (const repository of [...store.metadata.repositories()]) {
        const evictAfterMs = find(repository.name)?.upstream.mirror.evictAfterMs;
        if (evictAfterMs === undefined) continue;
        const before = clock.now() - evictAfterMs;
        for (const candidate of await this.#candidates(repository)) {
          if (candidate.pulledAt > before || !this.#mayGo(candidate, kept)) continue;
          if (await this.#remove(candidate, 'idle')) removed += 1;
        }
      }
      if (removed > 0)
        log.info({ manifests: removed }, 'removed what nobody pulls through a mirror any more');
      return removed;
    });
  }

  /**
   * Frees room under a quota by removing what was pulled least recently.
   *
   * @param error why a blob was not stored
   * @returns whether there is reason to try again
   */
  async makeRoom(repository: MirroredRepository, error: unknown): Promise<boolean> {
    if (!(error instanceof RegistryError) || error.code !== 'QuotaExceeded') return false;
    const { facts } = error;
    const missing = Number(facts['usedBytes']) + Number(facts['moreBytes']) - Number(facts['limitBytes']);
    if (Number(facts['moreBytes']) > Number(facts['limitBytes'])) return false;
    return await this.#alone(async () => {
      const { store, find, log } = this.#parts;
      const kept = await this.#protected();
      const all = [...store.metadata.repositories()].filter(({ name }) => find(name) !== undefined);
      const concerned =
        facts['quota'] === repository.name ? all.filter(({ name }) => name === repository.name) : all;
      const candidates: Candidate[] = [];
      for (const one of concerned) candidates.push(...(await this.#candidates(one)));
      candidates.sort((a, b) => a.pulledAt - b.pulledAt);
      let freed = 0;
      for (const candidate of candidates) {
        if (freed >= missing) break;
        if (!this.#mayGo(candidate, kept)) continue;
        const named = this.#namedBy(candidate.digest).filter(({ isManifest }) => !isManifest);
        if (!(await this.#remove(candidate, 'room'))) continue;
        for (const { digest } of named) freed += await this.#removeBlob(candidate.repository, digest, kept);
      }
      if (freed > 0)
        log.info({ freedBytes: freed, quota: facts['quota'] }, 'made room for what is pulled now');
      return freed >= missing;
    });
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const turn = (async () => {
      await before.catch(() => undefined);
      return await work();
    })();
    this.#turn = turn;
    return await turn;
  }

  /** The manifests of a repository; one counts as pulled when an index that names it, or its subject, was. */
  async #candidates(repository: Repository): Promise<Candidate[]> {
    const { records } = this.#parts;
    const own = (digest: Digest): number =>
      records.pulledAt(repository.name, digest) ?? repository.manifests.get(digest)?.pushedAt ?? 0;
    const above = new Map<Digest, number>();
    const raise = (digest: Digest, at: number): void => {
      above.set(digest, Math.max(above.get(digest) ?? 0, at));
    };
    for (const [index, [digest, { subject, mediaType }]] of [...repository.manifests].entries()) {
      if (index % SLICE === SLICE - 1) await nextTurn();
      if (subject !== undefined && repository.manifests.has(subject)) raise(digest, own(subject));
      if (!/index|list/.test(mediaType)) continue;
      for (const child of this.#namedBy(digest)) if (child.isManifest) raise(child.digest, own(digest));
    }
    return [...repository.manifests.keys()].map((digest) => ({
      ...{ repository, digest },
      pulledAt: Math.max(own(digest), above.get(digest) ?? 0),
    }));
  }

  #namedBy(digest: Digest): NonNullable<ReturnType<typeof namedIn>> {
    const bytes = this.#parts.store.metadata.contents.stored(digest);
    return bytes === undefined ? [] : (namedIn(bytes) ?? []);
  }

  #mayGo({ repository, digest }: Candidate, kept: ReadonlyMap<string, ReadonlySet<string>>): boolean {
    if (kept.get(repository.name)?.has(digest) === true) return false;
    return !this.#parts.store.metadata.holds.held(repository.name, digest);
  }

  async #remove({ repository, digest }: Candidate, reason: EvictionReason): Promise<boolean> {
    const { store, records, find } = this.#parts;
    for (const [tag, target] of repository.tags.entries()) {
      if (target === digest) records.forgetTag(repository.name, tag);
    }
    records.forgetManifest(repository.name, digest);
    const removed = await store.metadata.deleteManifest(repository.name, digest);
    const tallies = find(repository.name)?.upstream.tallies;
    if (removed && tallies !== undefined) tallies.evictions[reason] += 1;
    return removed;
  }

  /** Removes a blob that no manifest of the repository names any more. @returns the bytes that it had */
  async #removeBlob(
    repository: Repository,
    digest: Digest,
    kept: ReadonlyMap<string, ReadonlySet<string>>,
  ): Promise<number> {
    const { store } = this.#parts;
    const bytes = repository.blobs.get(digest) ?? 0;
    const removed = await store.blobs.removeIf(repository.name, digest, () => {
      if (!this.#mayGo({ repository, digest, pulledAt: 0 }, kept)) return false;
      // Looked for in the turn in which it goes: what is stored before counts, and what comes later fetches it.
      return ![...repository.manifests.keys()].some((one) =>
        this.#namedBy(one).some((named) => named.digest === digest),
      );
    });
    return removed === undefined ? 0 : bytes;
  }

  /** What must stay by repository, with everything that a protected or leased manifest names. */
  async #protected(): Promise<Map<string, Set<string>>> {
    const kept = new Map<string, Set<string>>();
    const keep = (repository: string, digest: Digest): void => {
      const digests = kept.get(repository) ?? new Set<string>();
      kept.set(repository, digests);
      this.#keepWith(digests, digest);
    };
    for (const content of (await this.#parts.protect?.()) ?? []) {
      const { repository } = content;
      const digest = 'digest' in content ? content.digest : this.#tagged(repository, content.tag);
      if (digest !== undefined) keep(repository, digest as Digest);
    }
    const { holds } = this.#parts.store.metadata;
    for (const { repository, digest } of holds.leases.held()) {
      if (this.#parts.find(repository) !== undefined) keep(repository, digest);
    }
    return kept;
  }

  #tagged(repository: string, tag: string): Digest | undefined {
    return this.#parts.store.metadata.repository(repository)?.tags.get(tag);
  }

  #keepWith(digests: Set<string>, digest: Digest): void {
    if (digests.has(digest)) return;
    digests.add(digest);
    for (const named of this.#namedBy(digest)) {
      if (named.isManifest) this.#keepWith(digests, named.digest);
      else digests.add(named.digest);
    }
  }
}
