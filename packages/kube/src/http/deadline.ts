import type { Clock } from '@mural/core';
import { KubeError } from '../errors.ts';

const FINISHED = new Error('finished');

/**
 * Runs `work` with a signal that aborts with `parent`, or with a `KubeError` `Timeout` after `ms`.
 */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = startDeadline(clock, ms, parent);
  try {
    return await work(deadline.signal);
  } finally {
    deadline.end();
  }
}

/** A deadline whose end somebody else decides: for streams. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Stops the clock and lets go of the parent. */
  end(): void;
  /** Aborts now. */
  abort(reason: unknown): void;
}

/** Starts a deadline of `ms` milliseconds below `parent`. */
export function startDeadline(clock: Clock, ms: number, parent?: AbortSignal): Deadline {
  parent?.throwIfAborted();
  const controller = new AbortController();
  const timer = new AbortController();
  const onParent = (): void => controller.abort(parent?.reason);
  parent?.addEventListener('abort', onParent, { once: true });
  clock.sleep(ms, timer.signal).then(
    () => controller.abort(new KubeError('Timeout', `no answer within ${Math.round(ms / 1000)} s`)),
    () => undefined,
  );
  return {
    signal: controller.signal,
    end() {
      timer.abort(FINISHED);
      parent?.removeEventListener('abort', onParent);
    },
    abort: (reason) => controller.abort(reason),
  };
}
