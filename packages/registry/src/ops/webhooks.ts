import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import {
  backoff,
  type Clock,
  isLoopbackHost,
  type Logger,
  MuralError,
  type Random,
  withDeadline,
} from '@mural/core';
import { globPattern } from '../glob.ts';
import { envelopeOf, EVENTS_TYPE, type EventSource, notificationOf } from './envelope.ts';
import type { EventEndpoint } from './event-options.ts';
import { EventQueue, type WaitingEvent } from './event-queue.ts';
import type { EventAction, Events, RegistryEvent } from './events.ts';

/** How an endpoint stands, since the start. */
export interface EndpointState {
  readonly name: string;
  /** Events not delivered yet. */
  readonly waiting: number;
  readonly delivered: number;
  /** Deliveries that failed; each is tried again. */
  readonly failed: number;
  /** Events that were lost: too many waited, or the disk took none. */
  readonly dropped: number;
}

/** Why a delivery failed. Says nothing of the URL or the headers. */
export class DeliveryError extends MuralError<'Refused' | 'TimedOut'> {}

/** What is told of unless something else is asked for. */
export const TOLD: readonly EventAction[] = ['push', 'delete', 'mount'];
const DEFAULT_QUEUE = 10_000;
const DEFAULT_TIMEOUT_MS = 5000;
const MAX_BATCH = 50;
const MAX_BATCH_BYTES = 256 * 1024;
const RETRY_BASE_MS = 1000;
const RETRY_CAP_MS = 60_000;
const MAX_ANSWER = 64 * 1024;

/** What {@link Webhooks} work with. */
export interface WebhookParts {
  readonly dataDir: string;
  readonly endpoints: readonly EventEndpoint[];
  readonly events: Events;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Sends events to endpoints: to each in the order in which they happened and at least once. An event
 * is kept in the data folder before its request is answered and until the endpoint took it, over
 * restarts too; an endpoint that fails is tried again for as long as it takes, and holds up nobody
 * else. What is lost: the oldest of more events than may wait, and what the disk did not take.
 */
export class Webhooks {
  readonly #queue: EventQueue | undefined;
  readonly #endpoints: Endpoint[] = [];
  readonly #unsubscribe: (() => void)[] = [];

