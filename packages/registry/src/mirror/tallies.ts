import { RegistryError, type RegistryErrorCode } from '../errors.ts';
import { UpstreamError } from './errors.ts';

/** What a request to a mirror was for. */
export const MIRROR_KINDS = ['manifest', 'blob', 'list'] as const;

/** One of {@link MIRROR_KINDS}. */
export type MirrorKind = (typeof MIRROR_KINDS)[number];

/**
 * What a request was answered from: what is here (`cached`); what is here, after a question upstream
 * (`confirmed`); what came from upstream (`fetched`), be it fetched once for many; what is here, since
 * the upstream could not be asked (`stale`). `missing` is what there is not, `failed` what could not be
 * had.
 */
export const MIRROR_RESULTS = ['cached', 'confirmed', 'fetched', 'stale', 'missing', 'failed'] as const;

/** One of {@link MIRROR_RESULTS}. */
export type MirrorResult = (typeof MIRROR_RESULTS)[number];

/** Why content was let go of: nobody pulled it for long, or a quota needed the room. */
export type EvictionReason = 'idle' | 'room';

const REASONS: Readonly<Partial<Record<RegistryErrorCode, string>>> = {
  Denied: 'denied',
  TooManyRequests: 'throttled',
  UpstreamInvalid: 'invalid',
  UpstreamRefused: 'refused',
  UpstreamTimeout: 'timeout',
  UpstreamUnavailable: 'unavailable',
};

/** What one mirror has done since the start of the registry. */
export class MirrorTallies {
  readonly requests = Object.fromEntries(
    MIRROR_KINDS.map((kind) => [kind, zeros(MIRROR_RESULTS)]),
  ) as Readonly<Record<MirrorKind, Record<MirrorResult, number>>>;
  /** Failures of the upstream, by what they were. */
  readonly failures: Record<string, number> = zeros(Object.values(REASONS));
  /** Manifests that were let go of. */
  readonly evictions: Record<EvictionReason, number> = { idle: 0, room: 0 };
  /** Bytes of manifests and blobs that came from upstream, those of broken transfers too. */
  fetchedBytes = 0;
  /** Manifests and blobs that were passed on without being kept. */
  notKept = 0;

  /** Counts a request that was answered with content. */
  answered(kind: MirrorKind, result: MirrorResult): void {
    this.requests[kind][result] += 1;
  }

  /** Counts a request that ended in an error; what is wrong with the request itself is not counted. */
  refused(kind: MirrorKind, error: unknown): void {
    if (error instanceof RegistryError && !(error instanceof UpstreamError)) {
      if (error.status === 404) this.requests[kind].missing += 1;
      if (error.status < 500 && error.status !== 429) return;
    }
    this.requests[kind].failed += 1;
  }

  /** Counts a failure of the upstream. */
  failed({ code }: UpstreamError): void {
    const reason = REASONS[code] ?? 'invalid';
    this.failures[reason] = (this.failures[reason] ?? 0) + 1;
  }
}

/** A mirror as it is measured. */
export interface MirrorState {
  /** Its prefix or pattern, as it stands in the configuration. */
  readonly name: string;
  readonly tallies: MirrorTallies;
  /** False while the upstream is left alone after a failure. */
  readonly available: boolean;
  /** Bytes of the manifests and the distinct blobs that are here. */
  readonly cachedBytes: number;
}

function zeros<K extends string>(names: readonly K[]): Record<K, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
}
