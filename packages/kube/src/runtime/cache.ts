import { backoff, type Clock, type Logger, type Random, silentLogger, systemClock } from '@mural/core';
import type { KubeClient } from '../client.ts';
import { isKubeError, KubeError } from '../errors.ts';
import { type KubeObject, objectKey, type Resource, type WatchEvent } from '../objects.ts';

/** Told of every change: the key, the object now, and the object before. */
export type CacheListener<T> = (key: string, now: T | undefined, before: T | undefined) => void;

/** The objects of one resource, held in memory and kept current by a watch. */
export interface Cache<T extends KubeObject> {
  start(): void;
  /** Ends the watch; what is held stays readable. */
  stop(): Promise<void>;
  /** Resolves when the first list is in, or the cache was stopped. */
  synced(): Promise<void>;
  /** @param key `namespace/name`, or the name alone for an object of the cluster */
  get(key: string): T | undefined;
  list(): T[];
  /** Calls back on every change, and for what is held already; answers how to stop that. */
  onChange(listener: CacheListener<T>): () => void;
}

export interface CacheOptions {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Keeps `metadata.managedFields`, which no controller here reads and which is often most of an object. */
  readonly keepManagedFields?: boolean | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
}

const BACKOFF = { baseMs: 500, capMs: 30_000 };
/** A watch that ends sooner than this without an event counts as failed, lest it be opened in a busy loop. */
const SHORT_WATCH_MS = 1000;

/**
 * A cache of what one list and watch gives. It never stops by itself: failures are logged and
 * tried again with jittered back-off, an expired watch is answered by a new list and its difference.
 */
export function createCache<T extends KubeObject>(options: CacheOptions): Cache<T> {
  return new WatchCache<T>(options);
}

class WatchCache<T extends KubeObject> implements Cache<T> {
  readonly #options: CacheOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<CacheListener<T>>();
  readonly #synced = Promise.withResolvers<undefined>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;
  /** The resourceVersion up to which all events are in; absent when a list is due. */
  #lastSeen: string | undefined;

  constructor(options: CacheOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#log = options.log ?? silentLogger;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the cache is stopped'));
    await this.#running;
    this.#synced.resolve(undefined);
  }

  async synced(): Promise<void> {
    await this.#synced.promise;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  onChange(listener: CacheListener<T>): () => void {
    this.#listeners.add(listener);
    for (const [key, object] of this.#objects) this.#tell(listener, key, object, undefined);
    return () => this.#listeners.delete(listener);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#lastSeen ??= await this.#list(signal);
        await this.#watch(this.#lastSeen, signal);
      } catch (error) {
        // `signal.aborted` again: it may have changed while the call was under way.
        if (this.#stop.signal.aborted) return;
        await this.#recover(error, signal);
      }
    }
  }

  /** A watch that broke goes on where it was; anything else needs a new list. */
  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    if (!isKubeError(error, 'Unreachable', 'Timeout')) this.#lastSeen = undefined;
    const expired = isKubeError(error, 'Expired') && this.#failures === 0;
    const { plural: resource } = this.#options.resource;
    this.#log[expired ? 'debug' : 'warn']({ err: error, resource }, 'the cache lists or watches anew');
    if (expired) this.#failures += 1;
    else await this.#pause(signal);
  }

  async #pause(signal: AbortSignal): Promise<void> {
    this.#failures += 1;
    const wait = backoff(this.#failures, BACKOFF.baseMs, BACKOFF.capMs, this.#random);
    await this.#clock.sleep(wait, signal).catch(() => undefined);
  }

  async #list(signal: AbortSignal): Promise<string> {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const list = await client.list<T>(resource, { namespace, labelSelector, fieldSelector, signal });
    const seen = new Set<string>();
    for (const object of list.items) {
      seen.add(objectKey(object));
      this.#put(object);
    }
    for (const key of [...this.#objects.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#synced.resolve(undefined);
    return list.metadata.resourceVersion ?? '';
  }

  /** Follows one watch to its end. */
  async #watch(from: string, signal: AbortSignal): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const opened = this.#clock.now();
    let events = 0;
    const watch = client.watch<T>(resource, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: from,
      signal,
    });
    for await (const event of watch) {
      if (signal.aborted) break;
      events += 1;
      this.#failures = 0;
      this.#take(event);
      this.#lastSeen = event.object.metadata.resourceVersion ?? this.#lastSeen;
    }
    if (events === 0 && !signal.aborted && this.#clock.now() - opened < SHORT_WATCH_MS) {
      throw new KubeError('Unreachable', 'the watch ended at once');
    }
    this.#failures = 0;
  }

  #take(event: WatchEvent<T>): void {
    if (event.type === 'DELETED') this.#remove(objectKey(event.object));
    else if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#put(event.object);
  }

  #put(object: T): void {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (before !== undefined && sameVersion(before, object)) return;
    const now = this.#options.keepManagedFields === true ? object : withoutManagedFields(object);
    this.#objects.set(key, now);
    for (const listener of this.#listeners) this.#tell(listener, key, now, before);
  }

  #remove(key: string): void {
    const before = this.#objects.get(key);
    if (!this.#objects.delete(key)) return;
    for (const listener of this.#listeners) this.#tell(listener, key, undefined, before);
  }

  #tell(listener: CacheListener<T>, key: string, now: T | undefined, before: T | undefined): void {
    try {
      listener(key, now, before);
    } catch (error) {
      this.#log.error({ err: error, key }, 'a listener of the cache failed');
    }
  }
}

function sameVersion(a: KubeObject, b: KubeObject): boolean {
  const version = a.metadata.resourceVersion;
  return version !== undefined && version === b.metadata.resourceVersion && a.metadata.uid === b.metadata.uid;
}

function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (object.metadata.managedFields === undefined) return object;
  return { ...object, metadata: { ...object.metadata, managedFields: undefined } };
}
