import type { Digest } from '../names.ts';

/** Something that is removed, or would be. */
export interface Finding {
  readonly kind: 'tag' | 'manifest' | 'blob' | 'file' | 'upload';
  /** Absent for a file, which belongs to no repository. */
  readonly repository?: string;
  /** Of a tag. */
  readonly tag?: string;
  readonly digest?: Digest;
  readonly bytes?: number;
  readonly reason: string;
  /** When it may go, in milliseconds since the epoch; absent when it may go now. */
  readonly due?: number;
}

/** What a collection did, or with `dryRun` would do. */
export interface CollectionReport {
  readonly dryRun: boolean;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Repositories that were looked through. */
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  /** Blobs that were taken out of a repository. */
  readonly blobs: number;
  /** Files that belonged to no blob. */
  readonly files: number;
  readonly uploads: number;
  /** Bytes of files that were removed. */
  readonly freedBytes: number;
  /** Unreferenced things whose grace period is not over. */
  readonly waiting: number;
  /** Unreferenced things that are leased, protected or in use. */
  readonly held: number;
  /** The first of what was removed; with `dryRun`, of what would be now or later. */
  readonly findings: readonly Finding[];
  /** Whether there was more than `findings` lists. */
  readonly truncated: boolean;
  /** Repositories in which nothing was removed, and why. */
  readonly skipped: readonly { readonly repository: string; readonly reason: string }[];
}

const MAX_FINDINGS = 10_000;
const COUNTERS = {
  tag: 'tags',
  manifest: 'manifests',
  blob: 'blobs',
  file: 'files',
  upload: 'uploads',
} as const;

/** A report that is being written. */
export class ReportBuilder {
  readonly dryRun: boolean;
  readonly startedAt: number;
  readonly #findings: Finding[] = [];
  readonly #skipped: { repository: string; reason: string }[] = [];
  readonly #counts = { tags: 0, manifests: 0, blobs: 0, files: 0, uploads: 0 };
  #truncated = false;
  repositories = 0;
  freedBytes = 0;
  waiting = 0;
  held = 0;

  constructor(dryRun: boolean, startedAt: number) {
    this.dryRun = dryRun;
    this.startedAt = startedAt;
  }

  add(finding: Finding): void {
    this.#counts[COUNTERS[finding.kind]] += 1;
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
    else this.#truncated = true;
  }

  skip(repository: string, reason: string): void {
    this.#skipped.push({ repository, reason });
  }

  build(now: number): CollectionReport {
    const { dryRun, startedAt, repositories, freedBytes, waiting, held } = this;
    return {
      ...{ dryRun, startedAt, durationMs: now - startedAt, repositories, ...this.#counts },
      ...{ freedBytes, waiting, held, findings: this.#findings, truncated: this.#truncated },
      skipped: this.#skipped,
    };
  }
}
