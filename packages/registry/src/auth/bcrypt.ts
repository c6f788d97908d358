import { Worker } from 'node:worker_threads';
import { RegistryError } from '../errors.ts';

/** Verifications that may wait for the thread; at the usual cost of 10 each takes 50 to 100 ms. */
const MAX_WAITING = 64;

interface Waiting {
  resolve(matches: boolean): void;
  reject(error: Error): void;
}

/** Verifies bcrypt hashes on a thread of its own, which starts when it is first needed. */
export class BcryptVerifier {
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #calls = 0;

  /** @throws RegistryError `TooManyRequests` when too many verifications are waiting */
  async matches(password: string, hash: string): Promise<boolean> {
    if (this.#waiting.size >= MAX_WAITING) {
      throw new RegistryError('TooManyRequests', 'Too many sign-ins at once.', {
        headers: { 'retry-after': '2' },
        retryable: true,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#calls += 1;
    this.#waiting.set(this.#calls, { resolve, reject });
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    worker.postMessage({ call: this.#calls, password, hash });
    return await promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-worker.ts', import.meta.url), { execArgv: [] });
    worker.on('message', (reply: { call: number; matches: boolean }) => {
      this.#waiting.get(reply.call)?.resolve(reply.matches);
      this.#waiting.delete(reply.call);
      if (this.#waiting.size === 0) worker.unref();
    });
    worker.on('error', (error) => this.#fail(worker, error));
    worker.on('exit', () => this.#fail(worker, new Error('The thread has ended.')));
    return worker;
  }

  #fail(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const reason = error instanceof Error ? error : new Error(String(error));
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}
