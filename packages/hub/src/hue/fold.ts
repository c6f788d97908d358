import type { Spoke, SpokeWorkload, WorkloadSpokeStatus } from '@mural/kube';

/** What was published of a workload to one spoke. */
export interface SpokeRecord {
  readonly name: string;
  readonly tag: string;
  readonly digest: string;
}

/** The overall state of a workload over its spokes. */
export interface FleetState {
  readonly total: number;
  readonly ready: number;
  /** Spokes that report a failure. */
  readonly failed: readonly WorkloadSpokeStatus[];
  /** Spokes that have not applied what was published. */
  readonly waiting: readonly WorkloadSpokeStatus[];
}

/**
 * Joins what was published with what the spokes report. It is a function of both, so that it can be
 * repeated at any time.
 */
export function foldSpokes(
  records: readonly SpokeRecord[],
  spokeOf: (name: string) => Spoke | undefined,
  workload: { readonly namespace: string; readonly name: string },
): WorkloadSpokeStatus[] {
  return records.map((record) => {
    const spoke = spokeOf(record.name);
    const reported = spoke?.status?.workloads?.find(
      ({ name, namespace }) => name === workload.name && namespace === workload.namespace,
    );
    return foldOne(record, spoke, reported);
  });
}

function foldOne(
  record: SpokeRecord,
  spoke: Spoke | undefined,
  reported: SpokeWorkload | undefined,
): WorkloadSpokeStatus {
  if (reported === undefined) {
    const message =
      spoke?.status?.lastHeartbeatTime === undefined
        ? 'the spoke has not joined yet'
        : spoke.spec?.suspend === true
          ? 'the spoke is suspended'
          : 'the spoke has not reported the workload yet';
    return { ...record, ready: 'Unknown', reason: 'Progressing', message };
  }
  const known = {
    ...record,
    ...(reported.digest === undefined ? {} : { appliedDigest: reported.digest }),
    objects: reported.objects,
  };
  // A spoke that is ready with what it had before has still to get there; one that fails says why.
  if (reported.digest !== record.digest && reported.ready !== 'False') {
    return { ...known, ready: 'Unknown', reason: 'Progressing', message: 'the spoke has an older revision' };
  }
  return {
    ...known,
    ready: reported.ready,
    ...(reported.healthy === undefined ? {} : { healthy: reported.healthy }),
    ...(reported.healthReason === undefined ? {} : { healthReason: reported.healthReason }),
    ...(reported.reason === undefined ? {} : { reason: reported.reason }),
    ...(reported.message === undefined ? {} : { message: reported.message }),
    ...(reported.readyTime === undefined ? {} : { readyTime: reported.readyTime }),
  };
}

/** Counts. */
export function fleetState(spokes: readonly WorkloadSpokeStatus[]): FleetState {
  return {
    total: spokes.length,
    ready: spokes.filter(({ ready }) => ready === 'True').length,
    failed: spokes.filter(({ ready }) => ready === 'False'),
    waiting: spokes.filter(({ ready }) => ready === 'Unknown'),
  };
}

/** Reasons of Flux by which a Kustomization says that it is on its way, not that it failed. */
const ON_ITS_WAY = new Set(['DependencyNotReady', 'Progressing', 'ProgressingWithRetry', 'ArtifactFailed']);

/** Whether a failure of a spoke is one that waiting is the remedy for. */
export function isOnItsWay(spoke: WorkloadSpokeStatus): boolean {
  return spoke.ready !== 'True' && (spoke.reason === undefined || ON_ITS_WAY.has(spoke.reason));
}

/** Names for a message: the first few, and how many more. */
export function nameSome(spokes: readonly { readonly name: string }[], most = 3): string {
  const named = spokes.slice(0, most).map(({ name }) => name);
  const more = spokes.length - named.length;
  return more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
}
