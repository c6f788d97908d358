import type { ServerResponse } from 'node:http';
import { errorMessage } from '@mural/core';
import type { Api } from '../api.ts';
import type { Presentation } from '../http/accept.ts';
import { negotiate } from '../http/accept.ts';
import type { StreamAnswer } from '../http/answer.ts';
import type { ResourceRequest } from '../http/request.ts';
import { flag } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { jsonOf, withMeta } from '../objects.ts';
import { toServed } from '../resources/convert.ts';
import { fieldSelector } from '../resources/fields.ts';
import { labelMatcher } from '../resources/labels.ts';
import { groupVersion } from '../resources/types.ts';
import type { Change } from '../storage/history.ts';
import { ApiError } from '../status.ts';
import { present } from '../tables/present.ts';
import { invalidOption } from './read.ts';

/** How long a client may leave the socket full before it is cut. */
const STALL_MS = 60_000;
/** How often a watch that wants bookmarks gets one. */
const BOOKMARK_MS = 60_000;
/** How long a watch lives when the client does not say: as long again at random, as kube-apiserver does. */
const LIFE_MS = 1_800_000;
/** Text is handed to the socket in pieces of about this size. */
const CHUNK = 256 * 1024;

interface WatchPlan {
  /** Changes after this revision are sent; `undefined` sends the present state first. */
  readonly since: number | undefined;
  readonly bookmarks: boolean;
  /** Whether the end of the initial state is marked (`sendInitialEvents`). */
  readonly markInitial: boolean;
  readonly lifeMs: number;
}

/** GET with `watch=true`: a stream of events, one JSON document a line. */
export function watchObjects(api: Api, request: ResourceRequest): StreamAnswer {
  const presentation = negotiate(request.message.headers.accept);
  const plan = planOf(request.query, api);
  const filter = filterOf(request);
  return {
    type: 'stream',
    run: async (response) => {
      const watch = new Watch({ api, request, presentation, plan, filter }, response);
      await watch.run();
    },
  };
}

function planOf(query: URLSearchParams, api: Api): WatchPlan {
  const version = query.get('resourceVersion') ?? '';
  const initial = query.get('sendInitialEvents');
  checkMatch(initial, query.get('resourceVersionMatch') ?? '');
  const revision = version === '' ? 0 : Number(version);
  if (!Number.isInteger(revision) || revision < 0) {
    throw invalidOption('resourceVersion', 'Invalid', 'strconv.ParseUint: invalid syntax', version);
  }
  const markInitial = initial !== null && flag(query, 'sendInitialEvents');
  const fromState = markInitial || (initial === null && revision === 0);
  const seconds = Number(query.get('timeoutSeconds') ?? 0);
  return {
    since: fromState ? undefined : revision === 0 ? api.store.revision : revision,
    bookmarks: flag(query, 'allowWatchBookmarks'),
    markInitial,
    lifeMs: seconds > 0 ? seconds * 1000 : LIFE_MS * (1 + api.random()),
  };
}

function checkMatch(initial: string | null, match: string): void {
  if (initial !== null && match !== 'NotOlderThan') {
    const why = 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan';
    throw invalidOption('resourceVersionMatch', 'Forbidden', why);
  }
  if (initial === null && match !== '') {
    const why = 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided';
    throw invalidOption('resourceVersionMatch', 'Forbidden', why);
  }
}

type Filter = (object: Stored) => boolean;

function filterOf(request: ResourceRequest): Filter {
  const { query, resource, info } = request;
  const labels = labelMatcher(query.get('labelSelector') ?? undefined);
  const fields = fieldSelector(query.get('fieldSelector') ?? undefined, resource);
  const namespace = resource.namespaced ? info.namespace : '';
  const { name } = info;
  return (object) =>
    (namespace === '' || object.metadata.namespace === namespace) &&
    (name === '' || object.metadata.name === name) &&
    labels(object.metadata.labels) &&
    fields.matches(object);
}

interface WatchContext {
  readonly api: Api;
  readonly request: ResourceRequest;
  readonly presentation: Presentation;
  readonly plan: WatchPlan;
  readonly filter: Filter;
}

/**
 * One watch. It keeps no queue: its place is a revision, and it reads on in the history of the
 * store when the client has taken what was sent. A client that falls behind the history is told
 * `Expired`; one that takes nothing for a minute is cut.
 */
class Watch {
  readonly #context: WatchContext;
  readonly #response: ServerResponse;
  readonly #stop = new AbortController();
  #wake: () => void = () => undefined;
  #woken = false;
  #columnsSent = false;

  constructor(context: WatchContext, response: ServerResponse) {
    this.#context = context;
    this.#response = response;
  }

