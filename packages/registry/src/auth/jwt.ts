import { isRecord } from '@mural/core';

/** Bytes of a token at most: it travels in a header. */
export const MAX_TOKEN = 16 * 1024;

/**
 * Parameters of a header that bring a key or change how a token is read. No key comes from a token,
 * and nobody sends us extensions, so that a token with one of them is refused before anything else.
 */
const FORBIDDEN = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc', 'p2c'];

/** What a token says of itself before anything of it was verified: good for choosing the keys only. */
export interface UnverifiedToken {
  readonly alg: string;
  readonly kid: string | undefined;
  readonly issuer: string | undefined;
}

/** Whether text looks like a signed token in compact form (RFC 7515, 3.1). */
export function looksLikeToken(text: string): boolean {
  return text.length <= MAX_TOKEN && /^eyJ[\w-]{10,}\.[\w-]{2,}\.[\w-]{2,}$/.test(text);
}

/** Reads header and issuer of a token; undefined for one that is refused as it stands. */
export async function readUnverified(token: string): Promise<UnverifiedToken | undefined> {
  if (!looksLikeToken(token)) return undefined;
  try {
    // Loaded with the first token: a registry that sees none does without.
    const { decodeJwt, decodeProtectedHeader } = await import('jose');
    const header: unknown = decodeProtectedHeader(token);
    if (!isRecord(header) || FORBIDDEN.some((name) => name in header)) return undefined;
    const { alg, kid } = header;
    const { iss } = decodeJwt(token);
    if (typeof alg !== 'string') return undefined;
    return {
      alg,
      kid: typeof kid === 'string' ? kid : undefined,
      issuer: typeof iss === 'string' ? iss : undefined,
    };
  } catch {
    return undefined;
  }
}
