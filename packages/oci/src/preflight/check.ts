import { errorMessage, MuralError } from '@mural/core';

/** `fail`: what is needed does not work. `warn`: look at it. `skip`: could not be asked, and is not needed. */
export type CheckStatus = 'ok' | 'fail' | 'warn' | 'skip';

/** One line of a preflight. It never holds a token or password. */
export interface PreflightCheck {
  readonly status: CheckStatus;
  /** Stable name: `identity`, `token`, `repository`, an IAM action such as `ecr:PutImage`, … */
  readonly check: string;
  /** What was looked at: `host/path`, or a file. */
  readonly target: string;
  /** What was found. */
  readonly message: string;
  /** What to do about it: a command, a key of the values or a policy statement. */
  readonly fix?: string;
}

/** A check without the place, which is the same for all of one repository. */
export type Found = Omit<PreflightCheck, 'target'>;

/** A check that found nothing wrong. */
export function ok(check: string, message: string): Found {
  return { status: 'ok', check, message };
}

/** A check that found what must be put right, or what should be looked at. */
export function bad(status: 'fail' | 'warn', check: string, message: string, fix?: string): Found {
  return { status, check, message, ...(fix === undefined || fix === '' ? {} : { fix }) };
}

/** A check that could not be made. */
export function skip(check: string, message: string): Found {
  return { status: 'skip', check, message };
}

/** An error as a check, with its hint as what to do. */
export function ofError(status: 'fail' | 'warn', check: string, error: unknown): Found {
  return bad(status, check, errorMessage(error), error instanceof MuralError ? error.hint : undefined);
}
