import { type Clock, type Logger } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { isDigest, isValidRepository } from '../names.ts';
import type { StorageState } from '../store/storage-health.ts';
import type { Store } from '../store/store.ts';
import { type BackupReport, writeBackup } from './backup.ts';
import { Collector, type CollectOptions, type CollectorRules, type Protect } from './collector.ts';
import type { CollectionReport } from './findings.ts';
import { compileQuotas, compileRetention, type QuotaRule, type RetentionRule } from './rules.ts';
import { Scrubber, type ScrubOptions, type ScrubReport } from './scrub.ts';
import { Snapshot } from './snapshot.ts';
import { type RegistryStats, registryStats } from './stats.ts';
import { MaintenanceTotals } from './totals.ts';
import { type VerifyReport, verifyStore } from './verify.ts';

const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

/** How a registry looks after what it stores. */
export interface MaintenanceOptions {
  /** How long content stays after it was pushed or last needed, in milliseconds; an hour unless told. */
  readonly graceMs?: number;
  /** Pause between two collections, in milliseconds; an hour unless told, 0 for none at all. */
  readonly collectEveryMs?: number;
  /** What is kept; without rules every tag and every manifest. */
  readonly retention?: readonly RetentionRule[];
  /** How many bytes of blobs repositories may have; without rules as many as the disk has room for. */
  readonly quotas?: readonly QuotaRule[];
  /** Names content that must stay whatever the rules say, such as what a fleet runs. */
  readonly protect?: Protect;
  /** Pause between two scrubs, in milliseconds; a day unless told, 0 for none at all. */
  readonly scrubEveryMs?: number;
  /** How fast those read, 16 MiB unless told. */
  readonly scrubBytesPerSecond?: number;
}

/** What of the maintenance can be changed while a registry serves. */
export type MaintenanceRules = Pick<MaintenanceOptions, 'graceMs' | 'retention' | 'quotas'>;

/** Work on what a registry stores, done while it serves. */
export interface RegistryMaintenance {
  /**
   * Replaces the grace period, the retention rules and the quotas: what is left out is as where
   * nothing is told. A collection that is running ends by the rules it began with; content that is
   * more than a new quota allows stays.
   *
   * @throws RegistrySetupError `RulesInvalid`, and then nothing has changed
   */
  setRules(rules: MaintenanceRules): void;
  /**
   * Keeps content of a repository from collections and retention for `ttlMs` milliseconds, over
   * restarts too. It does not refuse a DELETE of it.
   *
   * @throws RegistryError `NameInvalid`, `DigestInvalid`
   */
  lease(repository: string, digest: string, ttlMs: number): Promise<void>;
  /** Removes what nothing needs any more. */
  collect(options?: CollectOptions): Promise<CollectionReport>;
  /** Hashes everything and takes what is damaged out of service. */
  scrub(options?: ScrubOptions): Promise<ScrubReport>;
  /** Compares metadata and files, and changes nothing. */
  verify(options?: { readonly thorough?: boolean; readonly signal?: AbortSignal }): Promise<VerifyReport>;
  stats(): Promise<RegistryStats>;
  /** Whether pushes can be stored now. */
  state(): Promise<StorageState>;
  /**
   * Writes a consistent backup to a folder of this machine, or brings an earlier one there up to date.
   *
   * @throws RegistrySetupError `BackupInvalid`
   */
  backup(directory: string, options?: { readonly signal?: AbortSignal }): Promise<BackupReport>;
}

/**
 * Checks rules that may come from a file.
 *
 * @throws RegistrySetupError `RulesInvalid`; its fact `at` says where, as in `retention[0].tags`
 */
export function checkMaintenance(options: MaintenanceOptions): void {
  collectorRules(options);
  compileQuotas(options.quotas ?? []);
}

/** What collections go by. @throws RegistrySetupError `RulesInvalid` */
function collectorRules({ graceMs = HOUR_MS, retention = [] }: MaintenanceRules): CollectorRules {
  return { graceMs, retention: compileRetention(retention) };
}

/** The work, and the loops that do it by themselves. */
export class Maintenance implements RegistryMaintenance {
  /** What was done since the start. */
  readonly totals = new MaintenanceTotals();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: MaintenanceOptions;
  readonly #collector: Collector;
  readonly #scrubber: Scrubber;
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #collected: (report: CollectionReport) => void;

