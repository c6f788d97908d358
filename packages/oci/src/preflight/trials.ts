import { randomBytes } from 'node:crypto';
import type { RegistryClient } from '../client.ts';
import { type Digest, digestOf } from '../digest.ts';
import { OciError, type OciErrorCode } from '../errors.ts';
import { MEDIA_TYPES } from '../manifest.ts';

/** What the answer to a trial says of the permission that it needs. */
export type Verdict =
  | { readonly kind: 'allowed' }
  /** The repository is not there; permissions are decided before that is looked at. */
  | { readonly kind: 'no-repository'; readonly error: OciError }
  | { readonly kind: 'denied'; readonly error: OciError; readonly action: string | undefined }
  | { readonly kind: 'unclear'; readonly error: OciError };

/** Answers that say nothing of permissions. */
const UNCLEAR: readonly OciErrorCode[] = [
  'AuthenticationFailed',
  'RateLimited',
  'ServerError',
  'Unreachable',
  'TimedOut',
  'CertificateInvalid',
  'ProxyInvalid',
  'IdentityUnavailable',
];
const AUTHORIZED = /not authorized to perform/i;

/**
 * Reads the answer to a request for what is not there.
 *
 * @param silent whether a refusal has no text (HEAD): then the status alone must do
 */
export function verdictOf(error: OciError | undefined, silent = false): Verdict {
  if (error === undefined) return { kind: 'allowed' };
  if (error.code === 'NameUnknown') return { kind: 'no-repository', error };
  if (error.code === 'AccessDenied') {
    const { action } = error.facts;
    const named = silent || AUTHORIZED.test(error.message);
    return named
      ? { kind: 'denied', error, action: typeof action === 'string' ? action : undefined }
      : { kind: 'unclear', error };
  }
  return UNCLEAR.includes(error.code) ? { kind: 'unclear', error } : { kind: 'allowed' };
}

/** The error of a call, if it is one of the registry's. @throws what is not, and what an abort throws */
export async function refusalOf(call: Promise<unknown>, signal?: AbortSignal): Promise<OciError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (error instanceof OciError && signal?.aborted !== true) return error;
    throw error;
  }
}

/** A digest that nothing has. */
export function unknownDigest(): Digest {
  return digestOf(randomBytes(32));
}

/** A tag that nobody has set. */
export function unknownTag(): string {
  return `mural-preflight-${randomBytes(8).toString('hex')}`;
}

/**
 * Puts a manifest that names content which is not there: a registry that checks refuses it, after it has
 * asked itself whether the caller may put it. It goes under its digest, so that no tag is touched.
 *
 * @returns the refusal, and the digest of what would be left behind when there is none
 */
export async function putDangling(
  client: RegistryClient,
  repository: string,
  signal?: AbortSignal,
): Promise<{ readonly refusal: OciError | undefined; readonly digest: Digest }> {
  const content = (mediaType: string) => ({ mediaType, digest: unknownDigest(), size: 32 });
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.imageManifest,
    config: content(MEDIA_TYPES.fluxConfig),
    layers: [content(MEDIA_TYPES.fluxContent)],
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  const put = client.putManifest(repository, digest, bytes, MEDIA_TYPES.imageManifest, signal);
  return { refusal: await refusalOf(put, signal), digest };
}
