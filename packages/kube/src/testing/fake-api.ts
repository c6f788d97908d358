import { randomBytes, randomUUID } from 'node:crypto';
import { type Clock, jsonEqual, rfc3339, systemClock } from '@mural/core';
import type {
  ApplyOptions,
  DeleteOptions,
  KubeClient,
  ListOptions,
  ObjectRef,
  PatchType,
  RequestOptions,
  WatchOptions,
  WriteOptions,
} from '../client.ts';
import { isKubeError } from '../errors.ts';
import {
  apiVersionOf,
  type KubeList,
  type KubeObject,
  objectKey,
  type Resource,
  type UnstructuredObject,
  type WatchEvent,
} from '../objects.ts';
import {
  definedResources,
  KNOWN_RESOURCES,
  NO_GENERATION,
  STATUS_DEFAULTS,
  WITH_STATUS,
} from './fake-kinds.ts';
import {
  combine,
  conflict,
  contentOf,
  failure,
  qualified,
  keyOf,
  managerOf,
  matcher,
  notFound,
  refOf,
  statusOf,
  without,
  withStringData,
} from './fake-objects.ts';
import { FakeHistory } from './fake-watches.ts';
import { jsonPatch, mergeApply, mergePatch, withoutAbandoned } from './patches.ts';

/** One call that a fake API answered. */
export interface FakeCall {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'replace' | 'patch' | 'apply' | 'delete';
  readonly resource: Resource;
  /** `namespace/name` or name; of a list or watch the namespace, or nothing. */
  readonly key: string;
  readonly subresource?: string | undefined;
  readonly dryRun: boolean;
  /** What was written. */
  readonly body?: unknown;
}

export interface FakeKubeApiOptions {
  readonly clock?: Clock | undefined;
  /** Objects that are there from the start, with their status. */
  readonly objects?: readonly KubeObject[] | undefined;
  /** Resources that discovery knows beside the built-in ones, ours and Flux's. */
  readonly resources?: readonly Resource[] | undefined;
}

/** A {@link KubeClient} with the API behind it in memory. */
export interface FakeKubeApi extends KubeClient {
  /** All calls so far, oldest first. */
  readonly calls: readonly FakeCall[];
  /** Called before each call is answered; what it throws is the answer. */
  intercept: ((call: FakeCall) => void | Promise<void>) | undefined;
  /** Stores objects as they are, status and all, past every check. */
  seed(...objects: readonly KubeObject[]): void;
  /** What is stored of a resource now. */
  stored<T extends KubeObject = UnstructuredObject>(resource: Resource): T[];
  /** Ends all watches as a server does. */
  endWatches(): void;
  /** Forgets the history, so that old watches fail with `Expired`. */
  expireHistory(): void;
}

/**
 * An API for unit tests of controllers: versions, generations, finalizers, owner references, status
 * as a subresource, label and name selectors, all kinds of patches, watches. Schemas, defaults,
 * admission, namespaces' existence and apply conflicts are not checked; apply replaces lists as a
 * whole, and a strategic patch is taken as a merge patch.
 */
export function createFakeKubeApi(options: FakeKubeApiOptions = {}): FakeKubeApi {
  return new FakeApi(options);
}

interface Written {
  readonly verb: FakeCall['verb'];
  readonly options: WriteOptions;
}

class FakeApi implements FakeKubeApi {
  readonly calls: FakeCall[] = [];
  intercept: FakeKubeApi['intercept'];
  readonly #clock: Clock;
  readonly #resources: readonly Resource[];
  readonly #objects = new Map<string, Map<string, UnstructuredObject>>();
  readonly #histories = new Map<string, FakeHistory>();
  /** By uid and manager: what was applied last. */
  readonly #applied = new Map<string, Map<string, UnstructuredObject>>();
  #version = 1;
  #oldest = 0;

  constructor(options: FakeKubeApiOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#resources = [...(options.resources ?? []), ...KNOWN_RESOURCES];
    this.seed(...(options.objects ?? []));
  }

