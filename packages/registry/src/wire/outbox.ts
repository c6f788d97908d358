/** Something to be sent. */
export interface Sendable {
  /** Must not throw. */
  send(): void;
}

/**
 * Sends what came to be in one turn of the event loop at its end, together.
 *
 * A write to a client that sleeps wakes it, which costs more than the write; a client that has many connections,
 * as a proxy has, is awake for the others once the first answer has reached it.
 */
export class Outbox {
  #waiting: Sendable[] = [];

  add(sendable: Sendable): void {
    if (this.#waiting.push(sendable) === 1) setImmediate(() => this.#sendAll());
  }

  #sendAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const sendable of waiting) sendable.send();
  }
}
