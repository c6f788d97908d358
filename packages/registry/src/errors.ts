import { MuralError, type MuralErrorOptions, systemCode } from '@mural/core';

interface Row {
  /** HTTP status of the answer. */
  readonly status: number;
  /** Code in the JSON body (distribution-spec, "Error codes"). */
  readonly oci: string;
}

/** Every error that the API can answer with: its HTTP status and its code on the wire. */
export const API_ERRORS = {
  AdministrationInvalid: { status: 400, oci: 'UNSUPPORTED' },
  BlobUnknown: { status: 404, oci: 'BLOB_UNKNOWN' },
  BodyInvalid: { status: 400, oci: 'SIZE_INVALID' },
  BlobUploadInvalid: { status: 400, oci: 'BLOB_UPLOAD_INVALID' },
  BlobUploadConflict: { status: 409, oci: 'BLOB_UPLOAD_INVALID' },
  BlobUploadOutOfOrder: { status: 416, oci: 'BLOB_UPLOAD_INVALID' },
  BlobUploadUnknown: { status: 404, oci: 'BLOB_UPLOAD_UNKNOWN' },
  Denied: { status: 403, oci: 'DENIED' },
  DigestInvalid: { status: 400, oci: 'DIGEST_INVALID' },
  EncodingUnsupported: { status: 415, oci: 'UNSUPPORTED' },
  Internal: { status: 500, oci: 'UNKNOWN' },
  IssuerUnavailable: { status: 503, oci: 'UNAVAILABLE' },
  LeaseUnknown: { status: 404, oci: 'UNSUPPORTED' },
  ManifestBlobUnknown: { status: 400, oci: 'MANIFEST_BLOB_UNKNOWN' },
  ManifestInvalid: { status: 400, oci: 'MANIFEST_INVALID' },
  ManifestTooLarge: { status: 413, oci: 'SIZE_INVALID' },
  ManifestUnknown: { status: 404, oci: 'MANIFEST_UNKNOWN' },
  MirrorReadOnly: { status: 405, oci: 'UNSUPPORTED' },
  MethodUnsupported: { status: 405, oci: 'UNSUPPORTED' },
  NameInvalid: { status: 400, oci: 'NAME_INVALID' },
  NameUnknown: { status: 404, oci: 'NAME_UNKNOWN' },
  PaginationInvalid: { status: 400, oci: 'PAGINATION_NUMBER_INVALID' },
  QuotaExceeded: { status: 403, oci: 'DENIED' },
  RangeInvalid: { status: 416, oci: 'RANGE_INVALID' },
  RequestTooSlow: { status: 408, oci: 'UNAVAILABLE' },
  RouteUnknown: { status: 404, oci: 'UNSUPPORTED' },
  RobotUnknown: { status: 404, oci: 'UNSUPPORTED' },
  ScopeInvalid: { status: 400, oci: 'UNSUPPORTED' },
  SizeInvalid: { status: 400, oci: 'SIZE_INVALID' },
  StorageFailed: { status: 503, oci: 'UNAVAILABLE' },
  StorageFull: { status: 507, oci: 'UNAVAILABLE' },
  TagInvalid: { status: 400, oci: 'TAG_INVALID' },
  TooManyRequests: { status: 429, oci: 'TOOMANYREQUESTS' },
  TooManyTags: { status: 414, oci: 'UNSUPPORTED' },
  Unauthorized: { status: 401, oci: 'UNAUTHORIZED' },
  UpstreamInvalid: { status: 502, oci: 'UNAVAILABLE' },
  UpstreamRefused: { status: 502, oci: 'UNAVAILABLE' },
  UpstreamTimeout: { status: 504, oci: 'UNAVAILABLE' },
  UpstreamUnavailable: { status: 502, oci: 'UNAVAILABLE' },
} as const satisfies Record<string, Row>;

/** Codes of {@link RegistryError}. */
export type RegistryErrorCode = keyof typeof API_ERRORS;

/** Facts and headers that an answer carries beside its code. */
export interface RegistryErrorOptions extends MuralErrorOptions {
  /** Headers of the answer, in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error of the registry's HTTP API. Its message and facts are shown to the client. */
export class RegistryError extends MuralError<RegistryErrorCode> {
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RegistryErrorCode, message: string, options: RegistryErrorOptions = {}) {
    super(code, message, options);
    this.headers = options.headers ?? {};
  }

  /** HTTP status of the answer. */
  get status(): number {
    return API_ERRORS[this.code].status;
  }

  /** The code that clients of the distribution-spec know. */
  get ociCode(): string {
    return API_ERRORS[this.code].oci;
  }
}

/** Codes of {@link RegistrySetupError}. */
export type RegistrySetupErrorCode =
  | 'BackupInvalid'
  | 'DataDirectoryInUse'
  | 'DataDirectoryInvalid'
  | 'DataDirectoryMissing'
  | 'EventsInvalid'
  | 'ClientCertificatesInvalid'
  | 'HtpasswdInvalid'
  | 'ListenInsecure'
  | 'ListenFailed'
  | 'MirrorInvalid'
  | 'OidcInvalid'
  | 'PolicyInvalid'
  | 'RobotInvalid'
  | 'RobotUnknown'
  | 'TokenOptionsInvalid'
  | 'RulesInvalid'
  | 'UserInvalid';

/** Why a registry could not be started or given a user. */
export class RegistrySetupError extends MuralError<RegistrySetupErrorCode> {}

const NO_SPACE = new Set(['ENOSPC', 'EDQUOT']);
const BROKEN = new Set(['EROFS', 'EIO', 'EACCES', 'EPERM', 'ENODEV', 'ENXIO', 'EMFILE', 'ENFILE', 'ENOMEM']);
const SQLITE_FULL = 13;
/** SQLITE_PERM, READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB. */
const SQLITE_BROKEN = new Set([3, 8, 10, 11, 14, 26]);

/** Whether `error` says that the disk, or the quota on it, is full. */
export function isNoSpace(error: unknown): boolean {
  if (NO_SPACE.has(systemCode(error) ?? '')) return true;
  return sqliteCode(error) === SQLITE_FULL;
}

/** The primary result code of an error of SQLite: extended codes keep it in their low byte. */
function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

/**
 * The error that a client sees for a fault of the disk: full, read-only, failing. Undefined for an
 * error that says nothing about the disk.
 */
export function storageError(error: unknown): RegistryError | undefined {
  if (error instanceof RegistryError) return isStorageError(error) ? error : undefined;
  if (isNoSpace(error)) return storageFull(error);
  const broken = BROKEN.has(systemCode(error) ?? '') || SQLITE_BROKEN.has(sqliteCode(error) ?? -1);
  return broken ? storageFailed(error) : undefined;
}

/** Whether an error of ours says that the disk is full or failing. */
export function isStorageError(error: unknown): error is RegistryError {
  return error instanceof RegistryError && (error.code === 'StorageFull' || error.code === 'StorageFailed');
}

/** The error that a push is answered with when the disk fails: what could not be made durable is not acknowledged. */
export function storageFailed(cause?: unknown): RegistryError {
  return new RegistryError('StorageFailed', 'The registry cannot write to its disk.', {
    cause,
    retryable: true,
  });
}

/** The error that a push is answered with when the disk is full. */
export function storageFull(cause?: unknown): RegistryError {
  return new RegistryError('StorageFull', 'The registry has no space left for this content.', {
    cause,
    retryable: true,
  });
}
