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
import { asStatus, errorOfAnswer, isKubeError, KubeError } from '../errors.ts';
import { apiVersionOf, type KubeList, type KubeObject, type Resource, type WatchEvent } from '../objects.ts';
import { Discovery } from './discovery.ts';
import { splitLines } from './lines.ts';
import { objectPath, queryString, resourcePath } from './paths.ts';
import { type KubeConnection, Transport, type TransportOptions } from './transport.ts';

const PAGE_SIZE = 500;
const MAX_WATCH_LINE_BYTES = 16 * 1024 * 1024;
/** What a client waits beyond the end of a watch that it asked the server for. */
const WATCH_GUARD_MS = 30_000;
const PATCH_TYPES: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
};

/** Options of {@link createKubeClient} beside the connection. */
export interface KubeClientOptions extends TransportOptions {
  /** The field manager of writes that name none; `mural` unless given. */
  readonly fieldManager?: string | undefined;
}

/**
 * A client of the Kubernetes API at `connection`.
 *
 * @throws KubeError `KubeConfigInvalid` when the server is not a URL
 */
export function createKubeClient(connection: KubeConnection, options: KubeClientOptions = {}): KubeClient {
  return new HttpKubeClient(new Transport(connection, options), options.fieldManager ?? 'mural');
}

class HttpKubeClient implements KubeClient {
  readonly #transport: Transport;
  readonly #discovery: Discovery;
  readonly #fieldManager: string;

  constructor(transport: Transport, fieldManager: string) {
    this.#transport = transport;
    this.#discovery = new Discovery(transport);
    this.#fieldManager = fieldManager;
  }

  async get<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    options: RequestOptions = {},
  ): Promise<T> {
    const path = objectPath(resource, ref);
    return (await this.#transport.json({ method: 'GET', path, signal: options.signal })) as T;
  }

  async find<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    options: RequestOptions = {},
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
    try {
      return await this.#listPages<T>(resource, options);
    } catch (error) {
      // The continue token outlived the history of the store: begin again, once.
      if (!isKubeError(error, 'Expired')) throw error;
      return await this.#listPages<T>(resource, options);
    }
  }

  async #listPages<T extends KubeObject>(
    resource: Resource,
    options: ListOptions & RequestOptions,
  ): Promise<KubeList<T>> {
    const base = resourcePath(resource, { namespace: options.namespace });
    const items: T[] = [];
    let token: string | undefined;
    for (;;) {
      const path = `${base}${queryString({
        limit: options.pageSize ?? PAGE_SIZE,
        labelSelector: options.labelSelector,
        fieldSelector: options.fieldSelector,
        continue: token,
      })}`;
      const answer = await this.#transport.json({ method: 'GET', path, signal: options.signal });
      const page = readList<T>(answer, resource);
      for (const item of page.items) items.push(item);
      token = page.metadata.continue;
      if (token === undefined || token === '') {
        const { resourceVersion } = page.metadata;
        return { ...page, metadata: resourceVersion === undefined ? {} : { resourceVersion }, items };
      }
    }
  }

  async create<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path =
      options.subresource === undefined
        ? resourcePath(resource, { namespace })
        : objectPath(resource, { namespace, name, subresource: options.subresource });
    return (await this.#transport.json({
      method: 'POST',
      path: path + this.#writeQuery(options),
      body: object,
      signal: options.signal,
    })) as T;
  }

  async replace<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = objectPath(resource, { namespace, name, subresource: options.subresource });
    return (await this.#transport.json({
      method: 'PUT',
      path: path + this.#writeQuery(options),
      body: object,
      signal: options.signal,
    })) as T;
  }

  async patch<T extends KubeObject>(
    resource: Resource,
    ref: ObjectRef,
    type: PatchType,
    body: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = objectPath(resource, { ...ref, subresource: options.subresource });
    return (await this.#transport.json({
      method: 'PATCH',
      path: path + this.#writeQuery(options),
      body,
      contentType: PATCH_TYPES[type],
      signal: options.signal,
      idempotent: type === 'merge',
    })) as T;
  }

  async apply<T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = objectPath(resource, { namespace, name, subresource: options.subresource });
    return (await this.#transport.json({
      method: 'PATCH',
      path: path + this.#writeQuery(options, { force: options.force === true ? 'true' : 'false' }),
      body: object,
      // JSON is YAML, and the media type that every version of Kubernetes knows.
      contentType: 'application/apply-patch+yaml',
      signal: options.signal,
      idempotent: true,
    })) as T;
  }

  async delete(resource: Resource, ref: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    const { propagationPolicy, preconditions } = options;
    await this.#transport.json({
      method: 'DELETE',
      path: objectPath(resource, ref),
      body: {
        kind: 'DeleteOptions',
        apiVersion: 'v1',
        ...(propagationPolicy === undefined ? {} : { propagationPolicy }),
        ...(preconditions === undefined ? {} : { preconditions }),
      },
      signal: options.signal,
    });
  }

  async *watch<T extends KubeObject>(
    resource: Resource,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const timeoutSeconds = Math.round(300 + 300 * this.#transport.random());
    const path = `${resourcePath(resource, { namespace: options.namespace })}${queryString({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: options.resourceVersion,
      labelSelector: options.labelSelector,
      fieldSelector: options.fieldSelector,
      timeoutSeconds,
    })}`;
    const lifetimeMs = timeoutSeconds * 1000 + WATCH_GUARD_MS;
    const stream = this.#transport.stream(path, lifetimeMs, options.signal);
    for await (const line of splitLines(stream, MAX_WATCH_LINE_BYTES)) {
      yield readEvent<T>(line);
    }
  }

  async resourceFor(apiVersion: string, kind: string): Promise<Resource | undefined> {
    return await this.#discovery.resourceFor(apiVersion, kind);
  }

  async raw(path: string, options: RequestOptions = {}): Promise<string> {
    return await this.#transport.text({ method: 'GET', path, accept: '*/*', signal: options.signal });
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #writeQuery(options: WriteOptions, more: Readonly<Record<string, string>> = {}): string {
    return queryString({
      fieldManager: options.fieldManager ?? this.#fieldManager,
      dryRun: options.dryRun === true ? 'All' : undefined,
      ...more,
    });
  }
}

/** Items of built-in kinds come without `apiVersion` and `kind`: the list says them for all. */
function readList<T extends KubeObject>(answer: unknown, resource: Resource): KubeList<T> {
  const list = answer as Partial<Omit<KubeList<T>, 'items'>> & { readonly items?: readonly T[] | null };
  if (list.metadata === undefined || (list.items !== null && !Array.isArray(list.items))) {
    throw new KubeError('InvalidResponse', `the API answered no list of ${resource.plural}`);
  }
  const type = { apiVersion: apiVersionOf(resource), kind: resource.kind };
  return {
    apiVersion: list.apiVersion ?? type.apiVersion,
    kind: list.kind ?? `${resource.kind}List`,
    metadata: list.metadata,
    items: (list.items ?? []).map((item: T) => ({ ...type, ...item })),
  };
}

function readEvent<T extends KubeObject>(line: string): WatchEvent<T> {
  let event: WatchEvent<T>;
  try {
    event = JSON.parse(line) as WatchEvent<T>;
  } catch (cause) {
    throw new KubeError('InvalidResponse', 'an event of the watch is not JSON', { cause, retryable: true });
  }
  if (event.type !== 'ERROR') return event;
  const status = asStatus(event.object);
  throw errorOfAnswer(status?.code ?? 500, event.object, { method: 'GET', watch: true });
}
