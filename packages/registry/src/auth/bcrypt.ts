import { Worker } from 'node:worker_threads';
import { RegistryError } from '../errors.ts';

/** Verifications that may wait for the thread; at the usual cost of 10 each takes 50 to 100 ms. */
const MAX_WAITING = 128;
const MAX_WAITING_OF_SOURCE = 32;

/** Who asks for a verification, so that a flood from one place does not keep others waiting. */
export interface Asking {
  /** Address of the caller. */
  readonly source: string;
  /** Whether the account signed in from there lately: such go first. */
  readonly known: boolean;
}

interface Waiting {
  readonly password: string;
  readonly hash: string;
  resolve(matches: boolean): void;
  reject(error: Error): void;
}

/**
 * Verifies bcrypt hashes on a thread of its own, which starts when it is first needed.
 *
 * One verification is with the thread at a time. Callers that are known go first; the others take
 * turns by address, and when too many wait the address with the most of them loses one.
 */
export class BcryptVerifier {
  readonly #known: Waiting[] = [];
  readonly #bySource = new Map<string, Waiting[]>();
  #count = 0;
  #running: Waiting | undefined;
  #worker: Worker | undefined;
  #verifications = 0;

  /** How many verifications were begun: what a test of equal cost counts. */
  get verifications(): number {
    return this.#verifications;
  }

  /** @throws RegistryError `TooManyRequests` when too many verifications are waiting */
  async matches(password: string, hash: string, asking: Asking): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#enqueue({ password, hash, resolve, reject }, asking);
    this.#next();
    return await promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #enqueue(waiting: Waiting, { source, known }: Asking): void {
    if (known) {
      if (this.#known.length >= MAX_WAITING) throw tooMany();
      this.#known.push(waiting);
      return;
    }
    const own = this.#bySource.get(source) ?? [];
    if (own.length >= MAX_WAITING_OF_SOURCE) throw tooMany();
    if (this.#count >= MAX_WAITING) this.#makeRoom(own.length);
    own.push(waiting);
    this.#bySource.set(source, own);
    this.#count += 1;
  }

  /** Takes one from the address that has the most, if that is more than the newcomer's has. */
  #makeRoom(own: number): void {
    let longest: Waiting[] = [];
    for (const queue of this.#bySource.values()) if (queue.length > longest.length) longest = queue;
    if (longest.length <= own + 1) throw tooMany();
    longest.pop()?.reject(tooMany());
    this.#count -= 1;
  }

  #take(): Waiting | undefined {
    const first = this.#known.shift();
    if (first !== undefined) return first;
    const turn = this.#bySource.entries().next();
    if (turn.done === true) return undefined;
    const [source, queue] = turn.value;
    const waiting = queue.shift();
    this.#count -= 1;
    // The address goes to the end of the line, if it still waits.
    this.#bySource.delete(source);
    if (queue.length > 0) this.#bySource.set(source, queue);
    return waiting;
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const waiting = this.#take();
    if (waiting === undefined) {
      this.#worker?.unref();
      return;
    }
    this.#running = waiting;
    this.#verifications += 1;
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    worker.postMessage({ password: waiting.password, hash: waiting.hash });
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-worker.ts', import.meta.url), { execArgv: [] });
    worker.on('message', (matches: boolean) => {
      this.#running?.resolve(matches);
      this.#running = undefined;
      this.#next();
    });
    worker.on('error', (error) => this.#fail(worker, error));
    worker.on('exit', () => this.#fail(worker, new Error('The thread has ended.')));
    return worker;
  }

  #fail(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const reason = error instanceof Error ? error : new Error(String(error));
    const all = [this.#running, ...this.#known, ...[...this.#bySource.values()].flat()];
    this.#running = undefined;
    this.#known.length = 0;
    this.#bySource.clear();
    this.#count = 0;
    for (const waiting of all) waiting?.reject(reason);
  }
}

function tooMany(): RegistryError {
  return new RegistryError('TooManyRequests', 'Too many sign-ins at once.', {
    headers: { 'retry-after': '2' },
    retryable: true,
  });
}
