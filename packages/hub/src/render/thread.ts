import { Worker } from 'node:worker_threads';
import { errorMessage } from '@mural/core';
import { RenderError, type RenderErrorCode } from '../errors.ts';
import { renderWorkload } from './render.ts';
import type { RenderInput, Rendering } from './types.ts';

/** A rendering asked of the thread. */
export interface RenderRequest {
  readonly id: number;
  readonly input: RenderInput;
}

/** What the thread answers. Errors lose their class on the way and are put together again. */
export type RenderAnswer =
  | { readonly id: number; readonly rendering: Rendering }
  | {
      readonly id: number;
      readonly error: {
        readonly code: RenderErrorCode | undefined;
        readonly message: string;
        readonly hint: string | undefined;
        readonly facts: Readonly<Record<string, unknown>>;
      };
    };

interface Pending {
  readonly resolve: (rendering: Rendering) => void;
  readonly reject: (error: Error) => void;
}

/** Input up to this size, in characters, is parsed in a few milliseconds: not worth a thread. */
const INLINE = 64 * 1024;
const IDLE_MS = 60_000;
const MAX_HEAP_MB = 1536;

/**
 * Renders, large inputs in a thread of their own, so that megabytes of YAML delay no watch and no
 * heartbeat of the same process. The thread starts when needed and ends when idle.
 */
export class RenderThread {
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  readonly #pending = new Map<number, Pending>();
  #next = 1;

  /** @throws RenderError */
  async render(input: RenderInput): Promise<Rendering> {
    if (isSmall(input)) return await renderWorkload(input);
    const { promise, resolve, reject } = Promise.withResolvers<Rendering>();
    const id = this.#next;
    this.#next += 1;
    this.#pending.set(id, { resolve, reject });
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#worker.postMessage({ id, input } satisfies RenderRequest);
    return await promise;
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#fail('the hub is stopping');
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./thread-main.ts', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    worker.on('message', (answer: RenderAnswer) => this.#answer(answer));
    worker.on('error', (error: unknown) => this.#lost(worker, errorMessage(error)));
    worker.on('exit', () => this.#lost(worker, 'it ended'));
    return worker;
  }

  #answer(answer: RenderAnswer): void {
    const pending = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if ('rendering' in answer) pending?.resolve(answer.rendering);
    else pending?.reject(errorOf(answer.error));
    if (this.#pending.size > 0) return;
    this.#worker?.unref();
    this.#idle = setTimeout(() => void this.#stopIdle(), IDLE_MS);
    this.#idle.unref();
  }

  async #stopIdle(): Promise<void> {
    if (this.#pending.size > 0) return;
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #lost(worker: Worker, why: string): void {
    if (this.#worker === worker) this.#fail(`the render thread was lost: ${why}`);
  }

  #fail(why: string): void {
    this.#worker = undefined;
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of all) reject(new RenderError('RenderFailed', why));
  }
}

/** What is written out in the profile and rendered without a program of its own. */
function isSmall(input: RenderInput): boolean {
  return (
    Object.keys(input.artifacts).length === 0 &&
    input.profile.components.every(({ type }) => type !== 'helm' && type !== 'kustomize') &&
    JSON.stringify(input.profile.components).length <= INLINE
  );
}

function errorOf(error: Extract<RenderAnswer, { error: unknown }>['error']): Error {
  if (error.code === undefined) return new Error(error.message);
  return new RenderError(error.code, error.message, {
    facts: error.facts,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
