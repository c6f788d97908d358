import { type Clock, Deadline } from '@mural/core';
import { OciError } from './errors.ts';

/** A deadline of `timeoutMs` milliseconds for `what`, whose end is an OciError `TimedOut`. */
export function startDeadline(clock: Clock, timeoutMs: number, what: string, signal?: AbortSignal): Deadline {
  const message = `${what} took longer than ${timeoutMs} ms`;
  const expired = (): OciError =>
    new OciError('TimedOut', message, { retryable: true, facts: { timeoutMs } });
  return new Deadline({ clock, ms: timeoutMs, signal, expired });
}
