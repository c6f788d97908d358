import { isRecord, MuralError, type MuralErrorOptions, systemCode } from '@mural/core';
import type { KubeStatus } from './objects.ts';

/**
 * Why a call failed: the `reason` of the API's Status (`metav1.StatusReason`), and four of our own
 * for when no Status came: `Unreachable`, `CertificateInvalid`, `InvalidResponse` and
 * `KubeConfigInvalid`. `Gone` is told as `Expired`, since both mean: list anew.
 */
export type KubeErrorCode =
  | 'AlreadyExists'
  | 'BadRequest'
  | 'CertificateInvalid'
  | 'Conflict'
  | 'Expired'
  | 'Forbidden'
  | 'InternalError'
  | 'Invalid'
  | 'InvalidResponse'
  | 'KubeConfigInvalid'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'NotFound'
  | 'RequestEntityTooLarge'
  | 'ServerTimeout'
  | 'ServiceUnavailable'
  | 'Timeout'
  | 'TooManyRequests'
  | 'Unauthorized'
  | 'Unknown'
  | 'Unreachable'
  | 'UnsupportedMediaType';

const BY_HTTP_STATUS: Readonly<Record<number, KubeErrorCode>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Expired',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  502: 'ServiceUnavailable',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};
const REASONS: ReadonlySet<string> = new Set<KubeErrorCode>([
  ...Object.values(BY_HTTP_STATUS),
  'AlreadyExists',
  'ServerTimeout',
]);
const RETRYABLE: ReadonlySet<KubeErrorCode> = new Set<KubeErrorCode>([
  'Conflict',
  'Expired',
  'InternalError',
  'ServerTimeout',
  'ServiceUnavailable',
  'Timeout',
  'TooManyRequests',
  'Unreachable',
]);
const MAX_MESSAGE = 4096;

interface KubeErrorOptions extends MuralErrorOptions {
  readonly status?: KubeStatus | undefined;
  readonly httpStatus?: number | undefined;
}

/** A call to the Kubernetes API that failed. Its message never holds credentials. */
export class KubeError extends MuralError<KubeErrorCode> {
  /** The API's own answer, when it gave one. */
  readonly status: KubeStatus | undefined;
  readonly httpStatus: number | undefined;

  constructor(code: KubeErrorCode, message: string, options: KubeErrorOptions = {}) {
    super(code, message.slice(0, MAX_MESSAGE), { retryable: RETRYABLE.has(code), ...options });
    this.status = options.status;
    this.httpStatus = options.httpStatus;
  }
}

/** Whether `error` is a {@link KubeError} with one of these codes. */
export function isKubeError(error: unknown, ...codes: readonly KubeErrorCode[]): error is KubeError {
  return error instanceof KubeError && (codes.length === 0 || codes.includes(error.code));
}

/** Reads `value` as a `metav1.Status`. */
export function asStatus(value: unknown): KubeStatus | undefined {
  return isRecord(value) && value['kind'] === 'Status' && value['apiVersion'] === 'v1'
    ? (value as unknown as KubeStatus)
    : undefined;
}

/** The error that a Status, or an answer without one, stands for. */
export function errorOfAnswer(
  httpStatus: number,
  body: unknown,
  facts: Readonly<Record<string, unknown>>,
): KubeError {
  const status = asStatus(body);
  const byStatus = BY_HTTP_STATUS[httpStatus] ?? (httpStatus >= 500 ? 'InternalError' : 'Unknown');
  const reason = status?.reason === 'Gone' ? 'Expired' : (status?.reason ?? '');
  const code = REASONS.has(reason) ? (reason as KubeErrorCode) : byStatus;
  const text = typeof body === 'string' && body.trim() !== '' ? `: ${body.trim().slice(0, 500)}` : '';
  const message = status?.message ?? `the API answered ${httpStatus}${text}`;
  return new KubeError(code, message, { status, httpStatus, facts });
}

const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);
const CERTIFICATE = /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO_SELF|SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|ERR_SSL|EPROTO)/;

/** Whether the request behind `error` cannot have reached the API. */
export function wasNeverSent(error: unknown): boolean {
  return error instanceof KubeError && error.facts['sent'] === false;
}

/** The error that a failure of the transport stands for. */
export function errorOfTransport(cause: unknown, facts: Readonly<Record<string, unknown>>): KubeError {
  if (cause instanceof KubeError) return cause;
  const code = systemCode(cause) ?? systemCode(firstOf(cause)) ?? 'unknown';
  if (CERTIFICATE.test(code)) {
    return new KubeError('CertificateInvalid', `the certificate of the API is not trusted (${code})`, {
      cause,
      facts,
      hint: 'Check the CA in the kubeconfig against the certificate of the server.',
    });
  }
  const sent = !NEVER_SENT.has(code);
  return new KubeError('Unreachable', `the API cannot be reached (${code})`, {
    cause,
    facts: { ...facts, sent },
  });
}

/** The first of the errors that a connection to several addresses fails with. */
function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? error.errors[0] : undefined;
}