  async run(): Promise<void> {
    const { api, request, plan } = this.#context;
    const { signal } = this.#stop;
    const gone = (): void => this.#stop.abort();
    request.signal.addEventListener('abort', gone, { once: true });
    if (request.signal.aborted) gone();
    const unsubscribe = api.store.onResourceChange(request.resource.storage, () => this.#wakeUp());
    void api.clock.sleep(plan.lifeMs, signal).then(gone, () => undefined);
    this.#response.writeHead(200, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-cache, private',
    });
    this.#response.flushHeaders();
    try {
      await this.#pump();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    } finally {
      unsubscribe();
      request.signal.removeEventListener('abort', gone);
      gone();
      this.#response.end();
    }
  }

  async #pump(): Promise<void> {
    const { api, plan } = this.#context;
    let at = plan.since ?? api.store.revision;
    if (plan.since === undefined) await this.#sendState(at);
    let bookmarkDue = api.clock.now() + BOOKMARK_MS;
    while (!this.#stop.signal.aborted) {
      at = await this.#sendChanges(at);
      if (plan.bookmarks && api.clock.now() >= bookmarkDue) {
        await this.#send([this.#bookmark(at, false)]);
        bookmarkDue = api.clock.now() + BOOKMARK_MS;
      }
      await this.#untilWoken(plan.bookmarks ? bookmarkDue - api.clock.now() : undefined);
    }
  }

  async #sendState(revision: number): Promise<void> {
    const { api, request, plan } = this.#context;
    const lines: string[] = [];
    for (const object of api.store.list(request.resource.storage)) {
      if (this.#context.filter(object)) lines.push(this.#line('ADDED', object));
    }
    if (plan.markInitial) lines.push(this.#bookmark(revision, true));
    await this.#send(lines);
  }

  async #sendChanges(at: number): Promise<number> {
    const { api, request } = this.#context;
    if (at < api.store.floor) {
      throw new ApiError('Expired', `too old resource version: ${at} (${api.store.floor})`);
    }
    const revision = Math.max(at, api.store.revision);
    const lines: string[] = [];
    for (const change of api.store.changesAfter(at, request.resource.storage)) {
      const line = this.#changeLine(change);
      if (line !== undefined) lines.push(line);
    }
    await this.#send(lines);
    return revision;
  }

  /** What a change means to this watch: an object may come into a selector's view or leave it. */
  #changeLine(change: Change): string | undefined {
    const { filter } = this.#context;
    const before = change.previous !== undefined && filter(change.previous);
    const now = !change.removed && filter(change.object);
    if (now) return this.#line(before ? 'MODIFIED' : 'ADDED', change.object);
    if (!before) return undefined;
    const { previous = change.object } = change;
    const last = change.removed
      ? change.object
      : withMeta(previous, { resourceVersion: String(change.revision) });
    return this.#line('DELETED', last);
  }

  #line(type: string, stored: Stored): string {
    const { request, presentation } = this.#context;
    const object = toServed(stored, request.resource);
    if (presentation.as === 'object') return `{"type":"${type}","object":${jsonOf(object)}}\n`;
    return `{"type":"${type}","object":${JSON.stringify(this.#shaped(object))}}\n`;
  }

  #shaped(object: Stored): object {
    const { api, request, presentation } = this.#context;
    const includeObject = request.query.get('includeObject') ?? 'Metadata';
    const shaped = present(object, request.resource, presentation, { includeObject, now: api.clock.now() });
    if (presentation.as !== 'table') return shaped;
    // Only the first table of a watch names its columns.
    const table = this.#columnsSent ? { ...shaped, columnDefinitions: null } : shaped;
    this.#columnsSent = true;
    return table;
  }

  #bookmark(revision: number, initialEnd: boolean): string {
    const { resource } = this.#context.request;
    const annotations = initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
    const object = {
      kind: resource.kind,
      apiVersion: groupVersion(resource),
      metadata: { resourceVersion: String(revision), creationTimestamp: null, ...annotations },
    } as unknown as Stored;
    return this.#line('BOOKMARK', object);
  }

  async #send(lines: readonly string[]): Promise<void> {
    let chunk: string[] = [];
    let size = 0;
    for (const line of lines) {
      chunk.push(line);
      size += line.length;
      if (size < CHUNK) continue;
      await this.#write(chunk.join(''));
      chunk = [];
      size = 0;
    }
    if (size > 0) await this.#write(chunk.join(''));
  }

  async #write(text: string): Promise<void> {
    this.#stop.signal.throwIfAborted();
    if (this.#response.write(text)) return;
    const drained = Promise.withResolvers<undefined>();
    const onDrain = (): void => drained.resolve(undefined);
    this.#response.once('drain', onDrain);
    const stalled = new AbortController();
    const onStop = (): void => drained.reject(new Error('the watch ended'));
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    const patience = this.#context.api.clock.sleep(STALL_MS, stalled.signal).then(
      () => {
        this.#response.destroy();
        drained.reject(new Error('the client takes nothing'));
      },
      () => undefined,
    );
    try {
      await drained.promise;
    } finally {
      stalled.abort();
      await patience;
      this.#response.removeListener('drain', onDrain);
      this.#stop.signal.removeEventListener('abort', onStop);
    }
  }

  #wakeUp(): void {
    this.#woken = true;
    this.#wake();
  }

  async #untilWoken(limitMs: number | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    const wait = new AbortController();
    const onStop = (): void => resolve(undefined);
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    if (this.#stop.signal.aborted || this.#woken) resolve(undefined);
    if (limitMs !== undefined) {
      void this.#context.api.clock.sleep(Math.max(0, limitMs), wait.signal).then(onStop, () => undefined);
    }
    await promise;
    this.#woken = false;
    wait.abort();
    this.#stop.signal.removeEventListener('abort', onStop);
  }

  /** Tells the client why the watch ends, inside the stream, as its status was sent long ago. */
  #fail(error: unknown): void {
    const { log } = this.#context.api;
    if (this.#response.destroyed) {
      log.info({ path: this.#context.request.info.path }, 'a watch was cut: its client takes nothing');
      return;
    }
    const known =
      error instanceof ApiError ? error : new ApiError('InternalError', 'the watch failed on the server');
    if (!(error instanceof ApiError)) log.warn({ error: errorMessage(error) }, 'a watch failed');
    this.#response.write(`${JSON.stringify({ type: 'ERROR', object: known.toStatus() })}\n`);
  }
}
