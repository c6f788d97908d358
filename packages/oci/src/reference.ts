import { maskUserInfo } from '@mural/core';
import { type Digest, isDigest } from './digest.ts';
import { OciError } from './errors.ts';

/** Where an artifact is. `registry` is a host with an optional port. */
export interface Reference {
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** `<name>` of distribution-spec, "Pulling manifests". */
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
/** `<reference>` as a tag, same section. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-fA-F:.]{2,45}\\])(?::([0-9]{1,5}))?$`);
/** Many implementations limit host and name together to 255 characters (distribution-spec). */
const MAX_NAME = 255;

/** Whether `text` may follow the colon of a reference. */
export function isValidTag(text: string): boolean {
  return TAG.test(text);
}

/** Whether `text` is a repository name without its registry. */
export function isValidRepository(text: string): boolean {
  return text.length <= MAX_NAME && REPOSITORY.test(text);
}

/** Whether `text` is `host` or `host:port`, the host a DNS name, IPv4 address or bracketed IPv6 address. */
export function isValidRegistry(text: string): boolean {
  const match = HOST.exec(text);
  if (match === null || text.length > MAX_NAME) return false;
  const port = match[1];
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
}

/**
 * Reads `[oci://]registry/repository[:tag][@digest]`. Nothing is guessed: the registry must be there.
 *
 * @throws OciError `ReferenceInvalid`
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string): never => {
    throw new OciError('ReferenceInvalid', `"${shown(text)}" is not a reference: ${why}`, {
      hint: 'Write registry/repository:tag or registry/repository@sha256:…',
    });
  };
  const bare = text.startsWith('oci://') ? text.slice('oci://'.length) : text;
  const slash = bare.indexOf('/');
  if (slash <= 0) return refuse('it names no registry and repository');
  const registry = bare.slice(0, slash);
  if (!isValidRegistry(registry)) return refuse('the registry is not a host with an optional port');
  let rest = bare.slice(slash + 1);
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const written = rest.slice(at + 1);
    if (!isDigest(written)) return refuse('what follows @ is not a digest');
    digest = written;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.indexOf(':');
  if (colon >= 0) {
    tag = rest.slice(colon + 1);
    if (!isValidTag(tag)) return refuse('what follows the colon is not a tag');
    rest = rest.slice(0, colon);
  }
  if (!isValidRepository(rest)) return refuse('the repository has characters that are not allowed');
  return {
    registry,
    repository: rest,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/**
 * Reads the `spec.url` of an OCIRepository: `oci://registry/repository` with neither tag nor digest.
 *
 * @throws OciError `UrlInvalid`
 */
export function parseRepositoryUrl(url: string): { readonly registry: string; readonly repository: string } {
  if (!url.startsWith('oci://')) {
    throw new OciError('UrlInvalid', `"${shown(url)}" does not start with oci://`);
  }
  let reference: Reference;
  try {
    reference = parseReference(url);
  } catch (cause) {
    throw new OciError('UrlInvalid', cause instanceof Error ? cause.message : String(cause), { cause });
  }
  if (reference.tag !== undefined || reference.digest !== undefined) {
    throw new OciError('UrlInvalid', `"${shown(url)}" has a tag or a digest`, {
      hint: 'Write the tag or digest into the ref, not the URL.',
    });
  }
  return { registry: reference.registry, repository: reference.repository };
}

/** What was written, for messages: somebody may have put a password into it. */
function shown(text: string): string {
  return maskUserInfo(text).slice(0, 300);
}

/** Writes a reference without a scheme; the opposite of {@link parseReference}. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}