  /** @throws RegistrySetupError `DataDirectoryInvalid` */
  constructor(parts: WebhookParts) {
    if (parts.endpoints.length === 0) return;
    const names = parts.endpoints.map(({ name }) => name);
    this.#queue = EventQueue.open(parts.dataDir, names);
    for (const options of parts.endpoints) {
      const endpoint = new Endpoint(options, this.#queue, parts);
      this.#endpoints.push(endpoint);
      const actions = options.actions ?? TOLD;
      this.#unsubscribe.push(parts.events.subscribe(actions, (event) => endpoint.take(event)));
    }
  }

  /** How each endpoint stands. */
  get states(): EndpointState[] {
    return this.#endpoints.map((endpoint) => endpoint.state);
  }

  /** Begins to deliver. @param addr `host:port` of the registry */
  start(addr: string): void {
    const source = { addr, instanceID: randomUUID() };
    for (const endpoint of this.#endpoints) endpoint.start(source);
  }

  /** Ends what is running; what waits is sent after the next start. */
  async close(): Promise<void> {
    for (const end of this.#unsubscribe) end();
    for (const endpoint of this.#endpoints) await endpoint.stop();
    this.#queue?.close();
  }
}

class Endpoint {
  readonly #options: EventEndpoint;
  readonly #queue: EventQueue;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #url: URL;
  readonly #patterns: readonly RegExp[] | undefined;
  readonly #limit: number;
  readonly #stop = new AbortController();
  readonly #count = { delivered: 0, failed: 0, dropped: 0 };
  #dropping = false;
  #source: EventSource = { addr: '', instanceID: '' };
  #wake: () => void = () => undefined;
  #running: Promise<void> | undefined;

  constructor(options: EventEndpoint, queue: EventQueue, { clock, random, log }: WebhookParts) {
    this.#options = options;
    this.#queue = queue;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    this.#url = new URL(options.url);
    this.#patterns = options.repositories?.map((pattern) => globPattern(pattern));
    this.#limit = options.queue ?? DEFAULT_QUEUE;
  }

  get state(): EndpointState {
    const { name } = this.#options;
    return { name, waiting: this.#queue.waiting(name), ...this.#count };
  }

  start(source: EventSource): void {
    this.#source = source;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('The registry is being stopped.'));
    this.#wake();
    await this.#running;
  }

  /** Keeps an event until it is delivered. A push does not fail because nobody can be told of it. */
  take(event: RegistryEvent): void {
    const { name, blobs = false } = this.#options;
    if (event.kind === 'blob' && !blobs) return;
    if (this.#patterns?.some((pattern) => pattern.test(event.repository)) === false) return;
    let gone = 1;
    try {
      gone = this.#queue.add(name, notificationOf(event, this.#source), this.#limit);
    } catch (error) {
      if (!this.#dropping)
        this.#log.error({ err: error, endpoint: name }, 'events cannot be kept and are lost');
    }
    if (gone > 0 && !this.#dropping)
      this.#log.warn({ endpoint: name }, 'too many events wait: some are lost');
    this.#dropping = gone > 0;
    this.#count.dropped += gone;
    this.#wake();
  }

  async #run(): Promise<void> {
    const { name } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted; ) {
      try {
        // After a failure one at a time, so that an event which is not taken holds up no others with it.
        const batch = bounded(this.#queue.first(name, failures > 0 ? 1 : MAX_BATCH));
        const last = batch.at(-1);
        if (last === undefined) {
          await this.#next();
          continue;
        }
        await this.#deliver(batch);
        this.#queue.removeUpTo(name, last.sequence);
        this.#count.delivered += batch.length;
        if (failures > 0) this.#log.info({ endpoint: name, failures }, 'events are delivered again');
        failures = 0;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        failures += 1;
        this.#count.failed += 1;
        const retryInMs = Math.round(backoff(failures, RETRY_BASE_MS, RETRY_CAP_MS, this.#random));
        const why = error instanceof DeliveryError ? error.message : 'it cannot be reached';
        const facts = { endpoint: name, failures, retryInMs, error: why, code: codeOf(error) };
        this.#log.warn(facts, 'events could not be delivered');
        await this.#clock.sleep(retryInMs, signal).catch(() => undefined);
      }
    }
  }

  /** Resolves when there is another event, or the end has come. */
  async #next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    if (this.#stop.signal.aborted) return;
    await promise;
  }

  async #deliver(batch: readonly WaitingEvent[]): Promise<void> {
    const ms = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const expired = (): Error => new DeliveryError('TimedOut', `it did not answer within ${ms} ms`);
    const deadline = { clock: this.#clock, ms, signal: this.#stop.signal, expired };
    const status = await withDeadline(deadline, async (signal) =>
      this.#post(envelopeOf(batch.map(({ body }) => body)), signal),
    );
    if (status >= 200 && status < 300) return;
    throw new DeliveryError('Refused', `it answered with status ${status}`);
  }

  /** One request over a connection of its own, without redirects, through the proxy that the environment names. */
  async #post(body: string, signal: AbortSignal): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const secure = this.#url.protocol === 'https:';
    const proxy = isLoopbackHost(this.#url.hostname) ? {} : { proxyEnv: process.env };
    const agent = secure ? new HttpsAgent(proxy) : new HttpAgent(proxy);
    const { ca, headers } = this.#options;
    const options = {
      method: 'POST',
      headers: {
        'user-agent': 'mural-registry',
        ...headers,
        'content-type': EVENTS_TYPE,
        'content-length': Buffer.byteLength(body),
      },
      signal,
      agent,
      ...(ca === undefined ? {} : { ca }),
    };
    const request = secure
      ? httpsRequest(this.#url, options, resolve)
      : httpRequest(this.#url, options, resolve);
    request.on('error', reject);
    request.end(body);
    try {
      const response = await promise;
      let length = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > MAX_ANSWER) break;
      }
      return response.statusCode ?? 0;
    } finally {
      request.destroy();
      agent.destroy();
    }
  }
}

/** The first of these events that fit into one request; one always does. */
function bounded(events: readonly WaitingEvent[]): readonly WaitingEvent[] {
  let bytes = 0;
  const end = events.findIndex(({ body }, index) => {
    bytes += body.length;
    return index > 0 && bytes > MAX_BATCH_BYTES;
  });
  return end < 0 ? events : events.slice(0, end);
}

/** A code of the system or of TLS, such as `ECONNREFUSED`, where there is one. */
function codeOf(error: unknown): string {
  if (error instanceof MuralError) return String(error.code);
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown';
}
