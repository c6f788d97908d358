import { type Clock, type DeadlineOptions, formatDuration, MuralError } from '@mural/core';

/** Work that was not done in the time it had. */
export class DeadlineError extends MuralError<'TimedOut'> {
  constructor(ms: number) {
    super('TimedOut', `timed out after ${formatDuration(ms)}`, { retryable: true });
  }
}

/** The deadline of one reconcile: `ms` milliseconds, then a {@link DeadlineError}. */
export function deadlineOf(clock: Clock, ms: number, signal: AbortSignal): DeadlineOptions {
  return { clock, ms, signal, expired: () => new DeadlineError(ms) };
}
