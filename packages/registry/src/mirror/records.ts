import type { Clock, Logger } from '@mural/core';
import type { Digest } from '../names.ts';
import type { Store } from '../store/store.ts';

/** How often what is noted is written, in milliseconds: a kill loses no more, and what is lost makes nothing wrong. */
const FLUSH_EVERY = 60_000;
const MAX_ROWS = 5000;

/**
 * When tags were last seen upstream and manifests last pulled, over restarts. Noted in memory, so that a
 * pull costs no write, and written together once a minute.
 */
export class MirrorRecords {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #tags = new Map<string, Map<string, number>>();
  readonly #pulls = new Map<string, Map<string, number>>();
  readonly #dirty = { tags: new Set<string>(), pulls: new Set<string>() };

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#load();
  }

  /** When a tag was last seen upstream as it is here; undefined for never. */
  checkedAt(repository: string, tag: string): number | undefined {
    return this.#tags.get(repository)?.get(tag);
  }

  /** Notes that a tag is upstream as it is here. */
  checked(repository: string, tag: string): void {
    put(this.#tags, repository, tag, this.#clock.now());
    this.#dirty.tags.add(`${repository} ${tag}`);
  }

  /** When a manifest was last pulled; undefined for never. */
  pulledAt(repository: string, digest: Digest): number | undefined {
    return this.#pulls.get(repository)?.get(digest);
  }

  /** Notes that a manifest is being pulled. */
  pulled(repository: string, digest: Digest): void {
    put(this.#pulls, repository, digest, this.#clock.now());
    this.#dirty.pulls.add(`${repository} ${digest}`);
  }

  /** Notes at once that a manifest came from upstream: the blobs that it names may not be here. */
  stored(repository: string, digest: Digest): void {
    this.pulled(repository, digest);
    this.flush();
  }

  /** Forgets a tag. */
  forgetTag(repository: string, tag: string): void {
    this.#tags.get(repository)?.delete(tag);
    this.#dirty.tags.add(`${repository} ${tag}`);
  }

  /** Forgets a manifest. */
  forgetManifest(repository: string, digest: Digest): void {
    this.#pulls.get(repository)?.delete(digest);
    this.#dirty.pulls.add(`${repository} ${digest}`);
  }

  /** Writes what was noted every minute until `signal` aborts, and once more then. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(FLUSH_EVERY, signal).catch(() => undefined);
      this.flush();
    }
  }

  /** Writes what was noted. A disk that does not take it changes nothing: it is tried again. */
  flush(): void {
    try {
      this.#write('mirrored_tags', this.#dirty.tags, this.#tags);
      this.#write('mirrored_manifests', this.#dirty.pulls, this.#pulls);
    } catch (error) {
      this.#log.warn({ err: error }, 'what was pulled through a mirror could not be noted');
    }
  }

  #write(table: string, dirty: Set<string>, values: Map<string, Map<string, number>>): void {
    const { database } = this.#store;
    while (dirty.size > 0) {
      const slice = [...dirty].slice(0, MAX_ROWS);
      database.transaction(() => {
        for (const key of slice) {
          const [repository = '', name = ''] = key.split(' ');
          const at = values.get(repository)?.get(name);
          if (at === undefined)
            database
              .statement(`DELETE FROM ${table} WHERE repository = ? AND name = ?`)
              .run(repository, name);
          else
            database.statement(`INSERT OR REPLACE INTO ${table} VALUES (?, ?, ?)`).run(repository, name, at);
        }
      });
      for (const key of slice) dirty.delete(key);
    }
  }

  /** What is not in the registry any more is dropped. */
  #load(): void {
    const { database, metadata } = this.#store;
    for (const [repository, name, at] of database.rows('SELECT repository, name, at FROM mirrored_tags')) {
      put(this.#tags, String(repository), String(name), Number(at));
      if (metadata.repository(String(repository))?.tags.get(String(name)) === undefined)
        this.forgetTag(String(repository), String(name));
    }
    for (const [repository, name, at] of database.rows(
      'SELECT repository, name, at FROM mirrored_manifests',
    )) {
      const digest = name as Digest;
      put(this.#pulls, String(repository), digest, Number(at));
      if (metadata.repository(String(repository))?.manifests.has(digest) !== true)
        this.forgetManifest(String(repository), digest);
    }
  }
}

function put(map: Map<string, Map<string, number>>, repository: string, name: string, at: number): void {
  const names = map.get(repository);
  if (names === undefined) map.set(repository, new Map([[name, Math.floor(at)]]));
  else names.set(name, Math.floor(at));
}
