import { rfc3339 } from '@mural/core';
import type { Api } from '../api.ts';
import { remove } from '../handlers/delete.ts';
import { isDone } from '../handlers/update.ts';
import type { Stored } from '../objects.ts';
import { digList, digStrings, setIn } from '../objects.ts';
import type { ApiResource } from '../resources/types.ts';
import type { Transaction } from '../storage/store.ts';
import { Worker } from './worker.ts';

/** Empties namespaces that are being deleted, then lets them go. */
export function startNamespaceController(api: Api): { stop(): Promise<void> } {
  const worker = new Worker({ ...api, name: 'namespaces', work: (name) => sweep(api, name) });
  const consider = (namespace: Stored | undefined): void => {
    if (namespace?.metadata.deletionTimestamp !== undefined) worker.add(namespace.metadata.name ?? '');
  };
  for (const namespace of api.store.list('namespaces')) consider(namespace);
  const unsubscribe = api.store.onChange((changes) => {
    for (const change of changes) {
      if (change.resource === 'namespaces') consider(change.removed ? undefined : change.object);
      // The last object with a finalizer may have been what the namespace waited for.
      else if (change.removed && change.namespace !== '')
        consider(api.store.get('namespaces', '', change.namespace));
    }
  });
  return {
    stop: async () => {
      unsubscribe();
      await worker.stop();
    },
  };
}

async function sweep(api: Api, name: string): Promise<void> {
  await api.store.write((transaction) => {
    const namespace = transaction.get('namespaces', '', name);
    if (namespace?.metadata.deletionTimestamp === undefined) return;
    const remaining = empty(api, transaction, name);
    finalize(transaction, namespace, remaining, rfc3339(api.clock.now()));
  });
}

/** What is left in a namespace after everything in it was deleted. */
interface Remaining {
  readonly resource: ApiResource;
  readonly objects: readonly Stored[];
}

function empty(api: Api, transaction: Transaction, namespace: string): Remaining[] {
  const seen = new Set<string>();
  const left: Remaining[] = [];
  for (const resource of api.resources.all()) {
    if (!resource.namespaced || seen.has(resource.storage)) continue;
    seen.add(resource.storage);
    const objects = transaction
      .list(resource.storage, namespace)
      .map((object) => remove(transaction, resource, object, options(api)))
      .filter((removal) => !removal.removed)
      .map((removal) => removal.object);
    if (objects.length > 0) left.push({ resource, objects });
  }
  return left;
}

function options(api: Api): Parameters<typeof remove>[3] {
  return {
    propagation: 'Background',
    gracePeriodSeconds: undefined,
    uid: '',
    resourceVersion: '',
    dryRun: false,
    now: api.clock.now(),
  };
}

function finalize(
  transaction: Transaction,
  namespace: Stored,
  remaining: readonly Remaining[],
  now: string,
): void {
  if (remaining.length > 0) {
    const next = setIn(namespace, ['status', 'conditions'], conditions(namespace, remaining, now)) as Stored;
    if (JSON.stringify(next) !== JSON.stringify(namespace)) transaction.put('namespaces', next);
    return;
  }
  const others = digStrings(namespace, 'spec', 'finalizers').filter(
    (finalizer) => finalizer !== 'kubernetes',
  );
  const next = setIn(namespace, ['spec', 'finalizers'], others.length === 0 ? undefined : others) as Stored;
  if (isDone(next)) transaction.remove('namespaces', next);
  else if (others.length < digStrings(namespace, 'spec', 'finalizers').length)
    transaction.put('namespaces', next);
}

/** The five conditions of a namespace on its way out, in the order that kube-controller-manager writes. */
function conditions(namespace: Stored, remaining: readonly Remaining[], now: string): object[] {
  const content = remaining
    .map(({ resource, objects }) => {
      const name = resource.group === '' ? `${resource.plural}.` : `${resource.plural}.${resource.group}`;
      return `${name} has ${objects.length} resource instances`;
    })
    .sort()
    .join(', ');
  const counts = new Map<string, number>();
  for (const object of remaining.flatMap((one) => one.objects)) {
    for (const finalizer of object.metadata.finalizers ?? []) {
      counts.set(finalizer, (counts.get(finalizer) ?? 0) + 1);
    }
  }
  const finalizers = [...counts].sort().map(([name, count]) => `${name} in ${count} resource instances`);
  const held = finalizers.length > 0;
  const wanted = [
    [
      'NamespaceDeletionDiscoveryFailure',
      'False',
      'ResourcesDiscovered',
      'All resources successfully discovered',
    ],
    [
      'NamespaceDeletionGroupVersionParsingFailure',
      'False',
      'ParsedGroupVersions',
      'All legacy kube types successfully parsed',
    ],
    [
      'NamespaceDeletionContentFailure',
      'False',
      'ContentDeleted',
      'All content successfully deleted, may be waiting on finalization',
    ],
    ['NamespaceContentRemaining', 'True', 'SomeResourcesRemain', `Some resources are remaining: ${content}`],
    [
      'NamespaceFinalizersRemaining',
      held ? 'True' : 'False',
      held ? 'SomeFinalizersRemain' : 'ContentHasNoFinalizers',
      held
        ? `Some content in the namespace has finalizers remaining: ${finalizers.join(', ')}`
        : 'All content-preserving finalizers finished',
    ],
  ] as const;
  const old = digList(namespace, 'status', 'conditions') as readonly Record<string, unknown>[];
  return wanted.map(([type, status, reason, message]) => {
    const before = old.find((one) => one['type'] === type);
    const time = before?.['status'] === status ? before['lastTransitionTime'] : now;
    return { lastTransitionTime: time, message, reason, status, type };
  });
}
