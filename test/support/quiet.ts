import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createGunzip } from 'node:zlib';
import type { FakeClock } from '@mural/core/testing';

/** What keeps a process busy although no HTTP request is under way. */
const BUSY = new Set([
  'FSReqPromise',
  'FSReqCallback',
  'FileHandleCloseReq',
  'GetAddrInfoReqWrap',
  'TCPConnectWrap',
  'WriteWrap',
  'ShutdownWrap',
  'SignRequest',
]);
type Transform = (this: object, chunk: unknown, encoding: unknown, done: (error?: unknown) => void) => void;

const TURNS = 6;
const PATIENCE_MS = 20_000;

/**
 * Moves a fake clock only while this process has nothing to do: what needs real time, such as a request
 * over a socket or the pause of a foreign library between two tries, takes no time on that clock.
 */
export class QuietTime {
  readonly #clock: FakeClock;
  readonly #requests = new Set<unknown>();
  readonly #subscriptions: [string, (message: unknown) => void][] = [];
  readonly #restore: () => void;
  #timeouts = 0;

  constructor(clock: FakeClock) {
    this.#clock = clock;
    const begin = (message: unknown): void => {
      const { request } = message as { request: { method?: string } };
      if (request.method !== 'CONNECT') this.#requests.add(request);
    };
    const end = (message: unknown): void => {
      this.#requests.delete((message as { request: unknown }).request);
    };
    this.#on('undici:request:create', begin);
    this.#on('undici:request:trailers', end);
    this.#on('undici:request:error', end);
    this.#on('http.client.request.start', begin);
    this.#on('http.client.response.finish', end);
    this.#on('http.client.request.error', end);
    this.#restore = watchZlib(this.#requests);
  }

  /** Takes the timers that run now for those that always do. */
  async calibrate(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 500));
    this.#timeouts = timeouts();
  }

  /** Lets this much time pass, in steps, and calls `each` after every one. */
  async pass(ms: number, stepMs: number, each: () => void = () => undefined): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.#quiet();
      await this.#clock.advance(stepMs);
      each();
    }
    await this.#quiet();
  }

  /** Lets time pass until something holds. @param limitMs on the fake clock */
  async until(holds: () => boolean, limitMs: number, stepMs = 1000): Promise<void> {
    const end = this.#clock.now() + limitMs;
    await this.#quiet();
    while (!holds()) {
      if (this.#clock.now() >= end) throw new Error(`it does not hold after ${limitMs / 1000} s`);
      await this.pass(stepMs, stepMs);
    }
  }

  close(): void {
    for (const [channel, listener] of this.#subscriptions) unsubscribe(channel, listener);
    this.#restore();
  }

  async #quiet(): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (let quiet = 0; quiet < TURNS && performance.now() < end; ) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#isBusy() ? 0 : quiet + 1;
      if (quiet === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #isBusy(): boolean {
    if (this.#requests.size > 0) return true;
    const active = process.getActiveResourcesInfo();
    return active.some((name) => BUSY.has(name)) || timeouts(active) > this.#timeouts;
  }

  #on(channel: string, listener: (message: unknown) => void): void {
    subscribe(channel, listener);
    this.#subscriptions.push([channel, listener]);
  }
}

function timeouts(active = process.getActiveResourcesInfo()): number {
  return active.filter((name) => name === 'Timeout').length;
}

/** Work of zlib runs on threads that no list of active resources shows. */
function watchZlib(working: Set<unknown>): () => void {
  let prototype = Object.getPrototypeOf(createGunzip()) as { _transform: Transform };
  while (!Object.hasOwn(prototype, '_transform')) {
    prototype = Object.getPrototypeOf(prototype) as { _transform: Transform };
  }
  const original = prototype._transform;
  prototype._transform = function transform(chunk, encoding, done) {
    const work = {};
    working.add(work);
    (this as NodeJS.EventEmitter).once('close', () => working.delete(work));
    original.call(this, chunk, encoding, (error) => {
      working.delete(work);
      done(error);
    });
  };
  return () => {
    prototype._transform = original;
  };
}
