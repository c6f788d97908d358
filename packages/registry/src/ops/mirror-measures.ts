import type { MirrorState } from '../mirror/tallies.ts';
import { MIRROR_KINDS, MIRROR_RESULTS } from '../mirror/tallies.ts';
import type { Measured } from './measured.ts';

/**
 * What the mirrors have done. A mirror is labelled as it stands in the configuration: what a request
 * names is never in a label.
 */
export function mirrored(mirrors: readonly MirrorState[]): Measured[] {
  if (mirrors.length === 0) return [];
  return [
    {
      name: 'mirror_requests_total',
      type: 'counter',
      help: 'Requests to mirrored repositories, by what they were for and what they were answered from.',
      values: mirrors.flatMap(({ name, tallies }) =>
        MIRROR_KINDS.flatMap((kind) =>
          MIRROR_RESULTS.map((result) => ({
            labels: { mirror: name, kind, result },
            value: tallies.requests[kind][result],
          })),
        ),
      ),
    },
    each(mirrors, {
      name: 'mirror_fetched_bytes_total',
      help: 'Bytes of manifests and blobs that came from upstream.',
      value: ({ tallies }) => tallies.fetchedBytes,
    }),
    each(mirrors, {
      name: 'mirror_not_kept_total',
      help: 'Manifests and blobs that were passed on without being kept.',
      value: ({ tallies }) => tallies.notKept,
    }),
    byReason(mirrors, {
      name: 'mirror_upstream_failures_total',
      help: 'Failures of the upstream.',
      value: ({ tallies }) => tallies.failures,
    }),
    each(mirrors, {
      name: 'mirror_upstream_available',
      type: 'gauge',
      help: '0 while the upstream is left alone after a failure.',
      value: ({ available }) => (available ? 1 : 0),
    }),
    byReason(mirrors, {
      name: 'mirror_evictions_total',
      help: 'Manifests that were let go of: idle ones, and those that made room under a quota.',
      value: ({ tallies }) => tallies.evictions,
    }),
    each(mirrors, {
      name: 'mirror_cached_bytes',
      type: 'gauge',
      help: 'Bytes of the manifests and distinct blobs of a mirror that are here.',
      value: ({ cachedBytes }) => cachedBytes,
    }),
  ];
}

interface Metric<T> {
  readonly name: string;
  /** A counter unless told. */
  readonly type?: Measured['type'];
  readonly help: string;
  readonly value: (mirror: MirrorState) => T;
}

function each(
  mirrors: readonly MirrorState[],
  { name, type = 'counter', help, value }: Metric<number>,
): Measured {
  const values = mirrors.map((mirror) => ({ labels: { mirror: mirror.name }, value: value(mirror) }));
  return { name, type, help, values };
}

function byReason(
  mirrors: readonly MirrorState[],
  { name, type = 'counter', help, value }: Metric<Readonly<Record<string, number>>>,
): Measured {
  const values = mirrors.flatMap((mirror) =>
    Object.entries(value(mirror)).map(([reason, count]) => ({
      labels: { mirror: mirror.name, reason },
      value: count,
    })),
  );
  return { name, type, help, values };
}
