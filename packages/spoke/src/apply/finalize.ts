import { type EventRecorder, KUSTOMIZATIONS, type Kustomization, ReconcileError } from '@mural/kube';
import { removeFinalizer } from '../status.ts';
import { pruneObjects, waitGone } from './prune.ts';
import { type ApplyTools, timeoutOf } from './steps.ts';

/**
 * Ends a Kustomization that is being deleted: its objects go or stay by `deletionPolicy` (by default they go
 * if it pruned), then it may go itself. A suspended one leaves its objects alone.
 *
 * @throws ReconcileError when objects could not be deleted; the finalizer then stays for another try
 */
export async function finalize(
  object: Kustomization,
  tools: ApplyTools,
  events: EventRecorder,
  write: { readonly fieldManager: string; readonly signal: AbortSignal },
): Promise<void> {
  const { metadata, spec, status } = object;
  const entries = status?.inventory?.entries ?? [];
  const policy = spec.deletionPolicy ?? 'MirrorPrune';
  const deletes = policy === 'MirrorPrune' ? spec.prune : policy !== 'Orphan';
  if (deletes && spec.suspend !== true && entries.length > 0) {
    const owner = { namespace: metadata.namespace ?? '', name: metadata.name ?? '' };
    const { client, clock, concurrency } = tools;
    const result = await pruneObjects(entries, { client, owner, concurrency, signal: write.signal });
    if (result.errors.length > 0) {
      const message = result.errors.slice(0, 5).join('; ');
      events.event(object, 'Warning', 'PruneFailed', message);
      throw new ReconcileError('generic', 'PruneFailed', message);
    }
    if (policy === 'WaitForTermination') {
      const timeoutMs = timeoutOf(spec);
      if (!(await waitGone({ client, clock }, result.leaving, { timeoutMs, signal: write.signal }))) {
        throw new ReconcileError('generic', 'PruneFailed', 'objects are still being deleted');
      }
    }
  }
  await removeFinalizer(tools.client, KUSTOMIZATIONS, object, write);
}
