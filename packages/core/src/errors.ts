/** What a {@link MuralError} may carry beside its code and message. */
export interface MuralErrorOptions {
  /** The error underneath, for logs; never shown to a remote client. */
  readonly cause?: unknown;
  /** One sentence that tells the reader what to do. */
  readonly hint?: string;
  /** The facts needed to act on the error: names, digests, positions. Never a secret. */
  readonly facts?: Readonly<Record<string, unknown>>;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable?: boolean;
}

/**
 * The base of every error that can reach a user.
 *
 * Callers branch on `code`, never on the text. Each package derives one class per protocol or
 * meaning with its own union of codes; the edge (HTTP answer, condition, terminal) turns it into
 * words once.
 */
export class MuralError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(code: Code, message: string, options: MuralErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
    this.facts = options.facts ?? {};
    this.retryable = options.retryable ?? false;
  }
}

/** The message of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system code (`ENOENT`, `ECONNREFUSED`) of an error from Node, if it has one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
