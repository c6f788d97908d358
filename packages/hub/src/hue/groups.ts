import { createHash } from 'node:crypto';

/** Spokes that one artifact serves. More would make each change of one of them a pull for many. */
export const MAX_MEMBERS = 250;

/** Spokes that share an artifact in one registry. */
export interface Group {
  readonly id: string;
  /** URL of the repository that its artifact is in. */
  readonly registry: string;
  /** Names of spokes. */
  readonly members: Set<string>;
  /** The labels that the newest member was placed by. */
  labels: string;
  /** Set when the workloads of its members became too many for one artifact: it takes no more. */
  full: boolean;
}

/** Where a spoke is to be placed, and by what. */
export interface Placement {
  readonly registry: string;
  /** The group that is recorded of the spoke, which is kept where that can be. */
  readonly recorded: string | undefined;
  /** Equal for spokes that are likely to get the same workloads. */
  readonly labels: string;
}

/**
 * Which spoke is in which group. A spoke stays in its group whatever its workloads become, and keeps the
 * id of its group when it moves to another registry; so its root, which names the group, is written once for each.
 */
export class Groups {
  readonly #groups = new Map<string, Group>();
  readonly #ofSpoke = new Map<string, Group>();

  /** The group of a spoke, if it was placed. */
  of(spoke: string): Group | undefined {
    return this.#ofSpoke.get(spoke);
  }

  /** A group by its {@link groupKey}. */
  get(key: string): Group | undefined {
    return this.#groups.get(key);
  }

  /**
   * The group of a spoke: the one it is in, else the recorded one, else one whose newest member has the
   * same labels, else the largest that takes another, else a new one.
   */
  place(spoke: string, placement: Placement): Group {
    const current = this.#ofSpoke.get(spoke);
    if (current !== undefined && current.registry === placement.registry) return current;
    this.remove(spoke);
    const group = this.#chosen(spoke, { ...placement, recorded: current?.id ?? placement.recorded });
    group.members.add(spoke);
    group.labels = placement.labels;
    this.#ofSpoke.set(spoke, group);
    return group;
  }

  /** Takes a spoke out of its group. */
  remove(spoke: string): void {
    const group = this.#ofSpoke.get(spoke);
    this.#ofSpoke.delete(spoke);
    group?.members.delete(spoke);
    if (group?.members.size === 0) this.#groups.delete(groupKey(group));
  }

  #chosen(spoke: string, { registry, recorded, labels }: Placement): Group {
    if (recorded !== undefined) {
      const group = this.#groups.get(groupKey({ registry, id: recorded }));
      if (group === undefined) return this.#make(recorded, registry);
      if (hasRoom(group)) return group;
    }
    let best: Group | undefined;
    let bestScore = -1;
    for (const group of this.#groups.values()) {
      if (group.registry !== registry || !hasRoom(group)) continue;
      const score = group.members.size + (group.labels === labels ? MAX_MEMBERS : 0);
      if (score > bestScore) [best, bestScore] = [group, score];
    }
    return best ?? this.#make(this.#freeId(spoke), registry);
  }

  #make(id: string, registry: string): Group {
    const group: Group = { id, registry, members: new Set(), labels: '', full: false };
    this.#groups.set(groupKey(group), group);
    return group;
  }

  /** An id that no group has, whatever its registry; it follows from the name of the first member. */
  #freeId(spoke: string): string {
    const taken = new Set([...this.#groups.values()].map(({ id }) => id));
    for (let count = 0; ; count += 1) {
      const id = createHash('sha256').update(`${spoke} ${count}`).digest('hex').slice(0, 12);
      if (!taken.has(id)) return id;
    }
  }
}

/** What tells groups apart. */
export function groupKey({ registry, id }: Pick<Group, 'registry' | 'id'>): string {
  return `${id} ${registry}`;
}

/** Recorded ids become tags, and anybody who may write Spokes can write them. */
export function validGroupId(text: string | undefined): string | undefined {
  return text !== undefined && /^[0-9a-f]{12}$/.test(text) ? text : undefined;
}

function hasRoom(group: Group): boolean {
  return !group.full && group.members.size < MAX_MEMBERS;
}
