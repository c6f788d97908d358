import { OciError, type OciErrorCode } from '@mural/oci';
import { RegistryError, type RegistryErrorCode } from '../errors.ts';

/** The upstream of a mirror could not be had what was asked for, for a reason other than that it is not there. */
export class UpstreamError extends RegistryError {
  /** Whether the upstream as a whole cannot be used now, so that it is left alone for a while. */
  readonly away: boolean;
  /** How long it asked to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: RegistryErrorCode,
    message: string,
    options: { host: string; away?: boolean; retryAfterMs?: number | undefined; cause?: unknown },
  ) {
    const { host, away = false, retryAfterMs, cause } = options;
    const seconds =
      retryAfterMs === undefined ? 5 : Math.min(3600, Math.max(1, Math.ceil(retryAfterMs / 1000)));
    super(code, message, {
      cause,
      facts: { upstream: host },
      ...(away ? { headers: { 'retry-after': String(seconds) } } : {}),
    });
    this.away = away;
    this.retryAfterMs = retryAfterMs;
  }
}

interface Meaning {
  readonly code: RegistryErrorCode;
  readonly message: string;
  readonly away?: boolean;
}

const UNUSABLE: Meaning = {
  code: 'UpstreamInvalid',
  message: 'The upstream registry sent what cannot be used.',
};
const GONE: Meaning = {
  code: 'UpstreamUnavailable',
  message: 'The upstream registry cannot be reached.',
  away: true,
};

const MEANINGS: Readonly<Partial<Record<OciErrorCode, Meaning>>> = {
  AuthenticationFailed: {
    code: 'UpstreamRefused',
    message: 'The upstream registry does not take the credentials of this mirror.',
  },
  IdentityUnavailable: {
    code: 'UpstreamRefused',
    message: 'This mirror has no credentials for the upstream registry now.',
  },
  AccessDenied: {
    code: 'Denied',
    message: 'The upstream registry does not let this mirror read the repository.',
  },
  RateLimited: {
    code: 'TooManyRequests',
    message: 'The upstream registry asks to come back later.',
    away: true,
  },
  TimedOut: { code: 'UpstreamTimeout', message: 'The upstream registry did not answer in time.', away: true },
  Unreachable: GONE,
  CertificateInvalid: {
    code: 'UpstreamUnavailable',
    message: 'The certificate of the upstream registry cannot be trusted.',
    away: true,
  },
  ServerError: { code: 'UpstreamUnavailable', message: 'The upstream registry failed.' },
};

/** What a client is told of a failure of the upstream: nothing that the upstream chose to say. */
export function upstreamError(error: unknown, host: string): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const oci = error instanceof OciError ? error : undefined;
  const meaning = (oci === undefined ? undefined : MEANINGS[oci.code]) ?? UNUSABLE;
  const wait = oci?.facts['retryAfterMs'];
  return new UpstreamError(meaning.code, meaning.message, {
    host,
    away: meaning.away ?? false,
    retryAfterMs: typeof wait === 'number' ? wait : undefined,
    cause: error,
  });
}

/** Whether the upstream said that it has no such thing. */
export function isMissing(error: unknown): boolean {
  return error instanceof OciError && ['ManifestUnknown', 'BlobUnknown', 'NameUnknown'].includes(error.code);
}
