import { systemClock } from '@mural/core';
import {
  createKubeClient,
  type KubeClient,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import type { Context } from '../context.ts';
import { type FleetRow, fleetRows, formatFleet } from '../fleet-table.ts';
import { connectionOf } from '../kubeconfig.ts';
import type { StatusOptions } from './status.ts';

const WATCH_INTERVAL_MS = 1000;

/** Prints the fleet, once or whenever it changes. */
export async function showStatus(options: StatusOptions, context: Context): Promise<void> {
  const client = createKubeClient(await connectionOf(context, options.kubeconfig));
  try {
    let last = '';
    do {
      const rows = await readFleet(client);
      // What only ages is no change.
      const facts = JSON.stringify(rows.map((row) => ({ ...row, lastSeen: undefined })));
      if (facts !== last) context.out(print(rows, options.output));
      last = facts;
    } while (options.watch === true && (await slept(context.signal)));
  } finally {
    await client.close();
  }
}

async function readFleet(client: KubeClient): Promise<FleetRow[]> {
  const spokes = await client.list<Spoke>(SPOKES);
  const deployments = await client.list<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS);
  return fleetRows(spokes.items, deployments.items);
}

function print(rows: readonly FleetRow[], output: StatusOptions['output']): string {
  if (output === 'json') return `${JSON.stringify(rows, null, 2)}\n`;
  return formatFleet(rows, systemClock.now());
}

async function slept(signal: AbortSignal): Promise<boolean> {
  try {
    await systemClock.sleep(WATCH_INTERVAL_MS, signal);
    return true;
  } catch {
    return false;
  }
}
