import type { Spoke } from '@mural/kube';

/** A spoke that is not yet known to read the registry that it is told to read. */
export interface Dependent {
  readonly name: string;
  /** What it is told to read. */
  readonly target: string;
  /** What it reads as it reports; absent when that is nothing, or several. */
  readonly reads: string | undefined;
  /** Whether it has ever reported. */
  readonly reported: boolean;
}

/** What a spoke had reported when the registry changed. */
export interface Seen {
  readonly heartbeat: string | undefined;
  readonly reads: string | undefined;
}

/** What spokes have reported by now. */
export function seenOf(spokes: readonly Spoke[]): ReadonlyMap<string, Seen> {
  return new Map(
    spokes.map(({ metadata, status }) => [
      metadata.name ?? '',
      { heartbeat: status?.lastHeartbeatTime, reads: status?.registryUrl },
    ]),
  );
}

/**
 * The spokes that may still depend on a registry that was in force before: those that do not report
 * that they read what they are told to read. One that never connected counts, since its bootstrap may
 * name the old registry; one that is suspended or being deleted does not.
 *
 * @param targetOf the URL that a spoke is told to read
 * @param seen what each spoke had reported when the registry changed: such a report proves nothing
 */
export function dependentsOf(
  spokes: readonly Spoke[],
  targetOf: (spoke: Spoke) => string | undefined,
  seen: ReadonlyMap<string, Seen>,
): Dependent[] {
  const found: Dependent[] = [];
  for (const spoke of spokes) {
    const name = spoke.metadata.name ?? '';
    const target = targetOf(spoke);
    const left = spoke.spec?.suspend === true || spoke.metadata.deletionTimestamp !== undefined;
    if (left || target === undefined) continue;
    const reads = spoke.status?.registryUrl;
    const heartbeat = spoke.status?.lastHeartbeatTime;
    const before = seen.get(name);
    // Heartbeats have whole seconds; who reads something else than then has reported since all the same.
    const since = before === undefined || before.heartbeat !== heartbeat || before.reads !== reads;
    if (reads === target && since) continue;
    found.push({ name, target, reads, reported: heartbeat !== undefined });
  }
  return found;
}

const SHOWN = 10;

/** The dependents in words. */
export function describeDependents(dependents: readonly Dependent[]): string {
  const words = dependents.slice(0, SHOWN).map(({ name, reads, reported, target }) => {
    if (!reported) return `${name} (has never reported)`;
    if (reads === target) return `${name} (has not reported since)`;
    return `${name} (${reads === undefined ? 'does not say what it reads' : `reads ${reads}`})`;
  });
  const more = dependents.length - words.length;
  return [...words, ...(more > 0 ? [`${more} more`] : [])].join(', ');
}
