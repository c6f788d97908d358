/** Kinds of a field error (`field.ErrorType` of `k8s.io/apimachinery`). */
export type FieldErrorType =
  | 'Required'
  | 'Invalid'
  | 'NotFound'
  | 'NotSupported'
  | 'TooLong'
  | 'TooMany'
  | 'TypeInvalid'
  | 'Duplicate'
  | 'Forbidden'
  | 'InternalError';

/** One thing that is wrong with an object. */
export interface FieldError {
  /** Where: `spec.template.spec.containers[0].name`; `<nil>` for the object as a whole. */
  readonly field: string;
  readonly type: FieldErrorType;
  /** What is wrong with it; may be empty. */
  readonly detail: string;
  /** The value at fault. When the key is there, the value is shown, even if it is `null`. */
  readonly badValue?: unknown;
}

const WORDS: Readonly<Record<FieldErrorType, string>> = {
  Required: 'Required value',
  Invalid: 'Invalid value',
  NotFound: 'Not found',
  NotSupported: 'Unsupported value',
  TooLong: 'Too long',
  TooMany: 'Too many',
  TypeInvalid: 'Invalid value',
  Duplicate: 'Duplicate value',
  Forbidden: 'Forbidden',
  InternalError: 'Internal error',
};

const WITHOUT_VALUE: ReadonlySet<FieldErrorType> = new Set([
  'Required',
  'Forbidden',
  'TooLong',
  'InternalError',
]);

/** `Invalid value: "x": must be …`: the message of one cause of the `Status`. */
export function fieldErrorBody(error: FieldError): string {
  const value =
    WITHOUT_VALUE.has(error.type) || !Object.hasOwn(error, 'badValue')
      ? ''
      : `: ${showValue(error.badValue)}`;
  return `${WORDS[error.type]}${value}${error.detail === '' ? '' : `: ${error.detail}`}`;
}

function showValue(value: unknown): string {
  return value === undefined ? 'null' : JSON.stringify(value);
}

/**
 * The message of a 422: `Deployment.apps "x" is invalid: [spec.a: Required value, …]`.
 *
 * @param kind the kind, with its group where it has one: `Deployment.apps`
 */
export function formatFieldErrors(kind: string, name: string, errors: readonly FieldError[]): string {
  const lines = errors.map((error) => `${error.field}: ${fieldErrorBody(error)}`);
  const list = lines.length === 1 ? (lines[0] ?? '') : `[${lines.join(', ')}]`;
  return `${kind} "${name}" is invalid: ${list}`;
}

/** `Unsupported value: "x": supported values: "a", "b"`. */
export function notSupported(field: string, badValue: unknown, supported: readonly unknown[]): FieldError {
  const values = supported.map((value) => JSON.stringify(String(value))).join(', ');
  return { field, type: 'NotSupported', badValue, detail: `supported values: ${values}` };
}

/** `Required value`, with a reason where there is one. */
export function required(field: string, detail = ''): FieldError {
  return { field, type: 'Required', detail };
}

/** `Invalid value: "x": DETAIL`. */
export function invalidValue(field: string, badValue: unknown, detail: string): FieldError {
  return { field, type: 'Invalid', badValue, detail };
}
