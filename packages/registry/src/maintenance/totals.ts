import type { CollectionReport } from './findings.ts';
import type { ScrubReport } from './scrub.ts';

/** What one kind of work came to since the start. */
interface Work {
  done: number;
  failed: number;
  seconds: number;
  /** When it last ended well, in milliseconds since the epoch. */
  lastAt: number | undefined;
}

/** What collections and scrubs did since the start; dry runs are not counted. */
export class MaintenanceTotals {
  readonly collections: Work = { done: 0, failed: 0, seconds: 0, lastAt: undefined };
  readonly scrubs: Work = { done: 0, failed: 0, seconds: 0, lastAt: undefined };
  /** Things that collections removed. */
  readonly removed = { tags: 0, manifests: 0, blobs: 0, files: 0, uploads: 0 };
  freedBytes = 0;
  scrubbedBytes = 0;
  damaged = 0;

  collected(report: CollectionReport): void {
    if (report.dryRun) return;
    ended(this.collections, report);
    for (const kind of ['tags', 'manifests', 'blobs', 'files', 'uploads'] as const) {
      this.removed[kind] += report[kind];
    }
    this.freedBytes += report.freedBytes;
  }

  scrubbed(report: ScrubReport): void {
    ended(this.scrubs, report);
    this.scrubbedBytes += report.bytes;
    this.damaged += report.damaged.length;
  }
}

function ended(work: Work, report: { readonly startedAt: number; readonly durationMs: number }): void {
  work.done += 1;
  work.seconds += report.durationMs / 1000;
  work.lastAt = report.startedAt + report.durationMs;
}