  async get<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    options: RequestOptions = {},
  ): Promise<T> {
    await this.#answer({ verb: 'get', resource, key: keyOf(ref), dryRun: false }, options);
    return structuredClone(this.#existing(resource, ref)) as KubeObject as T;
  }

  async find<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    options?: RequestOptions,
  ): Promise<T | undefined> {
    try {
      return await this.get<T>(resource, ref, options);
    } catch (error) {
      if (isKubeError(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(
    resource: Resource,
    options: ListOptions & RequestOptions = {},
  ): Promise<KubeList<T>> {
    const key = options.namespace ?? '';
    await this.#answer({ verb: 'list', resource, key, dryRun: false }, options);
    const matches = matcher(options);
    const items = [...this.#table(resource).values()]
      .filter(matches)
      .map((object) => structuredClone(object) as KubeObject as T);
    return {
      apiVersion: apiVersionOf(resource),
      kind: `${resource.kind}List`,
      metadata: { resourceVersion: String(this.#version) },
      items,
    };
  }

  async create<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, generateName, namespace } = object.metadata;
    const full = name ?? `${generateName ?? ''}${randomBytes(4).toString('hex').slice(0, 5)}`;
    const ref = { name: full, namespace: resource.namespaced ? namespace : undefined };
    await this.#write({ verb: 'create', options }, resource, ref, object);
    if (this.#table(resource).has(keyOf(ref))) {
      throw failure('AlreadyExists', 409, `${qualified(resource)} "${full}" already exists`);
    }
    return this.#insert(
      resource,
      { ...object, metadata: { ...object.metadata, name: full } },
      options,
    ) as KubeObject as T;
  }

  async replace<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const ref = refOf(resource, object);
    await this.#write({ verb: 'replace', options }, resource, ref, object);
    return this.#update(resource, ref, options, () => object) as KubeObject as T;
  }

  async patch<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    await this.#write({ verb: 'patch', options }, resource, ref, body);
    return this.#update(resource, ref, options, (before) =>
      type === 'json' ? jsonPatch(before, body) : mergePatch(before, body),
    ) as KubeObject as T;
  }

  async apply<T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions): Promise<T> {
    const ref = refOf(resource, object);
    await this.#write({ verb: 'apply', options }, resource, ref, object);
    const before = this.#table(resource).get(keyOf(ref));
    if (before === undefined) {
      if (options.subresource !== undefined) throw notFound(resource, ref);
      const stored = this.#insert(resource, object, options);
      if (options.dryRun !== true) this.#rememberApplied(stored, object, options);
      return stored as KubeObject as T;
    }
    const managers = this.#applied.get(before.metadata.uid ?? '');
    const slot = managerOf(options);
    const last = managers?.get(slot);
    const others = [...(managers ?? [])]
      .filter(([manager]) => manager !== slot)
      .map(([, applied]) => applied);
    const stored = this.#update(resource, ref, options, (current) => {
      const kept =
        last === undefined
          ? current
          : withoutAbandoned(current, last, object as KubeObject as UnstructuredObject, others);
      return mergeApply(kept, object);
    });
    if (options.dryRun !== true) this.#rememberApplied(stored, object, options);
    return stored as KubeObject as T;
  }

  async delete(resource: Resource, ref: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    await this.#answer({ verb: 'delete', resource, key: keyOf(ref), dryRun: false }, options);
    const before = this.#existing(resource, ref);
    const { uid, resourceVersion } = options.preconditions ?? {};
    if (
      (uid !== undefined && uid !== before.metadata.uid) ||
      (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
    ) {
      throw conflict(resource, ref);
    }
    if ((before.metadata.finalizers ?? []).length === 0) this.#remove(resource, before);
    else if (before.metadata.deletionTimestamp === undefined) {
      const generation = (before.metadata.generation ?? 0) + 1;
      const deletionTimestamp = rfc3339(this.#clock.now());
      this.#store(resource, { ...before, metadata: { ...before.metadata, generation, deletionTimestamp } });
    }
  }

  async *watch<T extends KubeObject>(
    resource: Resource,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const key = options.namespace ?? '';
    await this.#answer({ verb: 'watch', resource, key, dryRun: false }, options);
    const from = Number(options.resourceVersion);
    const events = this.#history(resource).follow(from, matcher(options), options.signal);
    for await (const event of events) yield event as WatchEvent<KubeObject> as WatchEvent<T>;
  }

  async resourceFor(apiVersion: string, kind: string): Promise<Resource | undefined> {
    const defined = definedResources([...(this.#objects.get(CRDS)?.values() ?? [])]);
    return [...this.#resources, ...defined].find(
      (resource) => resource.kind === kind && apiVersionOf(resource) === apiVersion,
    );
  }

  async raw(path: string): Promise<string> {
    return path === '/version' ? '{"major":"1","minor":"36","gitVersion":"v1.36.0"}' : 'ok';
  }

  async close(): Promise<void> {
    this.endWatches();
  }

  seed(...objects: readonly KubeObject[]): void {
    for (const object of objects) {
      const resource = this.#resources.find(
        ({ kind, group, version }) =>
          kind === object.kind && apiVersionOf({ group, version }) === object.apiVersion,
      );
      if (resource === undefined) throw failure('NotFound', 404, `no resource for ${object.kind}`);
      const before = this.#table(resource).get(objectKey(object));
      this.#store(
        resource,
        withStringData({ ...this.#fresh(resource, object), ...statusOf(object) }),
        before,
      );
    }
  }

  stored<T extends KubeObject = UnstructuredObject>(resource: Resource): T[] {
    return [...this.#table(resource).values()].map((object) => structuredClone(object) as KubeObject as T);
  }

  endWatches(): void {
    for (const history of this.#histories.values()) history.endAll();
  }

  expireHistory(): void {
    this.#version += 1;
    this.#oldest = this.#version;
    for (const history of this.#histories.values()) history.expire(this.#oldest);
  }

  async #write(written: Written, resource: Resource, ref: ObjectRef, body: unknown): Promise<void> {
    const { verb, options } = written;
    const { subresource, dryRun = false } = options;
    const call = { verb, resource, key: keyOf(ref), subresource, dryRun, body: structuredClone(body) };
    await this.#answer(call, options);
    if (resource.namespaced && (ref.namespace === undefined || ref.namespace === '')) {
      throw failure('BadRequest', 400, `${resource.kind} "${ref.name}" needs a namespace`);
    }
  }

  async #answer(call: FakeCall, options: RequestOptions): Promise<void> {
    options.signal?.throwIfAborted();
    this.calls.push(call);
    await this.intercept?.(call);
    // As over a network, no answer comes in the same turn.
    await Promise.resolve();
  }

  #fresh(resource: Resource, object: KubeObject): UnstructuredObject {
    const kept = WITH_STATUS.has(resource.kind) ? without(object, 'status') : object;
    return {
      ...kept,
      metadata: {
        ...object.metadata,
        uid: object.metadata.uid ?? randomUUID(),
        creationTimestamp: object.metadata.creationTimestamp ?? rfc3339(this.#clock.now()),
        ...(NO_GENERATION.has(resource.kind) ? {} : { generation: object.metadata.generation ?? 1 }),
      },
      ...STATUS_DEFAULTS[resource.kind],
    };
  }

  #insert(resource: Resource, object: KubeObject, options: WriteOptions): UnstructuredObject {
    const metadata = without(object.metadata, 'uid', 'resourceVersion', 'generation');
    const fresh = withStringData(this.#fresh(resource, { ...object, metadata }));
    return structuredClone(options.dryRun === true ? fresh : this.#store(resource, fresh));
  }

  #update(
    resource: Resource,
    ref: ObjectRef,
    options: WriteOptions,
    change: (before: UnstructuredObject) => unknown,
  ): UnstructuredObject {
    const before = this.#existing(resource, ref);
    const after = change(structuredClone(before)) as UnstructuredObject;
    const { resourceVersion, uid } = after.metadata;
    if ((resourceVersion ?? '') !== '' && resourceVersion !== before.metadata.resourceVersion) {
      throw conflict(resource, ref);
    }
    if (uid !== undefined && uid !== before.metadata.uid) throw conflict(resource, ref);
    const merged = withStringData(combine(resource, before, after, options.subresource));
    const generation = before.metadata.generation;
    const specChanged = !jsonEqual(contentOf(merged), contentOf(before));
    const next: UnstructuredObject = {
      ...merged,
      metadata: {
        ...merged.metadata,
        ...(generation === undefined ? {} : { generation: specChanged ? generation + 1 : generation }),
      },
    };
    if (options.dryRun === true || jsonEqual(next, before)) return structuredClone(next);
    if (next.metadata.deletionTimestamp !== undefined && (next.metadata.finalizers ?? []).length === 0) {
      return structuredClone(this.#remove(resource, next));
    }
    return structuredClone(this.#store(resource, next, before));
  }

  #store(resource: Resource, object: UnstructuredObject, before?: UnstructuredObject): UnstructuredObject {
    this.#version += 1;
    const stored = structuredClone({
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(this.#version) },
    });
    const table = this.#table(resource);
    const last = before ?? table.get(objectKey(stored));
    table.set(objectKey(stored), stored);
    const type = last === undefined ? 'ADDED' : 'MODIFIED';
    this.#history(resource).record(this.#version, { type, object: stored }, last);
    return stored;
  }

  #remove(resource: Resource, object: UnstructuredObject): UnstructuredObject {
    this.#version += 1;
    const before = this.#table(resource).get(objectKey(object));
    this.#table(resource).delete(objectKey(object));
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const removed = { ...object, metadata };
    this.#history(resource).record(this.#version, { type: 'DELETED', object: removed }, before);
    this.#applied.delete(object.metadata.uid ?? '');
    this.#collectOwned(object.metadata.uid ?? '');
    return removed;
  }

  /** Objects whose last owner is gone go too. */
  #collectOwned(uid: string): void {
    const doomed = [...this.#objects].flatMap(([id, table]) =>
      [...table.values()]
        .filter(({ metadata: { ownerReferences = [] } }) => {
          return ownerReferences.length > 0 && ownerReferences.every((owner) => owner.uid === uid);
        })
        .map((object) => ({ id, object })),
    );
    for (const { id, object } of doomed) {
      const [group = '', plural = ''] = id.split('|');
      const resource = this.#resources.find((known) => known.group === group && known.plural === plural);
      if (resource !== undefined) this.#remove(resource, object);
    }
  }

  #rememberApplied(stored: KubeObject, object: KubeObject, options: ApplyOptions): void {
    const uid = stored.metadata.uid ?? '';
    const managers = this.#applied.get(uid) ?? new Map<string, UnstructuredObject>();
    managers.set(managerOf(options), structuredClone(object) as UnstructuredObject);
    this.#applied.set(uid, managers);
  }

  #existing(resource: Resource, ref: ObjectRef): UnstructuredObject {
    const object = this.#table(resource).get(keyOf(ref));
    if (object === undefined) throw notFound(resource, ref);
    return object;
  }

  #table(resource: Resource): Map<string, UnstructuredObject> {
    const id = `${resource.group}|${resource.plural}`;
    const table = this.#objects.get(id) ?? new Map<string, UnstructuredObject>();
    this.#objects.set(id, table);
    return table;
  }

  #history(resource: Resource): FakeHistory {
    const id = `${resource.group}|${resource.plural}`;
    const history = this.#histories.get(id) ?? new FakeHistory(this.#oldest);
    this.#histories.set(id, history);
    return history;
  }
}

const CRDS = 'apiextensions.k8s.io|customresourcedefinitions';
