import type { OwnerReference } from '@mural/kube';
import type { Api } from '../api.ts';
import type { DeleteRequest } from '../handlers/delete.ts';
import { remove } from '../handlers/delete.ts';
import { isDone } from '../handlers/update.ts';
import type { Stored } from '../objects.ts';
import { withMeta } from '../objects.ts';
import type { ApiResource } from '../resources/types.ts';
import type { Change } from '../storage/history.ts';
import type { Transaction } from '../storage/store.ts';
import { Worker } from './worker.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

/** Deletes what lost its owners, and carries out foreground and orphaning deletions. */
export function startGarbageCollector(api: Api): { stop(): Promise<void> } {
  const collector = new Collector(api);
  return { stop: () => collector.stop() };
}

class Collector {
  readonly #api: Api;
  readonly #worker: Worker;
  readonly #unsubscribe: () => void;
  /** Places of the objects that name an owner, by its uid. */
  readonly #dependents = new Map<string, Set<string>>();

  constructor(api: Api) {
    this.#api = api;
    this.#worker = new Worker({ ...api, name: 'garbage', work: (place) => this.#collect(place) });
    for (const resource of api.store.resources()) {
      for (const object of api.store.list(resource)) this.#consider(resource, object, undefined);
    }
    this.#unsubscribe = api.store.onChange((changes) => {
      for (const change of changes) this.#changed(change);
    });
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#worker.stop();
  }

  #changed(change: Change): void {
    if (!change.removed) {
      this.#consider(change.resource, change.object, change.previous);
      return;
    }
    this.#forget(change.resource, change.object);
    for (const place of this.#dependents.get(change.object.metadata.uid ?? '') ?? []) this.#worker.add(place);
    // An owner in foreground deletion may have waited for this one.
    for (const owner of change.object.metadata.ownerReferences ?? []) this.#addOwner(owner, change.namespace);
  }

  #consider(resource: string, object: Stored, previous: Stored | undefined): void {
    const { ownerReferences = [], finalizers = [], deletionTimestamp } = object.metadata;
    if (previous !== undefined && previous.metadata.ownerReferences !== object.metadata.ownerReferences) {
      this.#forget(resource, previous);
      for (const owner of previous.metadata.ownerReferences ?? [])
        this.#addOwner(owner, object.metadata.namespace ?? '');
    }
    const place = placeOf(resource, object);
    for (const owner of ownerReferences) {
      const places = this.#dependents.get(owner.uid) ?? new Set();
      this.#dependents.set(owner.uid, places.add(place));
    }
    const policy = finalizers.includes(FOREGROUND) || finalizers.includes(ORPHAN);
    if (ownerReferences.length > 0 || (deletionTimestamp !== undefined && policy)) this.#worker.add(place);
  }

  #forget(resource: string, object: Stored): void {
    const place = placeOf(resource, object);
    for (const owner of object.metadata.ownerReferences ?? []) {
      const places = this.#dependents.get(owner.uid);
      places?.delete(place);
      if (places?.size === 0) this.#dependents.delete(owner.uid);
    }
  }

  #addOwner(owner: OwnerReference, namespace: string): void {
    const resource = this.#resourceOf(owner);
    if (resource === undefined) return;
    this.#worker.add(`${resource.storage}\0${resource.namespaced ? namespace : ''}\0${owner.name}`);
  }

  /** The resource of an owner, whatever version of its group it names. */
  #resourceOf({ apiVersion, kind }: OwnerReference): ApiResource | undefined {
    const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
    return this.#api.resources.all().find((resource) => resource.group === group && resource.kind === kind);
  }

  async #collect(place: string): Promise<void> {
    const [storage = '', namespace = '', name = ''] = place.split('\0');
    const resource = this.#api.resources.byStorage(storage);
    if (resource === undefined) return;
    await this.#api.store.write((transaction) => {
      const object = transaction.get(storage, namespace, name);
      if (object === undefined) return;
      if (object.metadata.deletionTimestamp !== undefined) this.#carryOut(transaction, resource, object);
      else this.#judge(transaction, resource, object);
    });
  }

  /** An object that is not being deleted: does any of its owners still stand? */
  #judge(transaction: Transaction, resource: ApiResource, object: Stored): void {
    const owners = object.metadata.ownerReferences ?? [];
    if (owners.length === 0) return;
    const states = owners.map((owner) => ({ owner, state: this.#stateOf(transaction, owner, object) }));
    const gone = states.filter(({ state }) => state === 'gone');
    if (states.some(({ state }) => state === 'stands')) {
      if (gone.length > 0) {
        const left = states.filter(({ state }) => state !== 'gone').map(({ owner }) => owner);
        transaction.put(resource.storage, withMeta(object, { ownerReferences: left }));
      }
      return;
    }
    const foreground = states.some(({ state }) => state === 'foreground');
    remove(transaction, resource, object, this.#options(foreground ? 'Foreground' : ''));
  }

  #stateOf(
    transaction: Transaction,
    owner: OwnerReference,
    dependent: Stored,
  ): 'foreground' | 'gone' | 'stands' {
    const resource = this.#resourceOf(owner);
    // An owner of a kind that is not served cannot be judged.
    if (resource === undefined) return 'stands';
    // Nor one that an object of the cluster claims to have in some namespace.
    if (resource.namespaced && (dependent.metadata.namespace ?? '') === '') return 'stands';
    const namespace = resource.namespaced ? (dependent.metadata.namespace ?? '') : '';
    const found = transaction.get(resource.storage, namespace, owner.name);
    if (found === undefined || found.metadata.uid !== owner.uid) return 'gone';
    const deleting = found.metadata.deletionTimestamp !== undefined;
    return deleting && (found.metadata.finalizers ?? []).includes(FOREGROUND) ? 'foreground' : 'stands';
  }

  /** An object whose deletion waits for its dependents. */
  #carryOut(transaction: Transaction, resource: ApiResource, object: Stored): void {
    const finalizers = object.metadata.finalizers ?? [];
    const dependents = this.#dependentsOf(transaction, object);
    if (finalizers.includes(ORPHAN)) {
      for (const one of dependents) {
        const left = (one.object.metadata.ownerReferences ?? []).filter(
          (owner) => owner.uid !== object.metadata.uid,
        );
        transaction.put(
          one.resource.storage,
          withMeta(one.object, { ownerReferences: left.length === 0 ? undefined : left }),
        );
      }
      release(transaction, resource, object, ORPHAN);
      return;
    }
    if (!finalizers.includes(FOREGROUND)) return;
    for (const one of dependents) {
      if (one.object.metadata.deletionTimestamp === undefined)
        this.#judge(transaction, one.resource, one.object);
    }
    const blocking = this.#dependentsOf(transaction, object).filter(({ object: dependent }) =>
      (dependent.metadata.ownerReferences ?? []).some(
        (owner) => owner.uid === object.metadata.uid && owner.blockOwnerDeletion === true,
      ),
    );
    if (blocking.length === 0) release(transaction, resource, object, FOREGROUND);
  }

  #dependentsOf(
    transaction: Transaction,
    owner: Stored,
  ): { readonly resource: ApiResource; readonly object: Stored }[] {
    const found = [];
    for (const place of this.#dependents.get(owner.metadata.uid ?? '') ?? []) {
      const [storage = '', namespace = '', name = ''] = place.split('\0');
      const object = transaction.get(storage, namespace, name);
      const resource = this.#api.resources.byStorage(storage);
      if (object !== undefined && resource !== undefined) found.push({ resource, object });
    }
    return found;
  }

  #options(propagation: string): DeleteRequest {
    return {
      propagation,
      gracePeriodSeconds: undefined,
      uid: '',
      resourceVersion: '',
      dryRun: false,
      now: this.#api.clock.now(),
    };
  }
}

function placeOf(resource: string, object: Stored): string {
  return `${resource}\0${object.metadata.namespace ?? ''}\0${object.metadata.name ?? ''}`;
}

/** Takes a finalizer off; the object goes when it was the last. */
function release(transaction: Transaction, resource: ApiResource, object: Stored, finalizer: string): void {
  const left = (object.metadata.finalizers ?? []).filter((name) => name !== finalizer);
  const next = withMeta(object, { finalizers: left.length === 0 ? undefined : left });
  if (isDone(next)) transaction.remove(resource.storage, next);
  else transaction.put(resource.storage, next);
}
