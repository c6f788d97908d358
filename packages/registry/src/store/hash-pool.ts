import { Worker } from 'node:worker_threads';
import type { Algorithm, HashCommand, HashReply } from './hash-protocol.ts';

type Success = Extract<HashReply, { ok: true }>;

interface Waiting {
  resolve(reply: Success): void;
  reject(error: Error): void;
}

/**
 * Threads that hash and write with synchronous file system calls, so that a large push does not
 * hold up the thread that answers everybody else. They start when they are first needed.
 */
export class HashPool {
  readonly #threads: HashThread[];
  #turn = 0;

  /** @param size number of threads */
  constructor(size: number) {
    this.#threads = Array.from({ length: size }, () => new HashThread());
  }

  /** The thread whose turn it is. A file that is appended to stays with one thread. */
  thread(): HashThread {
    this.#turn = (this.#turn + 1) % this.#threads.length;
    const thread = this.#threads[this.#turn];
    if (thread === undefined) throw new Error('The pool has no threads.');
    return thread;
  }

  /** The digest of a file, as lower-case hex. */
  async hashFile(path: string, algorithm: Algorithm): Promise<string> {
    const { hex } = await this.thread().call({ kind: 'hash', path, algorithm });
    return hex ?? '';
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

/** One worker thread and the calls that it has not answered yet. */
export class HashThread {
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #calls = 0;

  call(command: HashCommand): Promise<Success> {
    const { promise, resolve, reject } = Promise.withResolvers<Success>();
    this.#calls += 1;
    this.#waiting.set(this.#calls, { resolve, reject });
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    worker.postMessage({ ...command, call: this.#calls });
    return promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./hash-worker.ts', import.meta.url), {
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    });
    worker.on('message', (reply: HashReply) => this.#settle(worker, reply));
    worker.on('error', (error) => this.#fail(worker, error));
    worker.on('exit', () => this.#fail(worker, new Error('The hash thread has ended.')));
    return worker;
  }

  #settle(worker: Worker, reply: HashReply): void {
    const waiting = this.#waiting.get(reply.call);
    this.#waiting.delete(reply.call);
    if (this.#waiting.size === 0) worker.unref();
    if (reply.ok) waiting?.resolve(reply);
    else waiting?.reject(Object.assign(new Error(reply.message), { code: reply.code }));
  }

  #fail(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const reason = error instanceof Error ? error : new Error(String(error));
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
  }
}
