import { RegistryError } from '../errors.ts';
import type { Digest } from '../names.ts';
import type { Metadata } from '../store/metadata.ts';
import { pageOf } from '../store/tag-index.ts';
import { type Exchange, send, sendJson } from './exchange.ts';
import type { Headers } from '../wire/message.ts';

/** Names in one page at most, whatever is asked for. */
const MAX_PAGE = 10_000;
/** Bytes of descriptors in one page of referrers: an index must be readable where manifests are bounded. */
const MAX_REFERRERS_BYTES = 3 * 1024 * 1024;

/** `GET` of the tags of a repository (end-8a, end-8b). */
export function listTags(exchange: Exchange, name: string): void {
  const repository = exchange.store.metadata.repository(name);
  if (repository === undefined) {
    throw new RegistryError('NameUnknown', 'The registry has no such repository.', { facts: { name } });
  }
  sendTags(exchange, name, (last, limit) => repository.tags.page(last, limit));
}

/** Answers with the page of tags that a request asks for. */
export function sendTags(
  exchange: Exchange,
  name: string,
  page: (last: string | undefined, limit: number) => { readonly names: string[]; readonly more: boolean },
): void {
  const { limit, last } = paging(exchange);
  const { names, more } = page(last, limit);
  const link = nextLink(exchange, `/v2/${name}/tags/list`, names, more);
  sendJson(exchange.response, 200, { name, tags: names }, link);
}

/** `GET` of the repositories that the caller may read. */
export function listRepositories(exchange: Exchange): void {
  const { store, caller, response } = exchange;
  const { limit, last } = paging(exchange);
  const visible = (name: string): boolean => caller.sees(name);
  const { names, more } = store.metadata.repositoryPage(last, limit, visible);
  sendJson(response, 200, { repositories: names }, nextLink(exchange, '/v2/_catalog', names, more));
}

/** `GET` of what refers to a manifest, whether or not that is there (end-12a, end-12b). */
export function listReferrers(exchange: Exchange, name: string, subject: Digest): void {
  sendReferrers(exchange, name, subject, referrersOf(exchange.store.metadata, name, subject));
}

/** What refers to a manifest here: descriptors, as JSON, by digest. */
export function referrersOf(metadata: Metadata, name: string, subject: Digest): Map<Digest, string> {
  const repository = metadata.repository(name);
  const found = new Map<Digest, string>();
  for (const digest of repository?.referrers.get(subject) ?? []) {
    const referrer = repository?.manifests.get(digest)?.referrer;
    if (referrer !== undefined) found.set(digest, referrer);
  }
  return found;
}

/** Answers with the page of referrers that a request asks for. */
export function sendReferrers(
  exchange: Exchange,
  name: string,
  subject: Digest,
  referrers: ReadonlyMap<Digest, string>,
): void {
  const { query, response } = exchange;
  const filter = query.get('artifactType') ?? '';
  const sorted = [...referrers.keys()].sort();
  const descriptors: string[] = [];
  let bytes = 0;
  let cursor: string | undefined;
  const page = pageOf(sorted, query.get('last') ?? undefined, MAX_PAGE);
  let more = page.more;
  for (const digest of page.names) {
    const referrer = referrers.get(digest as Digest);
    if (referrer !== undefined && hasArtifactType(referrer, filter)) {
      if (descriptors.length > 0 && bytes + referrer.length > MAX_REFERRERS_BYTES) {
        more = true;
        break;
      }
      descriptors.push(referrer);
      bytes += referrer.length;
    }
    cursor = digest;
  }
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const body = `{"schemaVersion":2,"mediaType":"${mediaType}","manifests":[${descriptors.join(',')}]}`;
  const link = nextLink(
    exchange,
    `/v2/${name}/referrers/${subject}`,
    cursor === undefined ? [] : [cursor],
    more,
  );
  const applied: Headers = filter === '' ? {} : { 'oci-filters-applied': 'artifactType' };
  send(response, 200, { 'content-type': mediaType, ...applied, ...link }, body);
}

function hasArtifactType(referrer: string, wanted: string): boolean {
  if (wanted === '') return true;
  const descriptor = JSON.parse(referrer) as { artifactType?: string };
  return descriptor.artifactType === wanted;
}

function paging(exchange: Exchange): { limit: number; last: string | undefined } {
  const n = exchange.query.get('n');
  if (n !== null && !/^\d{1,15}$/.test(n)) {
    throw new RegistryError('PaginationInvalid', 'n must be a number that is not negative.');
  }
  const limit = Math.min(n === null ? MAX_PAGE : Number(n), MAX_PAGE);
  return { limit, last: exchange.query.get('last') ?? undefined };
}

function nextLink(exchange: Exchange, path: string, names: readonly string[], more: boolean): Headers {
  const last = names.at(-1);
  if (!more || last === undefined) return {};
  const next = new URLSearchParams(exchange.query);
  next.set('last', last);
  return { link: `<${path}?${next.toString()}>; rel="next"` };
}
