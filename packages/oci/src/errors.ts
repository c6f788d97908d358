import { MuralError } from '@mural/core';

/** What can go wrong with references, artifacts and registries; stable, for callers to branch on. */
export type OciErrorCode =
  | 'ReferenceInvalid'
  | 'UrlInvalid'
  | 'DigestInvalid'
  | 'DigestMismatch'
  | 'ManifestInvalid'
  | 'ManifestUnknown'
  | 'NameUnknown'
  | 'BlobUnknown'
  | 'AuthenticationFailed'
  | 'AccessDenied'
  | 'Unreachable'
  | 'TimedOut'
  | 'RateLimited'
  | 'ServerError'
  | 'RequestRefused'
  | 'ArchiveInvalid'
  | 'TooLarge'
  | 'CertificateInvalid'
  | 'ProxyInvalid'
  | 'ProviderMismatch'
  | 'IdentityUnavailable'
  | 'TagImmutable';

/** An error of this package. Its message never holds a credential or the query of a URL. */
export class OciError extends MuralError<OciErrorCode> {}
