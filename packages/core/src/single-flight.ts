/** Lets concurrent callers that ask for the same thing share one run of the work. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  /** Joins the run under `key`, or starts it with `work`. A failure is shared too, and not kept. */
  async run(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return await running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return await started;
  }
}
