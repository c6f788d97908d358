import { type Clock, formatDuration, MuralError } from '@mural/core';

/** Work that was not done in the time it had. */
export class DeadlineError extends MuralError<'TimedOut'> {
  constructor(ms: number) {
    super('TimedOut', `timed out after ${formatDuration(ms)}`, { retryable: true });
  }
}

/**
 * Runs `work` for at most `ms` milliseconds. Its signal aborts at the deadline, and whether or not it listens,
 * the caller goes on.
 *
 * @throws DeadlineError at the deadline; the reason of `signal` when that aborts first
 */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const settled = new AbortController();
  const late = clock.sleep(ms, AbortSignal.any([settled.signal, signal])).then(() => {
    const error = new DeadlineError(ms);
    over.abort(error);
    throw error;
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([work(AbortSignal.any([over.signal, signal])), late]);
  } finally {
    settled.abort();
  }
}
