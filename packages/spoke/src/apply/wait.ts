import type { Clock } from '@mural/core';
import { type KubeClient, objectStatus } from '@mural/kube';
import { type AppliedObject, ApplyError } from './applier.ts';
import { describeObject } from './order.ts';

const POLL_MS = 250;
const MAX_WAIT_MS = 60_000;

/**
 * Waits until what a stage defined can be used: definitions are established, namespaces active.
 *
 * @throws ApplyError `NotEstablished` after `timeoutMs`, or a minute if that is shorter
 */
export async function waitEstablished(
  { client, clock }: { readonly client: KubeClient; readonly clock: Clock },
  objects: readonly AppliedObject[],
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const end = clock.now() + Math.min(timeoutMs, MAX_WAIT_MS);
  for (const { action, live } of objects) {
    if (action === 'skipped') continue;
    let current = live;
    for (;;) {
      const { status, message } = objectStatus(current);
      if (status === 'Current') break;
      if (status === 'Failed' || clock.now() >= end) {
        throw new ApplyError('NotEstablished', `${describeObject(current)} is not established: ${message}`, {
          retryable: true,
        });
      }
      await clock.sleep(POLL_MS, signal);
      const resource = await client.resourceFor(current.apiVersion, current.kind);
      const { name = '', namespace } = current.metadata;
      if (resource !== undefined) current = await client.get(resource, { name, namespace }, { signal });
    }
  }
}
