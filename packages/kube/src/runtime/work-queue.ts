import type { Clock } from '@mural/core';

const CANCELLED = new Error('cancelled');

/**
 * Keys that wait for work. A key waits at most once; one that is being worked on and comes again
 * waits until that run is over, so no key is ever worked on twice at a time.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #later = new Map<string, { readonly due: number; readonly timer: AbortController }>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keys that wait now, those put off not counted. */
  get size(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
      return;
    }
    this.#running.add(key);
    taker(key);
  }

  /** Adds the key after `ms` milliseconds, unless it is due before that already. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    const due = this.#clock.now() + ms;
    const planned = this.#later.get(key);
    if (planned !== undefined && planned.due <= due) return;
    this.cancel(key);
    const timer = new AbortController();
    this.#later.set(key, { due, timer });
    this.#clock.sleep(ms, timer.signal).then(
      () => {
        this.#later.delete(key);
        this.add(key);
      },
      () => undefined,
    );
  }

  /** Forgets what {@link addAfter} planned for the key. */
  cancel(key: string): void {
    const planned = this.#later.get(key);
    if (planned === undefined) return;
    this.#later.delete(key);
    planned.timer.abort(CANCELLED);
  }

  /** The next key to work on; `undefined` when the queue is closed. Must be followed by {@link done}. */
  async take(): Promise<string | undefined> {
    if (this.#closed) return undefined;
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      this.#running.add(key);
      return key;
    }
    return await new Promise((resolve) => this.#takers.push(resolve));
  }

  /** Says that the work on a key is over. */
  done(key: string): void {
    this.#running.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Drops everything and lets every taker go. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#later.values()) timer.abort(CANCELLED);
    this.#later.clear();
    this.#waiting.clear();
    this.#again.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}
