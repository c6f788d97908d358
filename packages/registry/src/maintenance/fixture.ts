import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { type Digest, digestOf } from '../names.ts';
import { Store } from '../store/store.ts';
import { Maintenance, type MaintenanceOptions } from './maintenance.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** A manifest that a test stored, with what it names. */
export interface StoredImage {
  readonly digest: Digest;
  readonly size: number;
  readonly layer: Digest;
}

/** A store in a folder of its own, on a clock that the test moves. */
export class StoreFixture {
  readonly directory: string;
  readonly clock: FakeClock;
  readonly options: MaintenanceOptions;
  store: Store;
  maintenance: Maintenance;

  private constructor(directory: string, clock: FakeClock, options: MaintenanceOptions, store: Store) {
    this.directory = directory;
    this.clock = clock;
    this.options = options;
    this.store = store;
    this.maintenance = this.#maintain();
  }

  /** What clients are told is held for 15 minutes; the first 15 minutes are over. */
  static async open(options: MaintenanceOptions = {}): Promise<StoreFixture> {
    const directory = await mkdtemp(join(tmpdir(), 'mural-store-'));
    const clock = new FakeClock();
    const fixture = new StoreFixture(directory, clock, options, await openStore(directory, clock));
    await clock.advance(15 * MINUTE);
    return fixture;
  }

  /** @param between done while the folder is nobody's */
  async reopen(between: () => void | Promise<void> = () => undefined): Promise<void> {
    await this.maintenance.stop();
    await this.store.close();
    await between();
    this.store = await openStore(this.directory, this.clock);
    this.maintenance = this.#maintain();
  }

  async close(): Promise<void> {
    await this.maintenance.stop();
    await this.store.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  async blob(repository: string, content: Buffer | string = randomBytes(40)): Promise<Digest> {
    const bytes = Buffer.from(content);
    const digest = digestOf(bytes);
    await this.store.blobs.addBytes(repository, digest, bytes);
    return digest;
  }

  async manifest(repository: string, body: object, tags: readonly string[] = []): Promise<StoredImage> {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...body }));
    const digest = digestOf(bytes);
    const { subject, mediaType = IMAGE } = body as { subject?: { digest: Digest }; mediaType?: string };
    await this.store.metadata.putManifest({
      repository,
      record: {
        digest,
        mediaType,
        size: bytes.length,
        pushedAt: this.clock.now(),
        ...(subject === undefined ? {} : { subject: subject.digest, referrer: '{}' }),
      },
      bytes,
      tags,
      check: () => undefined,
    });
    return { digest, size: bytes.length, layer: digest };
  }

  async image(repository: string, tags: readonly string[] = [], extra: object = {}): Promise<StoredImage> {
    const layer = await this.blob(repository);
    const config = await this.blob(repository, '{}');
    const image = await this.manifest(
      repository,
      {
        mediaType: IMAGE,
        config: { digest: config, size: 2 },
        layers: [{ digest: layer, size: 40 }],
        ...extra,
      },
      tags,
    );
    return { ...image, layer };
  }

  async index(
    repository: string,
    manifests: readonly StoredImage[],
    tags: readonly string[] = [],
  ): Promise<StoredImage> {
    const children = manifests.map(({ digest, size }) => ({ mediaType: IMAGE, digest, size }));
    return this.manifest(repository, { mediaType: INDEX, manifests: children }, tags);
  }

  hasManifest(repository: string, { digest }: { digest: Digest }): boolean {
    return this.store.metadata.repository(repository)?.manifests.has(digest) === true;
  }

  hasBlob(repository: string, digest: Digest): boolean {
    return this.store.metadata.repository(repository)?.blobs.has(digest) === true;
  }

  fileOf(digest: Digest): string {
    return this.store.files.pathOf(digest);
  }

  #maintain(): Maintenance {
    return new Maintenance({
      store: this.store,
      clock: this.clock,
      log: silentLogger,
      options: this.options,
    });
  }
}

function openStore(dataDir: string, clock: FakeClock): Promise<Store> {
  return Store.open({
    ...{ dataDir, clock, log: silentLogger },
    manifestCacheBytes: 1024 * 1024,
    blobCacheBytes: 1024 * 1024,
    minFreeBytes: 0,
    uploads: { perRepository: 10, total: 20, idleMs: 24 * HOUR, ageMs: 72 * HOUR, bytes: 1024 ** 3 },
    useMs: 15 * MINUTE,
  });
}