  /** @throws RegistrySetupError `RulesInvalid` */
  constructor(parts: {
    store: Store;
    clock: Clock;
    log: Logger;
    options: MaintenanceOptions;
    /** Takes the report of each collection that was no dry run. */
    collected?: (report: CollectionReport) => void;
  }) {
    this.#collected = parts.collected ?? (() => undefined);
    const { store, clock, log, options } = parts;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    this.#collector = new Collector({
      store,
      clock,
      ...collectorRules(options),
      protect: options.protect,
    });
    this.#scrubber = new Scrubber({ store, clock, log });
  }

  /** Begins to collect and scrub by itself. */
  start(): void {
    const { collectEveryMs = HOUR_MS, scrubEveryMs = 24 * HOUR_MS } = this.#options;
    if (collectEveryMs > 0)
      this.#loops.push(this.#loop('collection', () => collectEveryMs, this.#collectOnce));
    if (scrubEveryMs > 0)
      this.#loops.push(this.#loop('scrub', () => this.#untilScrub(scrubEveryMs), this.#scrubOnce));
  }

  /** Ends what is running. */
  async stop(): Promise<void> {
    this.#stop.abort(new RegistryError('StorageFailed', 'The registry is being stopped.'));
    await Promise.all(this.#loops);
  }

  setRules(rules: MaintenanceRules): void {
    const quotas = compileQuotas(rules.quotas ?? []);
    this.#collector.setRules(collectorRules(rules));
    this.#store.setQuotas(quotas);
  }

  async lease(repository: string, digest: string, ttlMs: number): Promise<void> {
    if (!isValidRepository(repository)) {
      throw new RegistryError('NameInvalid', 'This is not a valid repository name.');
    }
    if (!isDigest(digest)) {
      throw new RegistryError('DigestInvalid', 'This is not a sha256 or sha512 digest.');
    }
    await this.#store.metadata.holds.lease(repository, digest, this.#clock.now() + ttlMs);
  }

  async collect(options: CollectOptions = {}): Promise<CollectionReport> {
    const { signal } = options;
    try {
      const report = await this.#collector.collect({ ...options, signal: this.#signal(signal) });
      this.totals.collected(report);
      if (!report.dryRun) this.#collected(report);
      return report;
    } catch (error) {
      if (!this.#isOver(signal)) this.totals.collections.failed += 1;
      throw error;
    }
  }

  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const { signal } = options;
    try {
      const report = await this.#scrubber.scrub({ ...options, signal: this.#signal(signal) });
      this.totals.scrubbed(report);
      return report;
    } catch (error) {
      if (!this.#isOver(signal)) this.totals.scrubs.failed += 1;
      throw error;
    }
  }

  async verify(options: { thorough?: boolean; signal?: AbortSignal } = {}): Promise<VerifyReport> {
    return await verifyStore(this.#store, { ...options, signal: this.#signal(options.signal) });
  }

  async stats(): Promise<RegistryStats> {
    return await registryStats(this.#store);
  }

  async state(): Promise<StorageState> {
    return await this.#store.health.state();
  }

  async backup(directory: string, options: { signal?: AbortSignal } = {}): Promise<BackupReport> {
    const snapshot = await Snapshot.take(this.#store);
    try {
      return await writeBackup(snapshot, directory, {
        now: this.#clock.now(),
        signal: this.#signal(options.signal),
      });
    } finally {
      await snapshot.release();
    }
  }

  /** Whether work was ended from outside, which is no failure. */
  #isOver(given: AbortSignal | undefined): boolean {
    return this.#stop.signal.aborted || given?.aborted === true;
  }

  #signal(given: AbortSignal | undefined): AbortSignal {
    return given === undefined ? this.#stop.signal : AbortSignal.any([given, this.#stop.signal]);
  }

  #untilScrub(everyMs: number): number {
    if (this.#scrubber.interrupted) return Math.min(everyMs, 60_000);
    return Math.max(0, this.#scrubber.lastEnd() + everyMs - this.#clock.now());
  }

  readonly #collectOnce = async (): Promise<void> => {
    const { findings, skipped, ...counts } = await this.collect();
    const removed = findings.length > 0;
    this.#log[removed ? 'info' : 'debug'](counts, 'collected what nothing needs');
    for (const { repository, reason } of skipped)
      this.#log.warn({ repository, reason }, 'nothing was collected');
  };

  readonly #scrubOnce = async (): Promise<void> => {
    const bytesPerSecond = this.#options.scrubBytesPerSecond ?? 16 * MIB;
    const { damaged, ...counts } = await this.scrub({ bytesPerSecond });
    this.#log.info({ ...counts, damaged: damaged.length }, 'scrubbed');
  };

  async #loop(what: string, pauseMs: () => number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#clock.sleep(pauseMs(), signal);
        await work();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#log.error({ err: error, what }, 'maintenance failed');
        await this.#clock.sleep(60_000, signal).catch(() => undefined);
      }
    }
  }
}
