import type { Digest } from '../names.ts';
import type { Repository } from './repository.ts';

/** Which repositories have a blob. Most blobs have one, which is kept without a set around it. */
export class Holders {
  readonly #holders = new Map<Digest, Repository | Set<Repository>>();

  /** The repositories that have a blob. */
  of(digest: Digest): Iterable<Repository> {
    const holders = this.#holders.get(digest);
    if (holders === undefined) return [];
    return holders instanceof Set ? holders : [holders];
  }

  /** How many repositories have a blob. */
  count(digest: Digest): number {
    const holders = this.#holders.get(digest);
    if (holders === undefined) return 0;
    return holders instanceof Set ? holders.size : 1;
  }

  add(digest: Digest, repository: Repository): void {
    const holders = this.#holders.get(digest);
    if (holders === undefined) this.#holders.set(digest, repository);
    else if (holders instanceof Set) holders.add(repository);
    else if (holders !== repository) this.#holders.set(digest, new Set([holders, repository]));
  }

  delete(digest: Digest, repository: Repository): void {
    const holders = this.#holders.get(digest);
    if (holders === repository) this.#holders.delete(digest);
    if (!(holders instanceof Set)) return;
    holders.delete(repository);
    if (holders.size === 0) this.#holders.delete(digest);
  }
}
