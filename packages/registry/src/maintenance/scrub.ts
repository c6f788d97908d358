import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Clock, isRecord, type Logger } from '@mural/core';
import { type Digest, digestOf, parseDigest } from '../names.ts';
import { sameStamp } from '../store/blob-files.ts';
import { HashThread } from '../store/hash-pool.ts';
import type { Store } from '../store/store.ts';

/** How one scrub is done. */
export interface ScrubOptions {
  /** Reads blobs no faster than this, on a thread behind all others; as fast as it can unless told. */
  readonly bytesPerSecond?: number;
  /** Begins anew even where an earlier scrub was interrupted. */
  readonly restart?: boolean;
  readonly signal?: AbortSignal;
}

/** Content that is not what its digest says. It counts as unknown until it is pushed again. */
export interface Damage {
  readonly kind: 'blob' | 'manifest';
  readonly digest: Digest;
  /** Who has it. */
  readonly repositories: readonly string[];
}

/** What a scrub found. */
export interface ScrubReport {
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Whether it went on where an earlier scrub was interrupted. */
  readonly resumed: boolean;
  readonly manifests: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damage[];
}

/** Where a scrub is, and when the last one ended. */
interface Progress {
  readonly position?: { readonly phase: 'manifests' | 'blobs'; readonly after: string };
  /** Milliseconds since the epoch. */
  readonly finishedAt?: number;
}

const SETTING = 'scrub';
const PAGE = 200;
const SAVE_EVERY_MS = 5000;

/**
 * Hashes everything that the registry stores and takes what is damaged out of service. Where it is,
 * is remembered, so that an interrupted scrub goes on.
 */
export class Scrubber {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: { store: Store; clock: Clock; log: Logger }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** When a scrub last ended, or is first to be counted from; in milliseconds since the epoch. */
  lastEnd(): number {
    const { finishedAt } = this.#progress();
    if (finishedAt !== undefined) return finishedAt;
    const now = this.#clock.now();
    this.#save({ ...this.#progress(), finishedAt: now });
    return now;
  }

  /** Whether a scrub was interrupted. */
  get interrupted(): boolean {
    return this.#progress().position !== undefined;
  }

  /** Scrubs once; a second call begins when the first has ended. */
  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const before = this.#turn;
    const run = (async () => {
      await before.catch(() => undefined);
      return await this.#scrub(options);
    })();
    this.#turn = run;
    return await run;
  }

  async #scrub({ bytesPerSecond, restart = false, signal }: ScrubOptions): Promise<ScrubReport> {
    const startedAt = this.#clock.now();
    const { position } = restart ? {} : this.#progress();
    const found = { manifests: 0, blobs: 0, bytes: 0, damaged: [] as Damage[] };
    if (position?.phase !== 'blobs') await this.#scrubManifests(position?.after ?? '', found, signal);
    const after = position?.phase === 'blobs' ? position.after : '';
    const thread = new HashThread();
    const stop = (): void => void thread.close();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      await this.#scrubBlobs({ thread, after, found, bytesPerSecond, signal });
    } finally {
      signal?.removeEventListener('abort', stop);
      await thread.close();
    }
    const now = this.#clock.now();
    this.#save({ finishedAt: now });
    return { startedAt, durationMs: now - startedAt, resumed: position !== undefined, ...found };
  }

  async #scrubManifests(
    after: string,
    found: { manifests: number; damaged: Damage[] },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { metadata, files } = this.#store;
    for (let last = after; ; ) {
      const page = metadata.contents.digests(last, PAGE);
      for (const digest of page) {
        signal?.throwIfAborted();
        await nextTurn();
        const bytes = metadata.contents.stored(digest);
        if (bytes === undefined) continue;
        found.manifests += 1;
        if (digestOf(bytes, parseDigest(digest).algorithm) === digest) continue;
        await files.quarantineBytes(digest, bytes);
        metadata.contents.drop(digest);
        found.damaged.push(this.#damage('manifest', digest));
      }
      last = page.at(-1) ?? '';
      if (page.length < PAGE) return;
      this.#save({ ...this.#progress(), position: { phase: 'manifests', after: last } });
    }
  }

  async #scrubBlobs(run: {
    thread: HashThread;
    after: string;
    found: { blobs: number; bytes: number; damaged: Damage[] };
    bytesPerSecond: number | undefined;
    signal: AbortSignal | undefined;
  }): Promise<void> {
    const { thread, after, found, signal, bytesPerSecond } = run;
    const { metadata, blobs } = this.#store;
    const digests = [...metadata.blobs()].map(([digest]) => digest).filter((digest) => digest > after);
    let saved = this.#clock.now();
    for (const digest of digests.sort()) {
      signal?.throwIfAborted();
      const recorded = metadata.blob(digest);
      if (recorded === undefined) continue;
      found.blobs += 1;
      found.bytes += recorded.size;
      const sound = await this.#isSound(thread, digest, bytesPerSecond);
      signal?.throwIfAborted();
      // What looks damaged is looked at again under the lock of its digest: it may be new by now.
      if (!sound && !(await blobs.verify(digest)) && !isGone(metadata.holders(digest))) {
        found.damaged.push(this.#damage('blob', digest));
      }
      if (this.#clock.now() - saved < SAVE_EVERY_MS) continue;
      saved = this.#clock.now();
      this.#save({ ...this.#progress(), position: { phase: 'blobs', after: digest } });
    }
  }

  async #isSound(thread: HashThread, digest: Digest, bytesPerSecond: number | undefined): Promise<boolean> {
    const { metadata, files } = this.#store;
    const { algorithm, hex } = parseDigest(digest);
    const path = files.pathOf(digest);
    const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond };
    try {
      const reply = await thread.call({ kind: 'hash', path, algorithm, ...rate });
      const stamp = await files.stamp(digest);
      const recorded = metadata.blob(digest);
      return reply.hex === hex && stamp !== undefined && recorded !== undefined && sameStamp(stamp, recorded);
    } catch {
      return false;
    }
  }

  #damage(kind: Damage['kind'], digest: Digest): Damage {
    const { metadata } = this.#store;
    const holders =
      kind === 'blob'
        ? metadata.holders(digest)
        : [...metadata.repositories()].filter(({ manifests }) => manifests.has(digest));
    const repositories = [...holders].map(({ name }) => name);
    this.#log.error({ kind, digest, repositories }, 'a scrub found damage');
    return { kind, digest, repositories };
  }

  #progress(): Progress {
    try {
      const value: unknown = JSON.parse(this.#store.metadata.settings.get(SETTING) ?? '{}');
      return isRecord(value) ? value : {};
    } catch {
      return {};
    }
  }

  #save(progress: Progress): void {
    this.#store.metadata.settings.set(SETTING, JSON.stringify(progress));
  }
}

/** A blob that nobody has any more was deleted meanwhile, and not damaged. */
function isGone(holders: Iterable<unknown>): boolean {
  return [...holders].length === 0;
}
