import type { Clock } from '@mural/core';
import { OciError } from './errors.ts';

/** A signal that ends with the caller's or when the time is up. Must be closed. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #what: string;
  readonly #outer: AbortSignal | undefined;
  readonly #forward: () => void;
  #timer: AbortController | undefined;

  constructor(clock: Clock, timeoutMs: number, what: string, outer?: AbortSignal) {
    outer?.throwIfAborted();
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#what = what;
    this.#outer = outer;
    this.#forward = () => this.#controller.abort(outer?.reason);
    outer?.addEventListener('abort', this.#forward, { once: true });
    this.restart();
  }

  /** Aborts with the caller's reason or with an OciError `TimedOut`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives the full time again: for streams, whose deadline is from one piece to the next. */
  restart(): void {
    this.#timer?.abort();
    const timer = new AbortController();
    this.#timer = timer;
    this.#clock.sleep(this.#timeoutMs, timer.signal).then(
      () => this.#expire(),
      () => undefined,
    );
  }

  close(): void {
    this.#timer?.abort();
    this.#outer?.removeEventListener('abort', this.#forward);
  }

  #expire(): void {
    const message = `${this.#what} took longer than ${this.#timeoutMs} ms`;
    this.#controller.abort(
      new OciError('TimedOut', message, { retryable: true, facts: { timeoutMs: this.#timeoutMs } }),
    );
  }
}
