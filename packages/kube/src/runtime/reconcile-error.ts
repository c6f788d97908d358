import { MuralError, type MuralErrorOptions } from '@mural/core';

/**
 * What a failed reconcile waits for:
 * `stalling` for a change of the object, `waiting` for `requeueAfterMs`, `generic` for the next try
 * with back-off.
 */
export type ReconcileErrorKind = 'stalling' | 'waiting' | 'generic';

interface ReconcileErrorOptions extends MuralErrorOptions {
  readonly requeueAfterMs?: number | undefined;
  readonly conditionType?: string | undefined;
}

/** A failure of a reconcile step. Its code is the reason of the condition that tells of it. */
export class ReconcileError extends MuralError {
  readonly kind: ReconcileErrorKind;
  readonly requeueAfterMs: number | undefined;
  /** A further condition, such as `FetchFailed`, that becomes True. */
  readonly conditionType: string | undefined;

  constructor(
    kind: ReconcileErrorKind,
    reason: string,
    message: string,
    options: ReconcileErrorOptions = {},
  ) {
    super(reason, message, { retryable: kind !== 'stalling', ...options });
    this.kind = kind;
    this.requeueAfterMs = options.requeueAfterMs;
    this.conditionType = options.conditionType;
  }
}
