import { type Spoke, type WorkloadDeployment, type WorkloadSpokeStatus } from '@mural/kube';
import { formatAge, formatTable, shortDigest } from './table.ts';

/** One workload on one spoke; or a spoke that has none yet. */
export interface FleetRow {
  readonly spoke: string;
  /** `namespace/name`. */
  readonly workload?: string;
  /** Digest that was published to the spoke. */
  readonly digest?: string;
  /** Digest that the spoke reports as applied. */
  readonly appliedDigest?: string;
  readonly objects?: number;
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly healthy?: 'True' | 'False' | 'Unknown';
  readonly healthReason?: string;
  readonly reason?: string;
  readonly message?: string;
  /** When the spoke was last heard of, RFC 3339. */
  readonly lastSeen?: string;
}

/** What each spoke runs, in the order of spokes and workloads. */
export function fleetRows(spokes: readonly Spoke[], deployments: readonly WorkloadDeployment[]): FleetRow[] {
  return [...spokes].sort(byName).flatMap((spoke) => {
    const lastSeen = spoke.status?.lastHeartbeatTime;
    const seen = lastSeen === undefined ? {} : { lastSeen };
    const name = spoke.metadata.name ?? '';
    const rows = [...deployments]
      .sort(byName)
      .flatMap((deployment) =>
        (deployment.status?.spokes ?? [])
          .filter((entry) => entry.name === name)
          .map((entry) => ({ ...workloadRow(deployment, entry), ...seen })),
      );
    return rows.length > 0 ? rows : [{ spoke: name, ready: readyOf(spoke), ...seen }];
  });
}

/** The rows as a table. */
export function formatFleet(rows: readonly FleetRow[], now: number): string {
  if (rows.length === 0) return 'There are no spokes yet: "mural spoke bootstrap NAME --create" adds one.\n';
  const heads = ['SPOKE', 'WORKLOAD', 'REVISION', 'OBJECTS', 'READY', 'HEALTHY', 'LAST SEEN', 'MESSAGE'];
  return formatTable(
    heads,
    rows.map((row) => [
      row.spoke,
      row.workload ?? '-',
      revisionOf(row),
      row.objects === undefined ? '-' : String(row.objects),
      row.ready,
      healthOf(row),
      row.lastSeen === undefined ? 'never' : formatAge(now - Date.parse(row.lastSeen)),
      row.ready === 'True' ? '' : shorten(row.message ?? row.reason ?? ''),
    ]),
  );
}

/** `Unknown (NoNodes)`: health with the reason where it is not simply there. */
export function healthOf(row: Pick<FleetRow, 'healthy' | 'healthReason'>): string {
  if (row.healthy === undefined) return '-';
  if (row.healthy === 'True' || row.healthReason === undefined) return row.healthy;
  return `${row.healthy} (${row.healthReason})`;
}

/** What is applied, and what is on its way when that is something else. */
function revisionOf(row: FleetRow): string {
  const applied = shortDigest(row.appliedDigest);
  const wanted = shortDigest(row.digest);
  return applied === wanted || row.digest === undefined ? applied : `${applied} → ${wanted}`;
}

function workloadRow(deployment: WorkloadDeployment, entry: WorkloadSpokeStatus): FleetRow {
  const { digest, appliedDigest, objects, ready, healthy, healthReason, reason, message } = entry;
  const row = {
    ...{ digest, appliedDigest, objects, healthy, healthReason, reason, message },
  };
  const known = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
  return {
    spoke: entry.name,
    workload: `${deployment.metadata.namespace ?? ''}/${deployment.metadata.name ?? ''}`,
    ready,
    ...known,
  };
}

function readyOf(spoke: Spoke): FleetRow['ready'] {
  return spoke.status?.conditions?.find((condition) => condition.type === 'Ready')?.status ?? 'Unknown';
}

function byName(
  a: { readonly metadata: { readonly namespace?: string; readonly name?: string } },
  b: { readonly metadata: { readonly namespace?: string; readonly name?: string } },
): number {
  const key = (object: typeof a): string =>
    `${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`;
  return key(a) < key(b) ? -1 : 1;
}

function shorten(text: string): string {
  const line = text.split('\n')[0] ?? '';
  return line.length > 100 ? `${line.slice(0, 99)}…` : line;
}
