import { type Clock, Deadline } from '@mural/core';
import { KubeError } from '../errors.ts';

/** A deadline of `ms` milliseconds, whose end is a `KubeError` `Timeout`. */
export function startDeadline(clock: Clock, ms: number, signal?: AbortSignal): Deadline {
  return new Deadline({ clock, ms, signal, expired: () => timeoutError(ms) });
}

/** Why a call ended without an answer. */
export function timeoutError(ms: number): KubeError {
  return new KubeError('Timeout', `no answer within ${Math.round(ms / 1000)} s`);
}
