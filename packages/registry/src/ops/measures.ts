import type { Access } from '../auth/access.ts';
import type { MaintenanceTotals } from '../maintenance/totals.ts';
import type { MirrorState } from '../mirror/tallies.ts';
import type { StorageState } from '../store/storage-health.ts';
import type { Store } from '../store/store.ts';
import { type Measured, counter, gauge, labelled } from './measured.ts';
import { mirrored } from './mirror-measures.ts';
import type { Tallies } from './tallies.ts';
import type { EndpointState } from './webhooks.ts';

/** What {@link measure} looks at. */
export interface Measurable {
  readonly store: Store;
  readonly access: Access;
  readonly totals: MaintenanceTotals;
  readonly tallies: Tallies;
  /** The endpoints that events are sent to. */
  readonly endpoints: () => readonly EndpointState[];
  /** The mirrors of the configuration. */
  readonly mirrors: () => readonly MirrorState[];
  readonly storage: () => Promise<StorageState>;
}

/** Everything that is measured but requests. */
export async function measure(from: Measurable): Promise<Measured[]> {
  return [
    ...traffic(from),
    ...content(from.store),
    ...(await storage(from)),
    ...work(from.totals),
    ...signIns(from.access),
    ...caches(from.store),
    ...events(from.endpoints()),
    ...mirrored(from.mirrors()),
  ];
}

function traffic({ tallies }: Measurable): Measured[] {
  return [
    counter('received_bytes_total', 'Bytes that came over the connections of requests.', tallies.received),
    counter('sent_bytes_total', 'Bytes that went over the connections of requests.', tallies.sent),
    gauge('requests_in_flight', 'Requests that are being answered.', tallies.inFlight),
  ];
}

function content({ metadata, uploads }: Store): Measured[] {
  const count = { repositories: 0, tags: 0, manifests: 0, manifestBytes: 0, blobs: 0, bytes: 0 };
  for (const { tags, manifests } of metadata.repositories()) {
    count.repositories += 1;
    count.tags += tags.size;
    count.manifests += manifests.size;
    for (const { size } of manifests.values()) count.manifestBytes += size;
  }
  for (const [, { size }] of metadata.blobs()) {
    count.blobs += 1;
    count.bytes += size;
  }
  const open = { sessions: 0, bytes: 0 };
  for (const { size } of uploads.sessions()) {
    open.sessions += 1;
    open.bytes += size;
  }
  return [
    gauge('repositories', 'Repositories.', count.repositories),
    gauge('tags', 'Tags of all repositories.', count.tags),
    gauge('manifests', 'Manifests, counted in each repository that has them.', count.manifests),
    gauge('manifest_bytes', 'Bytes of those manifests.', count.manifestBytes),
    gauge('blobs', 'Distinct blobs.', count.blobs),
    gauge('blob_bytes', 'Bytes of distinct blobs.', count.bytes),
    gauge('uploads', 'Unfinished uploads.', open.sessions),
    gauge('upload_bytes', 'Bytes of unfinished uploads.', open.bytes),
  ];
}

async function storage({ store, storage: state }: Measurable): Promise<Measured[]> {
  const { reason, needsRestart } = await state();
  const is = needsRestart === true ? 'needs-restart' : (reason ?? 'writable');
  const states = { writable: 0, full: 0, failing: 0, 'needs-restart': 0, [is]: 1 };
  const measured = [
    labelled(
      'gauge',
      ['storage_state', 'The state of the storage: 1 for the one it is in.'],
      'state',
      states,
    ),
  ];
  try {
    const { files, bytes } = await store.files.quarantined();
    measured.push(
      gauge('quarantined_files', 'Damaged files that were taken out of service.', files),
      gauge('quarantined_bytes', 'Bytes of those files.', bytes),
      gauge('storage_free_bytes', 'Bytes that are free for blobs.', await store.files.freeBytes()),
    );
  } catch {
    // The disk does not say; the state above tells of it, and the rest must not be lost with it.
  }
  return measured;
}

function work({ collections, scrubs, removed, ...totals }: MaintenanceTotals): Measured[] {
  const last = ({ lastAt }: { lastAt: number | undefined }): number =>
    lastAt === undefined ? 0 : lastAt / 1000;
  return [
    labelled('counter', ['collections_total', 'Collections of garbage, by what came of them.'], 'result', {
      ok: collections.done,
      failed: collections.failed,
    }),
    counter('collection_seconds_total', 'Seconds that collections took.', collections.seconds),
    gauge('last_collection_timestamp_seconds', 'When one last ended well; 0 for never.', last(collections)),
    labelled('counter', ['collected_total', 'Things that collections removed, by kind.'], 'kind', removed),
    counter('collected_bytes_total', 'Bytes of files that collections removed.', totals.freedBytes),
    labelled('counter', ['scrubs_total', 'Scrubs, by what came of them.'], 'result', {
      ok: scrubs.done,
      failed: scrubs.failed,
    }),
    counter('scrub_seconds_total', 'Seconds that scrubs took.', scrubs.seconds),
    gauge('last_scrub_timestamp_seconds', 'When one last ended well; 0 for never.', last(scrubs)),
    counter('scrubbed_bytes_total', 'Bytes of blobs that scrubs hashed.', totals.scrubbedBytes),
    counter('scrub_damaged_total', 'Blobs and manifests that scrubs found damaged.', totals.damaged),
  ];
}

function signIns({ signIns: { refused, slowedDown }, verifications }: Access): Measured[] {
  return [
    counter('sign_ins_refused_total', 'Requests with a credential that was refused.', refused),
    counter('sign_ins_throttled_total', 'Requests told to come later after failed sign-ins.', slowedDown),
    counter('password_verifications_total', 'Passwords verified by their costly hash.', verifications),
  ];
}

function caches({ metadata, blobs }: Store): Measured[] {
  const both = { manifests: metadata.contents.cache, blobs: blobs.cache };
  const each = (of: (cache: (typeof both)['blobs']) => number): Record<string, number> =>
    Object.fromEntries(Object.entries(both).map(([name, cache]) => [name, of(cache)]));
  return [
    labelled(
      'counter',
      ['cache_hits_total', 'Contents served from memory.'],
      'cache',
      each((c) => c.asked.hits),
    ),
    labelled(
      'counter',
      ['cache_misses_total', 'Contents that were not in memory.'],
      'cache',
      each((c) => c.asked.misses),
    ),
    labelled(
      'gauge',
      ['cache_bytes', 'Bytes in memory.'],
      'cache',
      each((c) => c.bytes),
    ),
  ];
}

function events(endpoints: readonly EndpointState[]): Measured[] {
  if (endpoints.length === 0) return [];
  const each = (of: (state: EndpointState) => number): Record<string, number> =>
    Object.fromEntries(endpoints.map((state) => [state.name, of(state)]));
  return [
    labelled(
      'gauge',
      ['events_waiting', 'Events not delivered yet.'],
      'endpoint',
      each((one) => one.waiting),
    ),
    labelled(
      'counter',
      ['events_delivered_total', 'Events that an endpoint took.'],
      'endpoint',
      each((one) => one.delivered),
    ),
    labelled(
      'counter',
      ['event_deliveries_failed_total', 'Deliveries that failed and are tried again.'],
      'endpoint',
      each((one) => one.failed),
    ),
    labelled(
      'counter',
      ['events_dropped_total', 'Events that were lost, since too many waited or none could be kept.'],
      'endpoint',
      each((one) => one.dropped),
    ),
  ];
}
