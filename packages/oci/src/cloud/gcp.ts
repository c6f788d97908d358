import { errorMessage } from '@mural/core';
import { OciError } from '../errors.ts';
import type { CloudContext } from './options.ts';
import type { FetchedToken } from './token-cache.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
/** What a token that does not say is taken to live. */
const UNTOLD_LIFE_MS = 10 * 60_000;

/**
 * An access token of Google's application default credentials, which its registries take as a password.
 *
 * @throws OciError `IdentityUnavailable`
 */
export async function fetchGcpToken(context: CloudContext, signal: AbortSignal): Promise<FetchedToken> {
  const { GoogleAuth } = await import('google-auth-library');
  const file = context.environment['GOOGLE_APPLICATION_CREDENTIALS'];
  const options = { scopes: [SCOPE], ...(file === undefined || file === '' ? {} : { keyFilename: file }) };
  try {
    const client = await new GoogleAuth(options).getClient();
    const { token } = await client.getAccessToken();
    signal.throwIfAborted();
    if (typeof token !== 'string' || token === '') throw new Error('no token came');
    const expiresAt = client.credentials.expiry_date ?? context.clock.now() + UNTOLD_LIFE_MS;
    return { credential: { username: 'oauth2accesstoken', password: token }, expiresAt };
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new OciError(
      'IdentityUnavailable',
      `Google gave no access token for ${context.registry}: ${errorMessage(cause).slice(0, 500)}`,
      {
        cause,
        retryable: true,
        hint: 'Use Workload Identity, a service account of the node, or GOOGLE_APPLICATION_CREDENTIALS; it needs roles/artifactregistry.reader or .writer.',
      },
    );
  }
}
