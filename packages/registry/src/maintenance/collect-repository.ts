import type { Digest } from '../names.ts';
import type { Repository } from '../store/metadata.ts';
import type { Store } from '../store/store.ts';
import type { Finding, ReportBuilder } from './findings.ts';
import type { ReferenceIndex } from './reference-index.ts';
import { expiredTags, type TimedTag } from './retention.ts';
import type { CompiledRetention } from './rules.ts';

/** What the collection of one repository works with. */
export interface Collection {
  readonly store: Store;
  readonly repository: Repository;
  readonly index: ReferenceIndex;
  readonly rule: CompiledRetention;
  readonly report: ReportBuilder;
  /** How long after it was last needed something may go, in milliseconds. */
  readonly graceMs: number;
  readonly isProtected: (digest: Digest) => boolean;
  readonly isProtectedTag: (tag: string) => boolean;
  readonly now: () => number;
  /** Gives others a turn; throws to stop. */
  readonly pause: () => Promise<void>;
  /** How many repositories a blob was taken out of in this run, for a dry run. */
  readonly taken: Map<Digest, number>;
}

/** Looked at, and removed, between two pauses. */
const SLICE = 64;
const TAG_PAGE = 5000;

/** Removes the tags that the rule of a repository does not keep. Protected tags stay, and those on held or protected manifests. */
export async function collectTags(collection: Collection): Promise<void> {
  const { store, repository, index, rule, report } = collection;
  if (rule.tags.length === 0) return;
  const tags: TimedTag[] = [];
  for (let last = ''; ; ) {
    const page = store.metadata.times.tags(repository, last, TAG_PAGE);
    tags.push(...page);
    if (page.length < TAG_PAGE) break;
    last = page.at(-1)?.name ?? '';
    await collection.pause();
  }
  for (const [order, { name, digest, reason }] of expiredTags(tags, rule.tags, collection.now()).entries()) {
    if (order % SLICE === SLICE - 1) await collection.pause();
    // The tag may have moved since it was read: then it is a young tag.
    if (repository.tags.get(name) !== digest) continue;
    if (collection.isProtectedTag(name)) {
      report.held += 1;
      continue;
    }
    if (isHeld(collection, digest)) continue;
    if (report.dryRun) index.tagMoved(digest, undefined);
    else store.metadata.dropTag(repository.name, name);
    report.add({ kind: 'tag', repository: repository.name, tag: name, digest, reason });
  }
  await store.metadata.durable();
}

/** Removes the manifests that nothing names, where the rule of the repository says so. */
export async function collectManifests(collection: Collection): Promise<void> {
  const { store, repository, index, rule, report } = collection;
  if (!rule.removeUntagged && !rule.removeReferrers) return;
  const gone = new Set<Digest>();
  const queue = [...repository.manifests.keys()];
  for (let position = 0; position < queue.length; position += 1) {
    if (position % SLICE === SLICE - 1) await collection.pause();
    const digest = queue[position];
    if (digest === undefined || gone.has(digest)) continue;
    const finding = judgeManifest(collection, digest, gone);
    if (finding === undefined) continue;
    const next = [...index.referencesOf(digest), ...(repository.referrers.get(digest) ?? [])];
    // Judged and dropped in one turn: a push, a tag or a lease comes before both or after both.
    if (report.dryRun) index.manifestDropped(digest);
    else store.metadata.dropManifest(repository, digest);
    gone.add(digest);
    report.add(finding);
    queue.push(...next.filter((reference) => repository.manifests.has(reference)));
  }
  await store.metadata.durable();
}

function judgeManifest(
  collection: Collection,
  digest: Digest,
  gone: ReadonlySet<Digest>,
): Finding | undefined {
  const { store, repository, index, rule } = collection;
  const record = repository.manifests.get(digest);
  if (record === undefined || !index.complete || index.count(digest) > 0) return undefined;
  const { subject } = record;
  if (subject !== undefined && repository.manifests.has(subject) && !gone.has(subject)) return undefined;
  if (!(subject === undefined ? rule.removeUntagged : rule.removeReferrers)) return undefined;
  if (isHeld(collection, digest)) return undefined;
  const due = dueOf(collection, store.metadata.times.manifest(repository, digest));
  if (due === 'waiting') return undefined;
  const reason =
    subject === undefined ? 'untagged, and in no index' : 'refers to a subject that is not there';
  return { kind: 'manifest', repository: repository.name, digest, bytes: record.size, reason, ...due };
}

/** Removes the blobs that no manifest of the repository names. */
export async function collectBlobs(collection: Collection): Promise<void> {
  const { repository, index } = collection;
  const unreferenced = [...repository.blobs.keys()].filter((digest) => index.count(digest) === 0);
  for (let start = 0; start < unreferenced.length; start += SLICE) {
    await collection.pause();
    const slice = unreferenced.slice(start, start + SLICE);
    await Promise.all(slice.map((digest) => collectBlob(collection, digest)));
  }
}

async function collectBlob(collection: Collection, digest: Digest): Promise<void> {
  const { store, repository, report } = collection;
  const bytes = repository.blobs.get(digest) ?? 0;
  if (report.dryRun) {
    const finding = judgeBlob(collection, digest);
    if (finding === undefined) return;
    const taken = (collection.taken.get(digest) ?? 0) + 1;
    collection.taken.set(digest, taken);
    if (taken === [...store.metadata.holders(digest)].length) report.freedBytes += bytes;
    report.add(finding);
    return;
  }
  let finding: Finding | undefined;
  const removal = await store.blobs.removeIf(repository.name, digest, () => {
    finding = judgeBlob(collection, digest);
    return finding !== undefined;
  });
  if (finding === undefined || removal === undefined) return;
  if (removal.last) report.freedBytes += bytes;
  report.add(finding);
}

function judgeBlob(collection: Collection, digest: Digest): Finding | undefined {
  const { store, repository, index } = collection;
  if (!index.complete || index.count(digest) > 0 || isHeld(collection, digest)) return undefined;
  const due = dueOf(collection, store.metadata.times.blob(repository, digest));
  if (due === 'waiting') return undefined;
  const bytes = repository.blobs.get(digest) ?? 0;
  return { kind: 'blob', repository: repository.name, digest, bytes, reason: 'no manifest names it', ...due };
}

/** When something may go that was last needed at `touched`; in a dry run what has to wait is listed too. */
function dueOf(
  { graceMs, now, report }: Collection,
  touched: number | undefined,
): { due?: number } | 'waiting' {
  const due = (touched ?? now()) + graceMs;
  if (due <= now()) return {};
  report.waiting += 1;
  return report.dryRun ? { due } : 'waiting';
}

function isHeld({ store, repository, isProtected, report }: Collection, digest: Digest): boolean {
  if (!isProtected(digest) && !store.metadata.holds.held(repository.name, digest)) return false;
  report.held += 1;
  return true;
}
