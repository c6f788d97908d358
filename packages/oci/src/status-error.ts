import { isRecord } from '@mural/core';
import { OciError, type OciErrorCode } from './errors.ts';
import { header, type HttpResponse, readBounded } from './transport.ts';

/** What a request asked for: what a bare 404 means depends on it. */
export type Subject = 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers' | 'registry';

const MAX_ERROR_BODY = 64 * 1024;
const MAX_SHOWN = 300;

/** Codes of distribution-spec, "Error codes", that say more than the status does. */
const BY_CODE: Readonly<Record<string, OciErrorCode>> = {
  MANIFEST_UNKNOWN: 'ManifestUnknown',
  BLOB_UNKNOWN: 'BlobUnknown',
  NAME_UNKNOWN: 'NameUnknown',
  MANIFEST_INVALID: 'ManifestInvalid',
  MANIFEST_BLOB_UNKNOWN: 'BlobUnknown',
  DIGEST_INVALID: 'DigestMismatch',
  SIZE_INVALID: 'DigestMismatch',
};

const MISSING: Readonly<Record<Subject, OciErrorCode>> = {
  manifest: 'ManifestUnknown',
  blob: 'BlobUnknown',
  upload: 'NameUnknown',
  tags: 'NameUnknown',
  referrers: 'NameUnknown',
  registry: 'NameUnknown',
};

/** Reads an answer that is not a success and turns it into an error. */
export async function statusError(
  response: HttpResponse,
  subject: Subject,
  what: string,
  now: number,
): Promise<OciError> {
  const { status, url } = response;
  const told = await readErrorBody(response);
  const code = codeOf(status, told.code, subject);
  const shown = told.message === '' ? '' : `: ${told.message}`;
  const wait = retryAfterMs(header(response, 'retry-after'), now);
  return new OciError(code, `${url.host} answered ${status} to ${what}${shown}`, {
    retryable: code === 'RateLimited' || code === 'ServerError',
    facts: {
      host: url.host,
      status,
      ...(told.code === '' ? {} : { registryCode: told.code }),
      ...(wait === undefined ? {} : { retryAfterMs: wait }),
    },
    ...hintFor(code),
  });
}

function codeOf(status: number, told: string, subject: Subject): OciErrorCode {
  if (status === 401) return 'AuthenticationFailed';
  if (status === 403) return 'AccessDenied';
  if (status === 429) return 'RateLimited';
  if (status === 413) return 'TooLarge';
  if (status >= 500 && status !== 501 && status !== 505) return 'ServerError';
  const specific = BY_CODE[told];
  if (specific !== undefined) return specific;
  return status === 404 ? MISSING[subject] : 'RequestRefused';
}

function hintFor(code: OciErrorCode): { readonly hint?: string } {
  if (code === 'AuthenticationFailed') return { hint: 'Check the user name and password for this registry.' };
  if (code === 'AccessDenied') return { hint: 'Check what this account may do in this repository.' };
  return {};
}

async function readErrorBody(
  response: HttpResponse,
): Promise<{ readonly code: string; readonly message: string }> {
  const nothing = { code: '', message: '' };
  let document: unknown;
  try {
    const body = await readBounded(response, MAX_ERROR_BODY, 'the error');
    document = JSON.parse(body.toString('utf8'));
  } catch {
    response.body.destroy();
    return nothing;
  }
  const errors: unknown = isRecord(document) ? document['errors'] : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (!isRecord(first)) return nothing;
  return { code: printable(first['code']), message: printable(first['message']) };
}

function printable(value: unknown): string {
  return typeof value === 'string'
    ? value.slice(0, MAX_SHOWN).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
    : '';
}

/** `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3), in milliseconds from `now`. */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
