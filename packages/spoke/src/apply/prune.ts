import { type Clock, errorMessage, mapLimit } from '@mural/core';
import {
  type InventoryEntry,
  KUSTOMIZE_NAME_LABEL,
  KUSTOMIZE_NAMESPACE_LABEL,
  isKubeError,
  type KubeClient,
  type Resource,
  type UnstructuredObject,
} from '@mural/kube';
import type { SourceRef } from '../source/storage.ts';
import { hasOption } from './annotations.ts';
import { compareObjects, describeObject } from './order.ts';
import { inventoryId, objectOfEntry } from './inventory.ts';

/** What pruning did. */
export interface PruneResult {
  /** Objects that deletion was asked for, as events name them. */
  readonly deleted: readonly UnstructuredObject[];
  /** Those, and our objects that were being deleted already. */
  readonly leaving: readonly UnstructuredObject[];
  /** Entries whose objects could not be deleted; they stay in the inventory. */
  readonly survivors: readonly InventoryEntry[];
  readonly errors: readonly string[];
}

/** Where and how objects are pruned. */
export interface PruneOptions {
  readonly client: KubeClient;
  /** The Kustomization whose labels an object must still carry. */
  readonly owner: SourceRef;
  /** Ids of objects that stay, under whatever other id an entry may know them. */
  readonly keep?: ReadonlySet<string> | undefined;
  readonly concurrency: number;
  readonly signal: AbortSignal;
}

type Outcome =
  | { readonly kind: 'gone' }
  | { readonly kind: 'deleted' | 'terminating'; readonly object: UnstructuredObject }
  | { readonly kind: 'failed'; readonly entry: InventoryEntry; readonly error: string };

/**
 * Deletes, in the background and in reverse order of application, the objects of `entries` that still
 * carry the labels of `owner` and do not ask to be kept. One that cannot be deleted does not stop the rest.
 */
export async function pruneObjects(
  entries: readonly InventoryEntry[],
  options: PruneOptions,
): Promise<PruneResult> {
  const candidates = entries
    .map((entry) => ({ entry, object: objectOfEntry(entry) }))
    .filter((candidate) => candidate.object !== undefined)
    .map(({ entry, object }) => ({ entry, object: object as UnstructuredObject }))
    .sort((a, b) => compareObjects(b.object, a.object));
  const outcomes = await mapLimit(candidates, options.concurrency, async ({ entry, object }) => {
    try {
      return await pruneOne(object, options);
    } catch (error) {
      options.signal.throwIfAborted();
      const text = `${describeObject(object)} delete failed: ${errorMessage(error)}`;
      return { kind: 'failed', entry, error: text } satisfies Outcome;
    }
  });
  return {
    deleted: outcomes.flatMap((outcome) => (outcome.kind === 'deleted' ? [outcome.object] : [])),
    leaving: outcomes.flatMap((outcome) => ('object' in outcome ? [outcome.object] : [])),
    survivors: outcomes.flatMap((outcome) => (outcome.kind === 'failed' ? [outcome.entry] : [])),
    errors: outcomes.flatMap((outcome) => (outcome.kind === 'failed' ? [outcome.error] : [])),
  };
}

async function pruneOne(entry: UnstructuredObject, options: PruneOptions): Promise<Outcome> {
  const { client, signal } = options;
  const resource = await client.resourceFor(entry.apiVersion, entry.kind);
  // A kind that the API does not serve any more has no objects either.
  if (resource === undefined) return { kind: 'gone' };
  const object = placedAs(entry, resource);
  if (options.keep?.has(inventoryId(object)) === true) return { kind: 'gone' };
  const { name = '', namespace } = object.metadata;
  const live = await client.find<UnstructuredObject>(resource, { name, namespace }, { signal });
  if (live === undefined || !isOwned(live, options.owner)) return { kind: 'gone' };
  if (live.metadata.deletionTimestamp !== undefined) return { kind: 'terminating', object };
  if (isKept(live)) return { kind: 'gone' };
  const { uid } = live.metadata;
  try {
    await client.delete(
      resource,
      { name, namespace },
      {
        propagationPolicy: 'Background',
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        signal,
      },
    );
  } catch (error) {
    // Gone already, or replaced by another object of the same name, which is not ours to delete.
    if (isKubeError(error, 'NotFound', 'Conflict')) return { kind: 'gone' };
    throw error;
  }
  return { kind: 'deleted', object };
}

/** An entry may have been written before the API knew the kind, and whether it is namespaced. */
function placedAs(object: UnstructuredObject, { namespaced }: Resource): UnstructuredObject {
  const { namespace = 'default', ...metadata } = object.metadata;
  return { ...object, metadata: namespaced ? { ...metadata, namespace } : metadata };
}

function isOwned({ metadata }: UnstructuredObject, owner: SourceRef): boolean {
  return (
    metadata.labels?.[KUSTOMIZE_NAME_LABEL] === owner.name &&
    metadata.labels[KUSTOMIZE_NAMESPACE_LABEL] === owner.namespace
  );
}

function isKept(object: UnstructuredObject): boolean {
  return hasOption(object, 'prune', 'disabled') || hasOption(object, 'reconcile', 'disabled');
}

/** Waits until none of `objects` is there any more; `false` when `timeoutMs` is over first. */
export async function waitGone(
  { client, clock }: { readonly client: KubeClient; readonly clock: Clock },
  objects: readonly UnstructuredObject[],
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<boolean> {
  const end = clock.now() + timeoutMs;
  for (const object of objects) {
    const resource = await client.resourceFor(object.apiVersion, object.kind);
    const { name = '', namespace } = object.metadata;
    while (
      resource !== undefined &&
      (await client.find(resource, { name, namespace }, { signal })) !== undefined
    ) {
      if (clock.now() >= end) return false;
      await clock.sleep(250, signal);
    }
  }
  return true;
}
