import { isRecord } from '@mural/core';
import { explainEcr, type RefusedRequest } from './cloud/ecr-refusals.ts';
import { parseEcrHost } from './cloud/hosts.ts';
import { OciError, type OciErrorCode } from './errors.ts';
import { header, type HttpResponse, readBounded } from './transport.ts';

/** What a request asked for: what a bare 404 means depends on it. */
export type Subject = RefusedRequest['subject'];

/** What was asked for and refused. */
export interface Refused {
  readonly method: string;
  readonly subject: Subject;
  readonly scope: { readonly repository?: string };
  /** In words: "reading the manifest x:y". */
  readonly what: string;
}

const MAX_ERROR_BODY = 64 * 1024;
const MAX_SHOWN = 500;

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
export async function statusError(response: HttpResponse, refused: Refused, now: number): Promise<OciError> {
  const { status, url } = response;
  const { method, subject, what, scope } = refused;
  const told = await readErrorBody(response);
  const code = codeOf(response, told, refused);
  const request = { host: url.host, method, subject, repository: scope.repository };
  const { action, hint } = explainEcr(request, code, told.message);
  const named = action === undefined || told.message.includes(action) ? '' : ` (${action})`;
  const shown = told.message === '' ? '' : `: ${told.message}`;
  const wait = retryAfterMs(header(response, 'retry-after'), now);
  return new OciError(code, `${url.host} answered ${status} to ${what}${named}${shown}`, {
    retryable: code === 'RateLimited' || code === 'ServerError',
    facts: {
      host: url.host,
      status,
      ...(told.code === '' ? {} : { registryCode: told.code }),
      ...(wait === undefined ? {} : { retryAfterMs: wait }),
      ...(action === undefined ? {} : { action }),
    },
    ...(hint === undefined ? hintFor(code) : { hint }),
  });
}

/** ECR throttles with 400 where its API does, and names it in the code or the text. */
const THROTTLED = /Throttling|TOOMANYREQUESTS/i;
const THROTTLED_TEXT = /rate exceeded|too ?many ?requests/i;
const IMMUTABLE = /immutable/i;

function codeOf({ status, url: { host } }: HttpResponse, told: ErrorBody, refused: Refused): OciErrorCode {
  const throttled = THROTTLED.test(told.code) || THROTTLED_TEXT.test(told.message);
  if (status === 429 || (status === 400 && (throttled || isSilentThrottle(host, refused))))
    return 'RateLimited';
  const plain = BY_STATUS[status];
  if (plain !== undefined) return plain;
  if (status >= 500 && status !== 501 && status !== 505) return 'ServerError';
  if (isImmutable(told, refused)) return 'TagImmutable';
  const specific = BY_CODE[told.code];
  if (specific !== undefined) return specific;
  return status === 404 ? MISSING[refused.subject] : 'RequestRefused';
}

const BY_STATUS: Readonly<Partial<Record<number, OciErrorCode>>> = {
  401: 'AuthenticationFailed',
  403: 'AccessDenied',
  413: 'TooLarge',
};

/** With a sound digest nothing else can be wrong with it, and a HEAD has no text. */
function isSilentThrottle(host: string, { method, subject }: Refused): boolean {
  return method === 'HEAD' && subject === 'blob' && parseEcrHost(host) !== undefined;
}

function isImmutable(told: ErrorBody, { method, subject }: Refused): boolean {
  if (method !== 'PUT' || subject !== 'manifest') return false;
  return told.code.startsWith('ImageTagAlreadyExists') || IMMUTABLE.test(told.message);
}

function hintFor(code: OciErrorCode): { readonly hint?: string } {
  if (code === 'AuthenticationFailed') return { hint: 'Check the user name and password for this registry.' };
  if (code === 'AccessDenied') return { hint: 'Check what this account may do in this repository.' };
  if (code === 'TagImmutable') return { hint: 'The tag exists with other content, and may not be moved.' };
  return {};
}

interface ErrorBody {
  readonly code: string;
  readonly message: string;
}

async function readErrorBody(response: HttpResponse): Promise<ErrorBody> {
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
  if (isRecord(first)) return { code: printable(first['code']), message: printable(first['message']) };
  if (!isRecord(document)) return nothing;
  // What the APIs of AWS answer, which is what is seen when ECR's front door throttles.
  return { code: printable(document['__type']), message: printable(document['message']) };
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
