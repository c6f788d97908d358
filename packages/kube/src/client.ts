import type { KubeList, KubeObject, Resource, UnstructuredObject, WatchEvent } from './objects.ts';

/** Names one object, or, without a name, a collection. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

/** What a list or watch is narrowed to. */
export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects a page; the client reads on until it has all. */
  readonly pageSize?: number | undefined;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
}

/** How an object is written. */
export interface WriteOptions extends RequestOptions {
  readonly fieldManager?: string | undefined;
  readonly dryRun?: boolean | undefined;
  /** `status`, or another subresource. */
  readonly subresource?: string | undefined;
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Takes fields over from other managers. */
  readonly force?: boolean | undefined;
}

export interface DeleteOptions extends RequestOptions {
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  /** Only if the object still is this one. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
}

export interface WatchOptions extends RequestOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Where to go on from: the resourceVersion of the list before. */
  readonly resourceVersion: string;
}

/** The media type, and so the meaning, of a patch. */
export type PatchType = 'merge' | 'json' | 'strategic';

/**
 * The Kubernetes API, as every controller sees it: the embedded one or that of a real cluster.
 *
 * Every call has a deadline; every failure is a `KubeError` with the reason of the API's Status.
 */
export interface KubeClient {
  get<T extends KubeObject>(resource: Resource, ref: ObjectRef, options?: RequestOptions): Promise<T>;
  /** As `get`, with `undefined` in place of the error `NotFound`. */
  find<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    options?: RequestOptions,
  ): Promise<T | undefined>;
  /** All pages of a list. */
  list<T extends KubeObject>(
    resource: Resource,
    options?: ListOptions & RequestOptions,
  ): Promise<KubeList<T>>;
  create<T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions): Promise<T>;
  replace<T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    type: PatchType,
    body: unknown,
    options?: WriteOptions,
  ): Promise<T>;
  /** Server-side apply. The answer tells what is stored now. */
  apply<T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions): Promise<T>;
  delete(resource: Resource, ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  /**
   * Ends without error when the server ends the watch; throws `KubeError` `Expired` when the caller must
   * list anew, and the signal's reason when that aborts.
   */
  watch<T extends KubeObject>(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** The resource that serves a kind, by discovery; `undefined` when the API does not serve it. */
  resourceFor(apiVersion: string, kind: string): Promise<Resource | undefined>;
  /** A raw GET, for the paths that are not resources (`/version`, `/readyz`). */
  raw(path: string, options?: RequestOptions): Promise<string>;
  close(): Promise<void>;
}

/** An object of a kind known only at run time. */
export type { UnstructuredObject };
