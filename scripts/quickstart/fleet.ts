import { setTimeout as delay } from 'node:timers/promises';
import { type FleetRow, fleetRows, formatTable, healthOf, shortDigest } from '@mural/cli';
import {
  type KubeClient,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import type { Progress } from './progress.ts';

const POLL_MS = 150;

/**
 * Server-side apply of objects in the order given. Under the name of kubectl, so that a later
 * `kubectl apply --server-side` of the same file finds its own fields and no conflict.
 */
export async function applyAll(client: KubeClient, objects: readonly UnstructuredObject[]): Promise<void> {
  for (const object of objects) {
    const resource = await client.resourceFor(object.apiVersion, object.kind);
    if (resource === undefined) throw new Error(`the hub does not serve ${object.apiVersion} ${object.kind}`);
    const namespace = object.metadata.namespace ?? 'default';
    const placed = resource.namespaced ? { ...object, metadata: { ...object.metadata, namespace } } : object;
    await client.apply(resource, placed, { fieldManager: 'kubectl', force: true });
  }
}

/** One spoke that runs the workload, and how long that took. */
export interface Arrival {
  readonly row: FleetRow;
  readonly seconds: number;
}

/** What was last seen of the fleet: the reason to give when time runs out. */
export class Watch {
  #rows: readonly FleetRow[] = [];
  #deployment: WorkloadDeployment | undefined;

  /** Waits until each of the spokes runs the workload, as reported since `since`. */
  async arrivals(
    client: KubeClient,
    target: { readonly workload: string; readonly spokes: readonly string[]; readonly since: number },
    tools: { readonly progress: Progress; readonly signal: AbortSignal },
  ): Promise<Arrival[]> {
    const arrived = new Map<string, Arrival>();
    const [namespace = 'default', name = ''] = target.workload.split('/');
    const started = performance.now();
    for (;;) {
      const spokes = await client.list<Spoke>(SPOKES);
      this.#deployment = await client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, { namespace, name });
      this.#rows = fleetRows(spokes.items, [this.#deployment]);
      const current = this.#deployment.status?.observedGeneration === this.#deployment.metadata.generation;
      for (const spoke of target.spokes) {
        const row = this.#rows.find((candidate) => candidate.spoke === spoke);
        tools.progress.update(spoke, describeRow(row, current));
        const seen = row?.lastSeen !== undefined && Date.parse(row.lastSeen) >= target.since - 1000;
        if (row === undefined || !current || !seen || !isThere(row)) arrived.delete(spoke);
        else if (!arrived.has(spoke)) {
          arrived.set(spoke, { row, seconds: (performance.now() - started) / 1000 });
        }
      }
      if (arrived.size === target.spokes.length) {
        return target.spokes.flatMap((spoke) => arrived.get(spoke) ?? []);
      }
      await delay(POLL_MS, undefined, { signal: tools.signal });
    }
  }

  /** Where things stand, in words. */
  describe(): string {
    const conditions = this.#deployment?.status?.conditions ?? [];
    const rows = this.#rows.map((row) => `${row.spoke}: ${describeRow(row, true)}`);
    const told = conditions.map(({ type, status, message }) => `${type} is ${status}: ${message}`);
    return [...told, ...rows].join('\n  ');
  }
}

/** The closing table. */
export function formatArrivals(arrivals: readonly Arrival[]): string {
  return formatTable(
    ['SPOKE', 'WORKLOAD', 'REVISION', 'OBJECTS', 'READY', 'HEALTHY', 'TIME'],
    arrivals.map(({ row, seconds }) => [
      row.spoke,
      row.workload ?? '-',
      shortDigest(row.appliedDigest),
      String(row.objects ?? '-'),
      row.ready,
      healthOf(row),
      `${seconds.toFixed(1)} s`,
    ]),
  );
}

function isThere(row: FleetRow): boolean {
  return row.ready === 'True' && row.digest !== undefined && row.digest === row.appliedDigest;
}

function describeRow(row: FleetRow | undefined, current: boolean): string {
  if (row?.lastSeen === undefined) return 'not heard of yet';
  if (!current || row.workload === undefined) return 'connected';
  if (row.digest === undefined) return 'the hub renders';
  const wanted = shortDigest(row.digest);
  if (isThere(row)) return `${wanted} is ready, ${String(row.objects ?? 0)} objects`;
  const why = row.message ?? row.reason;
  return `${wanted} was published${why === undefined ? '' : `: ${why.split('\n')[0] ?? ''}`}`;
}
