import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { backoff, isRecord } from '@mural/core';
import { migrate, MigrationError, type MigrationWorld, rollBack } from '@mural/hub';
import {
  type KubeClient,
  KubeError,
  LEASES,
  MURAL_NAMESPACE,
  runWithLease,
  type UnstructuredObject,
} from '@mural/kube';
import { CliError } from '../errors.ts';

const LEASE = 'mural-registry-migration';
/** A run that was killed leaves a lease that others wait for; losing one costs no more than going on from the state. */
const LEASE_TIMES = { leaseDurationMs: 8000, renewDeadlineMs: 5000, retryPeriodMs: 1000 };
const LEASE_WAIT_MS = 15_000;
/** An API that does not answer for so long is not coming back by itself. */
const OUTAGE_MS = 5 * 60_000;

/**
 * Carries a migration out: one run at a time, which goes on by itself when the API of the hub was away
 * for a while.
 *
 * @throws MigrationError, also `Held`; CliError `Stopped` when the signal of the world aborts
 */
export async function drive(world: MigrationWorld, client: KubeClient, way: 'to' | 'from'): Promise<void> {
  const { clock } = world.ports;
  const waiting = new AbortController();
  const signal = AbortSignal.any([world.signal, waiting.signal]);
  const stopWaiting = clock.timer(LEASE_WAIT_MS, () => waiting.abort(new Error('the lease is not free')));
  const identity = `${hostname()}_${process.pid}_${randomUUID()}`;
  let done = false as boolean;
  try {
    await runWithLease(
      { client, namespace: MURAL_NAMESPACE, name: LEASE, identity, signal, clock, ...LEASE_TIMES },
      async (inner) => {
        stopWaiting();
        await throughOutages({ ...world, signal: inner }, way === 'to' ? migrate : rollBack);
        done = true;
      },
    );
  } finally {
    stopWaiting();
  }
  if (done) return;
  if (world.signal.aborted) {
    throw new CliError('Stopped', 'stopped; what was done stays done', {
      hint: 'run it again to go on, or with --rollback to go back',
    });
  }
  throw await held(client);
}

async function throughOutages(
  world: MigrationWorld,
  work: (world: MigrationWorld) => Promise<unknown>,
): Promise<void> {
  const { clock, random, progress } = world.ports;
  let since: number | undefined;
  for (let attempt = 1; ; attempt += 1) {
    const began = clock.now();
    try {
      await work(world);
      return;
    } catch (error) {
      if (!(error instanceof KubeError) || !error.retryable || world.signal.aborted) throw error;
      // A run that got somewhere begins the count anew.
      if (clock.now() - began > OUTAGE_MS / 10) [since, attempt] = [undefined, 1];
      since ??= clock.now();
      if (clock.now() - since > OUTAGE_MS) throw error;
      progress({ type: 'warning', message: `${error.message}; trying again` });
      await clock.sleep(backoff(attempt, 1000, 15_000, random), world.signal);
    }
  }
}

async function held(client: KubeClient): Promise<MigrationError> {
  const ref = { name: LEASE, namespace: MURAL_NAMESPACE };
  const lease = await client.find<UnstructuredObject>(LEASES, ref);
  const spec = isRecord(lease?.['spec']) ? lease['spec'] : {};
  const holder = spec['holderIdentity'];
  const [host = 'somebody', pid = '?'] = (typeof holder === 'string' ? holder : '').split('_');
  return new MigrationError(
    'Held',
    `another run of this command drives the migration (process ${pid} on ${host})`,
    {
      facts: { host, pid },
      hint: 'Wait for its end, or stop it; a run that was killed is forgotten after 8 seconds.',
      retryable: true,
    },
  );
}
