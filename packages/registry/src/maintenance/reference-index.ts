import type { Digest } from '../names.ts';
import type { Metadata, Repository, RepositoryWatcher } from '../store/metadata.ts';
import { referencesOf } from '../store/references.ts';

interface Entry {
  readonly digest: Digest;
  count: number;
}

/** Manifests that are read in one turn. */
const SLICE = 100;

/**
 * How often the tags and manifests of one repository name each digest, exactly, while the repository
 * goes on changing: built slice by slice, and told of every change in the turn in which it happens.
 *
 * Because a manifest contains the digests that it names, nothing can name itself through others; so
 * a count of 0 is all there is to being unreferenced.
 */
export class ReferenceIndex implements RepositoryWatcher {
  readonly #entries = new Map<Digest, Entry>();
  readonly #references = new Map<Digest, readonly Entry[]>();
  readonly #unreadable = new Set<Digest>();
  #unwatch: () => void = () => undefined;

  /** @param pause gives others a turn; throws to stop */
  static async build(
    metadata: Metadata,
    repository: Repository,
    pause: () => Promise<void>,
  ): Promise<ReferenceIndex> {
    const index = new ReferenceIndex();
    // Watching begins in the turn in which the tags are read: no change falls between.
    index.#unwatch = metadata.watch(repository.name, index);
    try {
      for (const [, digest] of repository.tags.entries()) index.#entry(digest).count += 1;
      let read = 0;
      for (const digest of [...repository.manifests.keys()]) {
        if (!repository.manifests.has(digest) || index.#references.has(digest)) continue;
        index.manifestStored(digest, metadata.contents.stored(digest) ?? Buffer.of());
        read += 1;
        if (read % SLICE === 0) await pause();
      }
      return index;
    } catch (error) {
      index.close();
      throw error;
    }
  }

  /** Whether every manifest could be read. Where one could not, nothing may be taken for unreferenced. */
  get complete(): boolean {
    return this.#unreadable.size === 0;
  }

  /** How many tags and manifests name this digest. */
  count(digest: Digest): number {
    return this.#entries.get(digest)?.count ?? 0;
  }

  /** What a manifest names. */
  referencesOf(digest: Digest): Digest[] {
    return (this.#references.get(digest) ?? []).map((entry) => entry.digest);
  }

  manifestStored(digest: Digest, bytes: Buffer): void {
    this.#unreadable.delete(digest);
    if (this.#references.has(digest)) return;
    const references = referencesOf(bytes);
    if (references === undefined) {
      this.#unreadable.add(digest);
      return;
    }
    const entries = references.map((reference) => this.#entry(reference));
    for (const entry of entries) entry.count += 1;
    this.#references.set(digest, entries);
  }

  manifestDropped(digest: Digest): void {
    this.#unreadable.delete(digest);
    for (const entry of this.#references.get(digest) ?? []) entry.count -= 1;
    this.#references.delete(digest);
  }

  tagMoved(from: Digest | undefined, to: Digest | undefined): void {
    if (from !== undefined) this.#entry(from).count -= 1;
    if (to !== undefined) this.#entry(to).count += 1;
  }

  /** Hears of no more changes. */
  close(): void {
    this.#unwatch();
  }

  #entry(digest: Digest): Entry {
    let entry = this.#entries.get(digest);
    if (entry === undefined) {
      entry = { digest, count: 0 };
      this.#entries.set(digest, entry);
    }
    return entry;
  }
}
