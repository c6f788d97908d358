import type { Stored } from '../objects.ts';
import { jsonOf } from '../objects.ts';

/** One committed change. */
export interface Change {
  readonly revision: number;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  /** What is stored now; for a removal the last state, with the revision of the removal. */
  readonly object: Stored;
  readonly previous: Stored | undefined;
  readonly removed: boolean;
}

/** How much of the past is kept for watches and paged lists. */
export interface HistoryLimits {
  readonly changes: number;
  readonly bytes: number;
}

/** The committed changes of the recent past, oldest first, bounded in number and size. */
export class History {
  #changes: Change[] = [];
  #bytes = 0;
  #floor: number;
  readonly #limits: HistoryLimits;

  /** @param floor the revision at which the memory of changes begins */
  constructor(floor: number, limits: HistoryLimits) {
    this.#floor = floor;
    this.#limits = limits;
  }

  /** Changes after this revision are known; a watch from before it is `Expired`. */
  get floor(): number {
    return this.#floor;
  }

  add(change: Change): void {
    this.#changes.push(change);
    this.#bytes += jsonOf(change.object).length;
    if (this.#changes.length <= this.#limits.changes && this.#bytes <= this.#limits.bytes) return;
    // A quarter at a time, so that dropping does not cost a shift of the whole array per write.
    let drop = 0;
    while (
      drop < this.#changes.length - 1 &&
      (this.#changes.length - drop > this.#limits.changes * 0.75 || this.#bytes > this.#limits.bytes * 0.75)
    ) {
      const dropped = this.#changes[drop];
      if (dropped === undefined) break;
      this.#bytes -= jsonOf(dropped.object).length;
      this.#floor = dropped.revision;
      drop += 1;
    }
    this.#changes = this.#changes.slice(drop);
  }

  /** The changes of one resource after a revision, oldest first. The caller has checked the floor. */
  after(revision: number, resource: string): Change[] {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#changes.slice(low).filter((change) => change.resource === resource);
  }
}
