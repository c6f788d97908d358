import { randomBytes } from 'node:crypto';
import { type Clock, type Logger, rfc3339, silentLogger, systemClock } from '@mural/core';
import type { KubeClient } from '../client.ts';
import { isKubeError } from '../errors.ts';
import type { KubeObject, UnstructuredObject } from '../objects.ts';
import { EVENTS } from '../resources.ts';

export type EventType = 'Normal' | 'Warning';

/** Writes core/v1 Events about objects. */
export interface EventRecorder {
  /** Queues an event. Never throws and never waits; under pressure events are dropped and counted in the log. */
  event(
    object: KubeObject,
    type: EventType,
    reason: string,
    message: string,
    annotations?: Readonly<Record<string, string>>,
  ): void;
  /** Resolves when what was queued is written or given up. */
  flush(): Promise<void>;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** The controller that reports. */
  readonly component: string;
  /** Which instance of it; the component's name unless given. */
  readonly instance?: string | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
}

interface Queued {
  readonly key: string;
  readonly source: string;
  readonly body: UnstructuredObject;
}

interface Written {
  readonly name: string;
  readonly namespace: string;
  count: number;
  lastAt: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

const MAX_QUEUED = 1000;
const MAX_REMEMBERED = 4096;
const MAX_MESSAGE = 4096;
/** How long an equal event raises the count of the one before, as client-go's correlator has it. */
const AGGREGATE_MS = 10 * 60_000;
/** Events about one object: so many at once, and one more each so often (client-go: 25 and 5 min). */
const BURST = 25;
const REFILL_MS = 60_000;

/** A recorder whose events carry `component` as their source and reporting component. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new QueuedRecorder(options);
}

class QueuedRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #queue: Queued[] = [];
  readonly #written = new Map<string, Written>();
  readonly #buckets = new Map<string, Bucket>();
  #draining: Promise<void> | undefined;
  #dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLogger;
  }

  event(
    object: KubeObject,
    type: EventType,
    reason: string,
    message: string,
    annotations?: Readonly<Record<string, string>>,
  ): void {
    const source = `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`;
    if (this.#queue.length >= MAX_QUEUED || !this.#admit(source)) {
      this.#dropped += 1;
      return;
    }
    const text = message.slice(0, MAX_MESSAGE);
    this.#queue.push({
      key: JSON.stringify([source, object.metadata.uid, type, reason, text]),
      source,
      body: this.#body(object, { type, reason, message: text }, annotations),
    });
    this.#draining ??= this.#drain();
  }

  async flush(): Promise<void> {
    await this.#draining;
  }

  #body(
    object: KubeObject,
    what: { readonly type: EventType; readonly reason: string; readonly message: string },
    annotations: Readonly<Record<string, string>> | undefined,
  ): UnstructuredObject {
    const { component, instance } = this.#options;
    const { name = '', namespace, uid, resourceVersion } = object.metadata;
    const time = rfc3339(this.#clock.now());
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: {
        name: `${name.slice(0, 230)}.${randomBytes(8).toString('hex')}`,
        // Events about objects of the cluster live in the default namespace.
        namespace: namespace ?? 'default',
        ...(annotations === undefined ? {} : { annotations }),
      },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      ...what,
      source: { component },
      reportingComponent: component,
      reportingInstance: instance ?? component,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
  }

  /** A token bucket per object, so that one object in trouble cannot flood the API. */
  #admit(source: string): boolean {
    const now = this.#clock.now();
    const bucket = this.#buckets.get(source) ?? { tokens: BURST, at: now };
    bucket.tokens = Math.min(BURST, bucket.tokens + (now - bucket.at) / REFILL_MS);
    bucket.at = now;
    this.#buckets.delete(source);
    this.#buckets.set(source, bucket);
    trim(this.#buckets);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  async #drain(): Promise<void> {
    // In a later turn, so that `event` has set `#draining` before this could clear it.
    await Promise.resolve();
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        await this.#write(next);
      } catch (error) {
        this.#log.warn({ err: error, object: next.source }, 'an event could not be written');
      }
    }
    if (this.#dropped > 0) this.#log.warn({ dropped: this.#dropped }, 'events were dropped');
    this.#dropped = 0;
    this.#draining = undefined;
  }

  async #write({ key, body }: Queued): Promise<void> {
    const now = this.#clock.now();
    const before = this.#written.get(key);
    if (before !== undefined && now - before.lastAt < AGGREGATE_MS) {
      if (await this.#count(before, body)) return;
    }
    const { name = '', namespace = '' } = body.metadata;
    await this.#options.client.create(EVENTS, body);
    this.#written.delete(key);
    this.#written.set(key, { name, namespace, count: 1, lastAt: now });
    trim(this.#written);
  }

  /** Raises the count of an event that was written before; `false` when it is gone. */
  async #count(before: Written, body: UnstructuredObject): Promise<boolean> {
    const count = before.count + 1;
    const change = {
      count,
      lastTimestamp: body['lastTimestamp'],
      ...(body.metadata.annotations === undefined
        ? {}
        : { metadata: { annotations: body.metadata.annotations } }),
    };
    try {
      await this.#options.client.patch(EVENTS, before, 'merge', change);
    } catch (error) {
      if (isKubeError(error, 'NotFound')) return false;
      throw error;
    }
    before.count = count;
    before.lastAt = this.#clock.now();
    return true;
  }
}

/** Keeps the map small by dropping what was used longest ago. */
function trim(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    if (map.size <= MAX_REMEMBERED) return;
    map.delete(key);
  }
}
