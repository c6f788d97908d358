import { KubeError } from '../errors.ts';
import type { UnstructuredObject, WatchEvent } from '../objects.ts';

interface Recorded {
  readonly version: number;
  readonly event: WatchEvent;
  /** The object before, for selectors: one that stops matching is told as deleted. */
  readonly before: UnstructuredObject | undefined;
}

/** The history of one resource, and those who follow it. */
export class FakeHistory {
  #events: Recorded[] = [];
  #oldest: number;
  #round = 0;
  #wake = Promise.withResolvers<undefined>();

  constructor(oldest: number) {
    this.#oldest = oldest;
  }

  record(version: number, event: WatchEvent, before: UnstructuredObject | undefined): void {
    this.#events.push({ version, event, before });
    this.#wakeAll();
  }

  /** Forgets the past: who wants to go on from before `version` must list anew. */
  expire(version: number): void {
    this.#events = [];
    this.#oldest = version;
    this.#wakeAll();
  }

  /** Ends every watch, as a server does when its time is up. */
  endAll(): void {
    this.#round += 1;
    this.#wakeAll();
  }

  async *follow(
    from: number,
    matches: (object: UnstructuredObject) => boolean,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WatchEvent, void, undefined> {
    const round = this.#round;
    const aborted = Promise.withResolvers<undefined>();
    const onAbort = (): void => aborted.resolve(undefined);
    signal?.addEventListener('abort', onAbort, { once: true });
    let at = from;
    try {
      while (signal?.aborted !== true && round === this.#round) {
        if (at < this.#oldest) throw expired(at);
        const wake = this.#wake.promise;
        for (const { version, event, before } of this.#events.filter((recorded) => recorded.version > at)) {
          at = version;
          const seen = visible(event, before, matches);
          if (seen !== undefined) yield structuredClone(seen);
        }
        await Promise.race([wake, aborted.promise]);
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    signal?.throwIfAborted();
  }

  #wakeAll(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve(undefined);
  }
}

function visible(
  event: WatchEvent,
  before: UnstructuredObject | undefined,
  matches: (object: UnstructuredObject) => boolean,
): WatchEvent | undefined {
  const was = before !== undefined && matches(before);
  const is = matches(event.object);
  if (event.type === 'DELETED') return was || is ? event : undefined;
  if (is) return { ...event, type: was ? 'MODIFIED' : 'ADDED' };
  return was ? { ...event, type: 'DELETED' } : undefined;
}

function expired(version: number): KubeError {
  return new KubeError('Expired', `too old resource version: ${version}`, { httpStatus: 410 });
}
