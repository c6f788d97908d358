import { errorMessage, MuralError } from '@mural/core';

/** What can be wrong with a command line, or with the place it is to work in. */
export type CliErrorCode =
  | 'Usage'
  | 'AddressInUse'
  | 'AddressUnavailable'
  | 'CertificateUntrusted'
  | 'DataDirInUse'
  | 'FileUnreadable'
  | 'FileInvalid'
  | 'KubeconfigMissing'
  | 'RegistryRefused'
  | 'ValuesInvalid'
  | 'NotReady'
  | 'Stopped'
  | 'NotFound';

/** An error that the person at the terminal can act on. */
export class CliError extends MuralError<CliErrorCode> {}

/** Exit code for a command line that makes no sense; everything else that fails exits with 1. */
export const EXIT_USAGE = 2;

/** `error: …` and, where there is one, `hint: …`, each on a line of its own. */
export function describeError(error: unknown): string {
  const hint = error instanceof MuralError ? error.hint : undefined;
  const message = errorMessage(error).trim();
  return `error: ${message === '' ? 'something failed without saying why' : message}\n${
    hint === undefined ? '' : `hint: ${hint}\n`
  }`;
}

/** The exit code that belongs to an error. */
export function exitCodeOf(error: unknown): number {
  return error instanceof CliError && error.code === 'Usage' ? EXIT_USAGE : 1;
}
