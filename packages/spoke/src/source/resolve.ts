import { maskUserInfo } from '@mural/core';
import { type OCIRepositorySpec, ReconcileError } from '@mural/kube';
import { isDigest, OciError, parseRepositoryUrl, type RegistryClient } from '@mural/oci';
import { conditionMessage } from '../status.ts';
import { greatest, parseRange } from './semver.ts';

/** Which artifact a source means now. */
export interface Resolved {
  /** `<tag>@<digest>`, or the digest alone when the reference is one: `status.artifact.revision`. */
  readonly revision: string;
  readonly digest: string;
}

/**
 * The registry and repository of `spec.url`.
 *
 * @throws ReconcileError stalling `URLInvalid`
 */
export function locate(spec: OCIRepositorySpec): { readonly registry: string; readonly repository: string } {
  try {
    return parseRepositoryUrl(spec.url);
  } catch (cause) {
    throw new ReconcileError(
      'stalling',
      'URLInvalid',
      `URL validation failed for '${maskUserInfo(spec.url)}': ${conditionMessage(cause)}`,
      {
        cause,
        conditionType: 'FetchFailed',
      },
    );
  }
}

/** What a reference by digest means, which needs no registry; `undefined` for the other references. */
export function resolveDigest(spec: OCIRepositorySpec): Resolved | undefined {
  const digest = spec.ref?.digest;
  if (digest === undefined || digest === '') return undefined;
  if (isDigest(digest)) return { revision: digest, digest };
  throw new ReconcileError('stalling', 'URLInvalid', `ref.digest '${digest}' is not a digest`, {
    conditionType: 'FetchFailed',
  });
}

/**
 * Looks a tag or version range up: one HEAD for a tag, a list of tags before it for a range.
 *
 * @throws ReconcileError `ReadOperationFailed` when no tag fits, `OCIArtifactPullFailed` or
 *   `AuthenticationFailed` when the registry does not say what the tag holds
 */
export async function resolveTag(
  spec: OCIRepositorySpec,
  client: RegistryClient,
  repository: string,
  signal: AbortSignal,
): Promise<Resolved> {
  const range = spec.ref?.semver;
  const tag =
    range === undefined || range === ''
      ? (spec.ref?.tag ?? 'latest')
      : await greatestTag(range, spec, { client, repository, signal });
  const what = 'failed to determine artifact digest';
  let head: Awaited<ReturnType<RegistryClient['headManifest']>>;
  try {
    head = await client.headManifest(repository, tag, signal);
  } catch (cause) {
    throw fetchError(cause, what, 'OCIArtifactPullFailed');
  }
  if (head === undefined) {
    throw new ReconcileError(
      'generic',
      'OCIArtifactPullFailed',
      `${what}: ${client.registry}/${repository}:${tag} is not in the registry`,
      { conditionType: 'FetchFailed' },
    );
  }
  return { revision: `${tag}@${head.digest}`, digest: head.digest };
}

async function greatestTag(
  range: string,
  spec: OCIRepositorySpec,
  where: { readonly client: RegistryClient; readonly repository: string; readonly signal: AbortSignal },
): Promise<string> {
  const what = `failed to determine the artifact tag for '${spec.url}'`;
  const accepts = parseRange(range);
  if (accepts === undefined) throw unreadable(`${what}: semver '${range}' parse error`);
  const filter = filterOf(spec, what);
  let tags: string[];
  try {
    tags = await where.client.listTags(where.repository, where.signal);
  } catch (cause) {
    throw fetchError(cause, what, 'ReadOperationFailed');
  }
  const tag = greatest(
    tags.filter((candidate) => filter?.test(candidate) ?? true),
    accepts,
  );
  if (tag !== undefined) return tag;
  throw new ReconcileError('generic', 'ReadOperationFailed', `${what}: no match found for semver: ${range}`, {
    conditionType: 'FetchFailed',
  });
}

function filterOf(spec: OCIRepositorySpec, what: string): RegExp | undefined {
  const filter = spec.ref?.semverFilter;
  if (filter === undefined || filter === '') return undefined;
  try {
    return new RegExp(filter);
  } catch {
    throw unreadable(`${what}: semverFilter '${filter}' is not a regular expression`);
  }
}

function unreadable(message: string): ReconcileError {
  return new ReconcileError('stalling', 'ReadOperationFailed', message, { conditionType: 'FetchFailed' });
}

const REFUSED: readonly string[] = ['AuthenticationFailed', 'AccessDenied', 'IdentityUnavailable'];

/**
 * The failure of a call to the registry: refused credentials have a reason of their own, the rest has the one
 * of the step.
 */
export function fetchError(cause: unknown, what: string, reason: string): ReconcileError {
  if (cause instanceof ReconcileError) return cause;
  const refused = cause instanceof OciError && REFUSED.includes(cause.code);
  const message = `${what}: ${conditionMessage(cause)}`;
  return new ReconcileError('generic', refused ? 'AuthenticationFailed' : reason, message, {
    cause,
    conditionType: 'FetchFailed',
  });
}
