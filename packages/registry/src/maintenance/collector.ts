import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '@mural/core';
import type { Digest } from '../names.ts';
import type { Repository } from '../store/metadata.ts';
import type { Store } from '../store/store.ts';
import { collectBlobs, collectManifests, collectTags } from './collect-repository.ts';
import { type CollectionReport, ReportBuilder } from './findings.ts';
import { ReferenceIndex } from './reference-index.ts';
import { type CompiledRetention, KEEP_ALL } from './rules.ts';

/** Content of a repository that must stay, for as long as it is named here. */
export type ProtectedContent =
  | {
      readonly repository: string;
      /** Of a manifest, which then keeps its tags and what it names, or of a blob. */
      readonly digest: string;
    }
  | {
      readonly repository: string;
      /** A tag, which then keeps the manifest that it is on, whichever that is. */
      readonly tag: string;
    };

/** What of one repository must stay. */
export interface Kept {
  readonly digests: ReadonlySet<string>;
  readonly tags: ReadonlySet<string>;
}

/** Names what must stay: asked at the begin of each collection, which removes nothing when it throws. */
export type Protect = () => Iterable<ProtectedContent> | Promise<Iterable<ProtectedContent>>;

const UNREADABLE = 'a manifest cannot be read, so it is not known what it names';

/** What a collection goes by. */
export interface CollectorRules {
  readonly retention: readonly CompiledRetention[];
  /** How long something stays after it was pushed or last needed, in milliseconds. */
  readonly graceMs: number;
}

/** What a {@link Collector} works with. */
export interface CollectorParts extends CollectorRules {
  readonly store: Store;
  readonly clock: Clock;
  readonly protect?: Protect | undefined;
}

/** How one collection is done. */
export interface CollectOptions {
  /** Removes nothing, and reports what would go, when, and why. */
  readonly dryRun?: boolean;
  /** This one alone; all unless told. */
  readonly repository?: string;
  readonly signal?: AbortSignal;
}

/**
 * Removes what nothing needs any more while the registry serves: repository by repository, tags and
 * untagged manifests where a retention rule says so, then blobs that no manifest of the repository
 * names, and at last files that belong to no blob.
 *
 * Why no blob is lost that somebody needs:
 *
 * 1. *One order.* Every change of the metadata is applied to memory and written in one turn of the
 *    single thread that changes them. A thing is judged in the same turn in which it is removed, so
 *    each push, tag, mount, lease or deletion comes wholly before or wholly after.
 * 2. *Before:* the {@link ReferenceIndex} was told of it in its own turn and counts it, so what it
 *    needs is not unreferenced. *After:* a manifest that names what is gone is refused with
 *    MANIFEST_BLOB_UNKNOWN in the turn that would have stored it, and a mount finds nothing and
 *    begins an upload; neither is acknowledged, and the client sends the blob again.
 * 3. *What a client was told stays true long enough.* The answer to a HEAD, GET, upload or mount
 *    registers a use in the turn that looked the content up, before the answer leaves; it holds the
 *    content, and while uploads or transfers of the repository run, it does not run out. After a
 *    start nothing goes until every use from before has run out.
 * 4. *Files.* The lock of a digest is held from the judgement until its file is gone, and a push of
 *    the same digest puts its file in place under the same lock. The file goes after the metadata
 *    that no longer name it are on the disk: a kill between leaves a file without a blob, never a
 *    blob without a file. Such files are found by comparing the folder with the metadata, under that
 *    lock, and are removed when no blob of that digest exists in that turn.
 * 5. *Caches* are asked only after the metadata: what they still hold of a removed blob is not
 *    served, and is the same bytes when the blob is pushed again.
 * 6. *Shared blobs* go from one repository at a time; the file goes with the last that had it.
 */
export class Collector {
  readonly #parts: CollectorParts;
  #rules: CollectorRules;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#rules = parts;
  }

  /** Goes by other rules from the next collection on. */
  setRules(rules: CollectorRules): void {
    this.#rules = rules;
  }

  /** Collects once; a second call begins when the first has ended. */
  async collect(options: CollectOptions = {}): Promise<CollectionReport> {
    const before = this.#turn;
    const run = (async () => {
      await before.catch(() => undefined);
      return await this.#collect(options);
    })();
    this.#turn = run;
    return await run;
  }

  async #collect({ dryRun = false, repository: only, signal }: CollectOptions): Promise<CollectionReport> {
    const { store, clock } = this.#parts;
    const rules = this.#rules;
    const pause = async (): Promise<void> => {
      signal?.throwIfAborted();
      await nextTurn();
    };
    signal?.throwIfAborted();
    const report = new ReportBuilder(dryRun, clock.now());
    const protectedIn = await this.#protected();
    const taken = new Map<Digest, number>();
    store.metadata.holds.prune();
    for (const repository of [...store.metadata.repositories()]) {
      if (only !== undefined && repository.name !== only) continue;
      report.repositories += 1;
      const kept = protectedIn.get(repository.name);
      await this.#collectRepository(repository, { report, taken, pause, kept, rules });
    }
    if (only === undefined) {
      await this.#collectUploads(report);
      await this.#collectFiles(report, pause, rules.graceMs);
    }
    return report.build(clock.now());
  }

  async #protected(): Promise<Map<string, Kept>> {
    const all = new Map<string, { readonly digests: Set<string>; readonly tags: Set<string> }>();
    for (const content of (await this.#parts.protect?.()) ?? []) {
      const kept = all.get(content.repository) ?? { digests: new Set(), tags: new Set() };
      all.set(content.repository, kept);
      if ('tag' in content) kept.tags.add(content.tag);
      else kept.digests.add(content.digest);
    }
    return all;
  }

  async #collectRepository(
    repository: Repository,
    run: {
      report: ReportBuilder;
      taken: Map<Digest, number>;
      pause: () => Promise<void>;
      kept: Kept | undefined;
      rules: CollectorRules;
    },
  ): Promise<void> {
    const { store, clock } = this.#parts;
    const { report, taken, pause, kept, rules } = run;
    const { retention, graceMs } = rules;
    const index = await ReferenceIndex.build(store.metadata, repository, pause);
    try {
      const collection = {
        ...{ store, repository, index, report, graceMs, pause, taken },
        rule: retention.find((rule) => rule.repositories.test(repository.name)) ?? KEEP_ALL,
        isProtected: (digest: Digest) => kept?.digests.has(digest) === true,
        isProtectedTag: (tag: string) => kept?.tags.has(tag) === true,
        now: () => clock.now(),
      };
      await collectTags(collection);
      if (index.complete) {
        await collectManifests(collection);
        await collectBlobs(collection);
      } else report.skip(repository.name, UNREADABLE);
    } finally {
      index.close();
    }
  }

  async #collectUploads(report: ReportBuilder): Promise<void> {
    for (const { repository, size } of await this.#parts.store.uploads.expire(report.dryRun)) {
      report.freedBytes += size;
      report.add({ kind: 'upload', repository, bytes: size, reason: 'nobody went on with it' });
    }
  }

  async #collectFiles(report: ReportBuilder, pause: () => Promise<void>, graceMs: number): Promise<void> {
    const { store, clock } = this.#parts;
    for await (const digests of store.blobs.files()) {
      await pause();
      for (const digest of digests) {
        if (store.metadata.blob(digest) !== undefined) continue;
        const before = clock.now() - graceMs;
        const bytes = await store.blobs.removeOrphan(digest, before, report.dryRun);
        if (bytes === undefined) continue;
        report.freedBytes += bytes;
        report.add({ kind: 'file', digest, bytes, reason: 'a file that belongs to no blob' });
      }
    }
  }
}
