import { resolveLocation } from './caller.ts';
import type { Deadline } from '@mural/core';
import {
  type Digest,
  type DigestAlgorithm,
  digestOf,
  DigestVerifier,
  isDigest,
  parseDigest,
} from './digest.ts';
import { OciError } from './errors.ts';
import { type Descriptor, parseManifest } from './manifest.ts';
import { contentLength, discard, header, type HttpResponse } from './transport.ts';

/** The part of a descriptor that addresses content. */
export type Content = Pick<Descriptor, 'digest' | 'size'>;

/** Holds back one piece, so that a reader of the whole never takes the end of something that is wrong. */
export async function* verified(
  pieces: AsyncIterable<Uint8Array>,
  content: Content,
  deadline: Deadline,
): AsyncGenerator<Uint8Array> {
  const verifier = new DigestVerifier(content.digest, content.size);
  let held: Uint8Array | undefined;
  for await (const piece of pieces) {
    verifier.update(piece);
    deadline.restart();
    if (held !== undefined) yield held;
    held = piece;
    deadline.restart();
  }
  verifier.finish();
  if (held !== undefined) yield held;
}

/** Where an upload goes on. */
export async function sessionOf(response: HttpResponse): Promise<URL> {
  await discard(response);
  const location = header(response, 'location');
  if (location === undefined)
    throw new OciError('ServerError', `${response.url.host} gave no place to upload to`);
  return resolveLocation(location, response.url, 'an upload');
}

/** The descriptor that headers alone give, or `undefined` when they do not suffice. */
export function describe(response: HttpResponse, reference: string): Descriptor | undefined {
  if (response.status !== 200) return undefined;
  const mediaType = header(response, 'content-type')?.split(';', 1)[0]?.trim();
  const size = contentLength(response);
  const told = header(response, 'docker-content-digest');
  if (mediaType === undefined || mediaType === '' || size === undefined) return undefined;
  if (told !== undefined && !isDigest(told)) return undefined;
  if (isDigest(reference)) {
    if (told !== undefined && told !== reference) throw mismatch(reference, told);
    return { mediaType, digest: reference, size };
  }
  return told === undefined ? undefined : { mediaType, digest: told, size };
}

/** What a manifest is: its digest is checked against what was asked for or what the registry says. */
export function identify(
  response: HttpResponse,
  reference: string,
  bytes: Uint8Array,
): { readonly mediaType: string; readonly digest: Digest } {
  const told = header(response, 'docker-content-digest');
  const expected = isDigest(reference) ? reference : told !== undefined && isDigest(told) ? told : undefined;
  const digest = digestOf(bytes, expected === undefined ? 'sha256' : algorithmOf(expected));
  if (expected !== undefined && expected !== digest) throw mismatch(expected, digest);
  const { mediaType } = parseManifest(bytes, header(response, 'content-type'));
  return { mediaType, digest };
}

/** Refuses a blob of another size before any of it is read. */
export function checkLength(response: HttpResponse, content: Content): void {
  const length = contentLength(response);
  if (length !== undefined && length !== content.size) {
    throw new OciError('DigestMismatch', `${content.digest} has ${length} bytes instead of ${content.size}`, {
      facts: { expected: content.size, received: length },
    });
  }
}

/** Where a list goes on (RFC 8288), on the same host alone. */
export function nextPage(link: string | undefined, current: URL): URL | undefined {
  const target = /<([^>]*)>\s*;[^,]*rel="?next"?/.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const url = resolveLocation(target, current, 'a list');
  if (url.origin !== current.origin) {
    throw new OciError('RequestRefused', `${current.host} continues a list on another host`);
  }
  return url;
}

/** The JSON of a list. */
export function parseList(body: Buffer, what: string): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new OciError('ServerError', `the answer to ${what} is not JSON`, { cause });
  }
}

/** The algorithm of a digest; sha256 for a tag. */
export function algorithmOf(reference: string): DigestAlgorithm {
  return isDigest(reference) ? parseDigest(reference).algorithm : 'sha256';
}

/** Content that is not what was asked for. */
export function mismatch(expected: string, received: string): OciError {
  return new OciError('DigestMismatch', `expected ${expected}, the registry has ${received}`, {
    facts: { expected, received },
  });
}

/** Reads an answer whose status says it all. */
export async function taken(response: HttpResponse): Promise<true> {
  await discard(response);
  return true;
}

/** What a registry does not have is no error to those who ask whether it does. */
export async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Whether the registry has no such thing. */
export function isMissing(error: unknown): boolean {
  return error instanceof OciError && ['ManifestUnknown', 'BlobUnknown', 'NameUnknown'].includes(error.code);
}
