import { existsSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { readFile } from 'node:fs/promises';
import { backoff, isRecord, jsonEqual, silentLogger, systemClock } from '@mural/core';
import {
  KubeFleetView,
  KubeStateStore,
  KubeValuesStore,
  migrate,
  MigrationError,
  type MigrationWorld,
  previewMigration,
  registryPartHash,
  RegistryPair,
  rollBack,
} from '@mural/hub';
import { createKubeClient, type KubeClient, KubeError, MURAL_NAMESPACE, runWithLease } from '@mural/kube';
import { parseRepositoryUrl } from '@mural/oci';
import { parseValues, type Values } from '@mural/values';
import { stringify } from 'yaml';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { readDirectory } from '../home/directory.ts';
import { RELEASE_MANAGER, RELEASE_METADATA } from '../home/values-store.ts';
import { connectionOf, kubeconfigPath } from '../kubeconfig.ts';
import type { MigrateOptions } from './registry-migrate.ts';
import { type OpenEnd, openEnds, type ValuesText } from './registry-migrate-ends.ts';
import { previewText, type Progress, progressTo } from './registry-migrate-output.ts';
import { checkSpokes, spokeSecrets, type SpokeNeeds } from './registry-migrate-spokes.ts';
import { readValuesFile } from './values-actions.ts';

const LEASE = 'mural-registry-migration';
/** A run that was killed leaves a lease that expires after 15 s. */
const LEASE_WAIT_MS = 25_000;
const POLL_MS = 1000;

/** Moves the fleet from one registry to another, or back. */
export async function migrateRegistry(options: MigrateOptions, context: Context): Promise<void> {
  const client = createKubeClient(await connectionOf(context, options.kubeconfig));
  const closers: (() => Promise<void>)[] = [async () => client.close()];
  try {
    const ends = await endsOf(options, context, client);
    closers.push(
      async () => ends.from.registry.client.close(),
      async () => ends.to.registry.client.close(),
    );
    if (options.printSecrets !== undefined) {
      const objects = await spokeSecrets(ends, options.printSecrets);
      context.out(objects.map((object) => stringify(object)).join('---\n'));
      return;
    }
    await run(options, context, ends);
  } finally {
    await Promise.all(closers.map(async (close) => close()));
  }
}

async function run(options: MigrateOptions, context: Context, needs: SpokeNeeds): Promise<void> {
  const progress = progressTo(context, options.format, () => systemClock.now());
  const world = worldOf(options, context, needs, progress);
  const way = options.rollback === true ? 'from' : 'to';
  const secrets = options.rollback === true ? [] : await checkSpokes(needs, context.signal);
  if (options.dryRun === true) {
    const preview = await explained(needs, world, async () => previewMigration(world, way));
    const told = { ...preview, spokesThatNeedSecrets: secrets };
    if (options.format === 'json') context.out(`${JSON.stringify({ type: 'plan', ...told })}\n`);
    else context.out(`${previewText(preview)}${secretsText(secrets, options, 'needed before')}`);
    return;
  }
  if (secrets.length > 0 && options.yes !== true) await requireSecrets(world, secrets, options);
  await explained(needs, world, async () => driven(world, context, way));
  finish(options, needs, progress);
}

/** Holds the lease, so that one run drives at a time, and goes on when the API comes back after an outage. */
async function driven(world: MigrationWorld, context: Context, way: 'from' | 'to'): Promise<void> {
  const identity = `${hostname()}_${process.pid}_${randomUUID()}`;
  const waited = new AbortController();
  const stop = (): void => waited.abort(context.signal.reason);
  context.signal.addEventListener('abort', stop, { once: true });
  if (context.signal.aborted) stop();
  const giveUp = setTimeout(() => waited.abort(held()), LEASE_WAIT_MS);
  let done = false;
  try {
    await runWithLease(
      {
        client: clientOf(world),
        namespace: MURAL_NAMESPACE,
        name: LEASE,
        identity,
        signal: waited.signal,
      },
      async (signal) => {
        clearTimeout(giveUp);
        await patiently(world, signal, async () => {
          const run = way === 'to' ? migrate : rollBack;
          await run({ ...world, signal });
        });
        done = true;
      },
    );
  } finally {
    clearTimeout(giveUp);
    context.signal.removeEventListener('abort', stop);
  }
  if (done) return;
  if (context.signal.aborted) {
    throw new CliError('Stopped', 'stopped; what was done stays done', {
      hint: 'run it again to go on, or with --rollback to go back',
    });
  }
  throw held();
}
