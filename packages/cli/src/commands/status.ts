import { createKubeClient, type KubeClient, type Spoke, SPOKES } from '@mural/kube';
import { systemClock } from '@mural/core';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { type FleetRow, fleetRows, formatFleet } from '../fleet-table.ts';
import { connectionOf } from '../kubeconfig.ts';
import { WORKLOAD_DEPLOYMENTS, type WorkloadDeployment } from '@mural/kube';

interface StatusOptions {
  readonly kubeconfig?: string;
  readonly output: 'table' | 'json';
  readonly watch?: boolean;
}

const WATCH_INTERVAL_MS = 1000;

/** `mural status`. */
export function addStatus(program: Command, context: Context): void {
  program
    .command('status')
    .description('the fleet at a glance: what each spoke runs')
    .option('--kubeconfig <file>', 'kubeconfig of the hub; $KUBECONFIG or .mural/kubeconfig unless given')
    .addOption(
      new Option('-o, --output <format>', 'table or json').choices(['table', 'json']).default('table'),
    )
    .option('-w, --watch', 'print it again whenever it changes, until Ctrl-C')
    .action(async (options: StatusOptions) => status(options, context));
}

async function status(options: StatusOptions, context: Context): Promise<void> {
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

/** The rows of the fleet, as the hub's API tells them. */
export async function readFleet(client: KubeClient): Promise<FleetRow[]> {
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
