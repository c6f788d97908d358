import { createHash } from 'node:crypto';
import { canonicalJson } from '@mural/core';
import { objectKey, type WorkloadDeployment } from '@mural/kube';
import { recordedDigests } from './root.ts';

/** A workload that a spoke is to have, and the artifact it is to have it from. */
export interface Entry {
  /** Equal for equal entries. */
  readonly id: string;
  /** `namespace/name` of the deployment. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly digest: string;
  /** What becomes of it on the spoke; not the whole spec, so that no old object is held in memory. */
  readonly spec: Pick<WorkloadDeployment['spec'], 'dependsOn' | 'interval' | 'timeout' | 'prune'>;
}

/** All workloads of a spoke. Spokes that are to have the same share one object. */
export interface Content {
  /** Equal for equal content. */
  readonly id: string;
  /** By the key of the deployment. */
  readonly entries: ReadonlyMap<string, Entry>;
}

const EMPTY: Content = { id: '', entries: new Map() };
/** Contents that nobody has any more are dropped when there are this many beside those in use. */
const SPARE_CONTENTS = 1000;

/**
 * What each spoke is to have, by what the deployments' statuses record. A change of one deployment
 * costs one step for each of its spokes, and the workloads of a spoke are gone through once for all
 * spokes that have the same.
 */
export class Contents {
  readonly #ofDeployment = new Map<string, ReadonlyMap<string, Entry>>();
  readonly #ofSpoke = new Map<string, Content>();
  #known = new Map<string, Content>();

  /** What a spoke is to have; nothing when no deployment names it. */
  of(spoke: string): Content {
    return this.#ofSpoke.get(spoke) ?? EMPTY;
  }

  /**
   * Takes in a deployment as it is now.
   *
   * @returns the spokes that are to have something else than before
   */
  set(key: string, deployment: WorkloadDeployment | undefined): string[] {
    const before = this.#ofDeployment.get(key) ?? new Map<string, Entry>();
    const now = deployment === undefined ? new Map<string, Entry>() : entriesOf(deployment);
    if (now.size === 0) this.#ofDeployment.delete(key);
    else this.#ofDeployment.set(key, now);
    const changed: string[] = [];
    const made = new Map<Content, Map<Entry | undefined, Content>>();
    for (const spoke of new Set([...before.keys(), ...now.keys()])) {
      const entry = now.get(spoke);
      if (entry?.id === before.get(spoke)?.id) continue;
      changed.push(spoke);
      const old = this.of(spoke);
      const steps = made.get(old) ?? new Map<Entry | undefined, Content>();
      made.set(old, steps);
      const next = steps.get(entry) ?? this.#with(old, key, entry);
      steps.set(entry, next);
      if (next === EMPTY) this.#ofSpoke.delete(spoke);
      else this.#ofSpoke.set(spoke, next);
    }
    if (this.#known.size > this.#ofSpoke.size + SPARE_CONTENTS) this.#drop();
    return changed;
  }

  #with(content: Content, key: string, entry: Entry | undefined): Content {
    const entries = new Map(content.entries);
    if (entry === undefined) entries.delete(key);
    else entries.set(key, entry);
    if (entries.size === 0) return EMPTY;
    const ids = [...entries.values()].map(({ id }) => id).sort();
    const id = hash(ids);
    const known = this.#known.get(id) ?? { id, entries };
    this.#known.set(id, known);
    return known;
  }

  #drop(): void {
    this.#known = new Map([...this.#ofSpoke.values()].map((content) => [content.id, content]));
  }
}

/** The entries that a deployment is for its spokes: one for all that have the same artifact. */
function entriesOf(deployment: WorkloadDeployment): ReadonlyMap<string, Entry> {
  const key = objectKey(deployment);
  const entries = new Map<string, Entry>();
  // A deployment that is being deleted is withdrawn, whatever its status says.
  if (deployment.metadata.deletionTimestamp !== undefined) return entries;
  const byDigest = new Map<string, Entry>();
  const { namespace = '', name = '' } = deployment.metadata;
  const { dependsOn, interval, timeout, prune } = deployment.spec;
  const spec = { dependsOn, interval, timeout, prune };
  for (const [spoke, digest] of recordedDigests(deployment)) {
    const known = byDigest.get(digest);
    const entry = known ?? { id: hash([key, digest, spec]), key, namespace, name, digest, spec };
    byDigest.set(digest, entry);
    entries.set(spoke, entry);
  }
  return entries;
}

function hash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 32);
}
