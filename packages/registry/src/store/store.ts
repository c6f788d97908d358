import { availableParallelism } from 'node:os';
import type { Clock, Logger } from '@mural/core';
import { BlobFiles } from './blob-files.ts';
import { Blobs } from './blobs.ts';
import { Database } from './database.ts';
import type { Disk } from './disk.ts';
import { HashPool } from './hash-pool.ts';
import { Metadata } from './metadata.ts';
import { type CompiledQuota, Quotas } from './quotas.ts';
import { StorageHealth } from './storage-health.ts';
import { type UploadLimits, Uploads } from './uploads.ts';

/** How a {@link Store} is set up. */
export interface StoreOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Bytes of manifests kept in memory. */
  readonly manifestCacheBytes: number;
  /** Bytes of small blobs kept in memory. */
  readonly blobCacheBytes: number;
  /** Bytes on the disk that blobs leave free, so that metadata can still be written. */
  readonly minFreeBytes: number;
  readonly uploads: UploadLimits;
  /** How long content that a client was told of is kept from the collector, in milliseconds. */
  readonly useMs: number;
  readonly quotas?: readonly CompiledQuota[];
  /** The file system of the machine unless told. */
  readonly disk?: Disk;
}

/** How often unfinished uploads are looked through, in milliseconds. */
const EXPIRE_EVERY = 10 * 60_000;
const MAX_THREADS = 4;

/** Everything that the registry keeps. */
export class Store {
  readonly dataDir: string;
  readonly metadata: Metadata;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly files: BlobFiles;
  readonly health: StorageHealth;
  readonly database: Database;
  readonly #quotas: Quotas;
  readonly #pool: HashPool;
  readonly #stop = new AbortController();
  #expiring: Promise<void> | undefined;

  private constructor(
    parts: Pick<Store, 'dataDir' | 'metadata' | 'blobs' | 'uploads' | 'files' | 'database' | 'health'>,
    { quotas, pool }: { readonly quotas: Quotas; readonly pool: HashPool },
  ) {
    this.dataDir = parts.dataDir;
    this.metadata = parts.metadata;
    this.blobs = parts.blobs;
    this.uploads = parts.uploads;
    this.files = parts.files;
    this.health = parts.health;
    this.database = parts.database;
    this.#quotas = quotas;
    this.#pool = pool;
  }

  /**
   * Opens the data of a registry, creating the folder if need be.
   *
   * @throws RegistrySetupError `DataDirectoryInUse`, `DataDirectoryInvalid`
   */
  static async open(options: StoreOptions): Promise<Store> {
    const { clock, log } = options;
    const database = await Database.open(options.dataDir, options.disk);
    try {
      const metadata = new Metadata(database, clock, {
        cacheBytes: options.manifestCacheBytes,
        useMs: options.useMs,
      });
      const files = new BlobFiles(options.dataDir, options.minFreeBytes, options.disk);
      await files.prepare();
      const pool = new HashPool(Math.min(MAX_THREADS, availableParallelism() + 1));
      const quotas = new Quotas(options.quotas ?? []);
      if (quotas.limits) metadata.watchBlobs((...change) => quotas.changed(...change));
      const blobs = new Blobs({ metadata, files, pool, quotas, log, cacheBytes: options.blobCacheBytes });
      const uploads = new Uploads({
        metadata,
        files,
        blobs,
        pool,
        quotas,
        clock,
        log,
        limits: options.uploads,
      });
      await uploads.restore();
      metadata.holds.setUploads((repository) => uploads.oldest(repository));
      const health = new StorageHealth({ files, database, clock });
      const store = new Store(
        { dataDir: options.dataDir, metadata, blobs, uploads, files, database, health },
        { quotas, pool },
      );
      store.#expiring = store.#expireUploads(clock, log);
      return store;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  /** Limits repositories by other quotas from now on. What they have already stays. */
  setQuotas(rules: readonly CompiledQuota[]): void {
    const quotas = this.#quotas;
    quotas.replace(rules);
    // Nobody is told of each blob where nothing is limited.
    this.metadata.watchBlobs(quotas.limits ? (...change) => quotas.changed(...change) : undefined);
  }

  /** Ends the threads and folds the log into the database. No request may be running. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#expiring;
    await this.#pool.close();
    await this.database.close();
  }

  async #expireUploads(clock: Clock, log: Logger): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.uploads.expire();
      } catch (error) {
        log.error({ err: error }, 'unfinished uploads could not be removed');
      }
      await clock.sleep(EXPIRE_EVERY, signal).catch(() => undefined);
    }
  }
}
