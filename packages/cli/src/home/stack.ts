import { errorMessage, type Logger } from '@mural/core';

/** What has been started, to be stopped in the opposite order. */
export class Stack {
  readonly #log: Logger;
  readonly #parts: { readonly name: string; readonly stop: () => Promise<void> | void }[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Remembers how a part is stopped. */
  push(name: string, stop: () => Promise<void> | void): void {
    this.#parts.push({ name, stop });
  }

  /**
   * Stops every part, the latest first; a part that fails or takes longer than its share does not
   * keep the others from being stopped.
   *
   * @param deadlineMs for all of them together
   */
  async stop(deadlineMs: number): Promise<void> {
    const end = Date.now() + deadlineMs;
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      const share = Math.max(250, (end - Date.now()) / (this.#parts.length > 0 ? 2 : 1));
      const timer = Promise.withResolvers<'late'>();
      const timeout = setTimeout(() => timer.resolve('late'), share);
      try {
        const outcome = await Promise.race([Promise.resolve(part.stop()), timer.promise]);
        if (outcome === 'late')
          this.#log.warn({ part: part.name, afterMs: share }, 'part did not stop in time');
      } catch (error) {
        this.#log.warn({ part: part.name, error: errorMessage(error) }, 'part failed to stop');
      } finally {
        clearTimeout(timeout);
      }
    }
  }
}
