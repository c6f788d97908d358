import type { Api } from '../api.ts';
import { remove } from '../handlers/delete.ts';
import type { Stored } from '../objects.ts';
import { digString, withMeta } from '../objects.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import { CRD_FINALIZER } from './crd-status.ts';
import { Worker } from './worker.ts';

/** Deletes the objects of a CRD that is being deleted, then lets the CRD go. */
export function startCustomResourceController(api: Api): { stop(): Promise<void> } {
  const worker = new Worker({ ...api, name: 'custom-resources', work: (name) => clean(api, name) });
  const consider = (crd: Stored): void => {
    if (waitsForObjects(crd)) worker.add(crd.metadata.name ?? '');
  };
  for (const crd of api.store.list(CRD_STORAGE)) consider(crd);
  const unsubscribe = api.store.onChange((changes) => {
    for (const change of changes) {
      if (change.resource === CRD_STORAGE && !change.removed) consider(change.object);
      else if (change.removed && change.resource.includes('.')) {
        const crd = api.store.list(CRD_STORAGE).find((one) => storageOf(one) === change.resource);
        if (crd !== undefined) consider(crd);
      }
    }
  });
  return {
    stop: async () => {
      unsubscribe();
      await worker.stop();
    },
  };
}

function waitsForObjects(crd: Stored): boolean {
  const { deletionTimestamp, finalizers = [] } = crd.metadata;
  return deletionTimestamp !== undefined && finalizers.includes(CRD_FINALIZER);
}

function storageOf(crd: Stored): string {
  return `${digString(crd, 'spec', 'group')}/${digString(crd, 'spec', 'names', 'plural')}`;
}

/** A definition that took the name of a built-in resource was never served; its objects are not its own. */
function isBuiltin(api: Api, storage: string): boolean {
  return api.resources.builtin().some((resource) => resource.storage === storage);
}

async function clean(api: Api, name: string): Promise<void> {
  await api.store.write((transaction) => {
    const crd = transaction.get(CRD_STORAGE, '', name);
    if (crd === undefined || !waitsForObjects(crd)) return;
    const storage = storageOf(crd);
    const resource = api.resources.custom().find((one) => one.storage === storage);
    const options = {
      propagation: 'Background',
      gracePeriodSeconds: undefined,
      uid: '',
      resourceVersion: '',
      dryRun: false,
      now: api.clock.now(),
    };
    const objects = isBuiltin(api, storage) ? [] : transaction.list(storage);
    const left = objects.filter((object) => {
      // What is not served any more has nobody who could take its finalizers off.
      if (resource === undefined) transaction.remove(storage, object);
      return resource !== undefined && !remove(transaction, resource, object, options).removed;
    });
    if (left.length > 0) return;
    const finalizers = (crd.metadata.finalizers ?? []).filter((finalizer) => finalizer !== CRD_FINALIZER);
    const next = withMeta(crd, { finalizers: finalizers.length === 0 ? undefined : finalizers });
    if (finalizers.length === 0) transaction.remove(CRD_STORAGE, next);
    else transaction.put(CRD_STORAGE, next);
  });
}
