import { isLoopbackHost } from '@mural/core';
import { type Credential, type CredentialProvider, isValidRegistry, isValidRepository } from '@mural/oci';
import { RegistrySetupError } from '../errors.ts';
import { globPattern } from '../glob.ts';

/** A registry whose repositories are had here on demand. The first mirror that fits a name is its mirror. */
export interface MirrorOptions {
  /**
   * Names that are mirrored: `*` stands for any characters but a slash, `**` for any at all. They are
   * the same upstream, below the path of `upstream`. Either this or `prefix`.
   */
  readonly repositories?: string;
  /** Names below this are mirrored, without it: `hub` makes `hub/library/alpine` of `library/alpine`. */
  readonly prefix?: string;
  /** `https://host[:port][/path]`; `http` for a loopback host only. */
  readonly upstream: string;
  /** What the mirror signs in with, to the upstream and nobody else; anonymous unless given. */
  readonly credentials?: Credential | CredentialProvider;
  /** Hosts beside the upstream's own that may be asked for a token with the credentials, such as `auth.docker.io`. */
  readonly tokenServers?: readonly string[];
  /** PEM of authorities that are trusted beside those that Node trusts. */
  readonly ca?: string;
  /** How long a tag is served without asking upstream whether it moved, in milliseconds; a minute unless told. */
  readonly tagTtlMs?: number;
  /** How long it is remembered that something is not there, in milliseconds; 10 seconds unless told. */
  readonly negativeTtlMs?: number;
  /** How long a tag is served that the upstream cannot be asked about, in milliseconds; 30 days unless told. */
  readonly staleMs?: number;
  /** Manifests that nobody has pulled for this long go, in milliseconds; they stay unless told. */
  readonly evictAfterMs?: number;
  /** How long the upstream may be silent, in milliseconds; 30 seconds unless told. */
  readonly timeoutMs?: number;
  /** Blobs that are fetched at a time, 8 unless told. */
  readonly concurrency?: number;
}

/** A mirror that was checked, with everything filled in. */
export interface CompiledMirror {
  /** Its prefix or pattern as it was written, which no other mirror has. */
  readonly name: string;
  readonly origin: URL;
  readonly credentials: Credential | CredentialProvider | undefined;
  readonly tokenServers: readonly string[];
  readonly ca: string | undefined;
  readonly tagTtlMs: number;
  readonly negativeTtlMs: number;
  readonly staleMs: number;
  readonly evictAfterMs: number | undefined;
  readonly timeoutMs: number;
  readonly concurrency: number;
  /** What a repository is called upstream; undefined for one that is not mirrored here. */
  readonly upstreamName: (name: string) => string | undefined;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const MAX_CONCURRENCY = 16;

/**
 * Checks mirrors, which may come from a file.
 *
 * @throws RegistrySetupError `MirrorInvalid`; its fact `at` says where, as in `mirrors[0].upstream`
 */
export function compileMirrors(mirrors: readonly MirrorOptions[]): CompiledMirror[] {
  const names = new Set<string>();
  return mirrors.map((mirror, index) => {
    const at = `mirrors[${index}]`;
    const written = mirror.prefix ?? mirror.repositories ?? at;
    const name = names.has(written) ? `${written} (${at})` : written;
    names.add(name);
    return { name, ...compileMirror(mirror, at) };
  });
}

function compileMirror(mirror: MirrorOptions, at: string): Omit<CompiledMirror, 'name'> {
  const upstream = upstreamAt(mirror.upstream, `${at}.upstream`);
  const path = upstream.pathname.replace(/^\/|\/$/g, '');
  const { concurrency = 8 } = mirror;
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONCURRENCY) {
    throw invalid(`${at}.concurrency`, `must be from 1 to ${MAX_CONCURRENCY}`);
  }
  for (const [index, host] of (mirror.tokenServers ?? []).entries()) {
    if (!isValidRegistry(host))
      throw invalid(`${at}.tokenServers[${index}]`, 'must be a host with an optional port');
  }
  return {
    origin: new URL(upstream.origin),
    credentials: mirror.credentials,
    tokenServers: (mirror.tokenServers ?? []).map((host) => host.toLowerCase()),
    ca: mirror.ca,
    tagTtlMs: timeAt(mirror.tagTtlMs, MINUTE_MS, `${at}.tagTtl`),
    negativeTtlMs: timeAt(mirror.negativeTtlMs, 10_000, `${at}.negativeTtl`),
    staleMs: timeAt(mirror.staleMs, 30 * DAY_MS, `${at}.stale`),
    evictAfterMs:
      mirror.evictAfterMs === undefined ? undefined : timeAt(mirror.evictAfterMs, 0, `${at}.evictAfter`),
    timeoutMs: Math.max(1, timeAt(mirror.timeoutMs, 30_000, `${at}.timeout`)),
    concurrency,
    upstreamName: namesOf(mirror, path, at),
  };
}

function namesOf(
  { repositories, prefix }: MirrorOptions,
  path: string,
  at: string,
): (name: string) => string | undefined {
  if ((repositories === undefined) === (prefix === undefined)) {
    throw invalid(at, 'needs either repositories or prefix');
  }
  const below = (name: string): string | undefined => {
    const full = path === '' ? name : `${path}/${name}`;
    return isValidRepository(full) ? full : undefined;
  };
  if (prefix !== undefined) {
    if (!isValidRepository(prefix))
      throw invalid(`${at}.prefix`, 'must be the begin of a repository name, such as hub');
    return (name) => (name.startsWith(`${prefix}/`) ? below(name.slice(prefix.length + 1)) : undefined);
  }
  if (!/^[a-z0-9._/*-]{1,255}$/.test(repositories ?? '')) {
    throw invalid(`${at}.repositories`, 'must be a pattern of repository names, such as team/**');
  }
  const pattern = globPattern(repositories ?? '');
  return (name) => (pattern.test(name) ? below(name) : undefined);
}

function upstreamAt(text: string, at: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['https:', 'http:'].includes(url.protocol)) {
    throw invalid(at, 'must be an https URL, such as https://registry.example.com');
  }
  if (url.username !== '' || url.password !== '') throw invalid(at, 'must not hold a user name or password');
  if (url.search !== '' || url.hash !== '') throw invalid(at, 'must be a host with an optional path');
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    throw invalid(at, 'may use plain http for a loopback host only');
  }
  const path = url.pathname.replace(/^\/|\/$/g, '');
  if (path === 'v2' || path.startsWith('v2/')) {
    throw invalid(at, 'must not name the /v2 of the API, which is added');
  }
  if (path !== '' && !isValidRepository(path))
    throw invalid(at, 'has a path that no repository name begins with');
  if (!isValidRegistry(url.host)) throw invalid(at, 'does not name a registry');
  return url;
}

function timeAt(value: number | undefined, otherwise: number, at: string): number {
  if (value === undefined) return otherwise;
  if (Number.isFinite(value) && value >= 0) return value;
  throw invalid(at, 'must be a time that is not negative');
}

function invalid(at: string, right: string): RegistrySetupError {
  return new RegistrySetupError('MirrorInvalid', `${at} ${right}.`, { facts: { at } });
}
