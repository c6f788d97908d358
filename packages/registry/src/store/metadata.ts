import type { Clock } from '@mural/core';
import { RegistryError } from '../errors.ts';
import type { Digest } from '../names.ts';
import type { Database, SqlValue } from './database.ts';
import { Holders } from './holders.ts';
import { Holds } from './holds.ts';
import { ManifestContents } from './manifest-contents.ts';
import { referencesOf } from './references.ts';
import {
  addManifest,
  emptyRepository,
  MANIFEST_ROWS,
  manifestRecord,
  type ManifestRecord,
  removeManifest,
  type Repository,
} from './repository.ts';
import { Settings } from './settings.ts';
import { pageOf } from './tag-index.ts';
import { Times } from './times.ts';
import { type UploadRow, UploadRows } from './upload-rows.ts';

export type { ManifestRecord, Repository } from './repository.ts';
export type { UploadRow } from './upload-rows.ts';

/** What the file system said of a blob's file when the registry wrote or last verified it. */
export interface FileStamp {
  readonly size: number;
  readonly inode: number;
  /** Milliseconds since the epoch, with fraction. */
  readonly mtime: number;
  /** As `mtime`, of the last change of the inode, which nobody can set back. */
  readonly ctime: number;
}

/** What {@link Metadata.putManifest} stores. */
export interface ManifestPush {
  readonly repository: string;
  readonly record: ManifestRecord;
  readonly bytes: Buffer;
  readonly tags: readonly string[];
  /** Called in the same turn in which the manifest is stored; throws to refuse it. */
  check(repository: Repository | undefined): void;
}

/** Hears of each change of a repository's manifests and tags in the turn in which it happens. */
export interface RepositoryWatcher {
  manifestStored(digest: Digest, bytes: Buffer): void;
  manifestDropped(digest: Digest): void;
  /** A tag is set, moved or removed. */
  tagMoved(from: Digest | undefined, to: Digest | undefined): void;
}

/** Hears of each blob that a repository gets or loses. */
export type BlobWatcher = (
  repository: string,
  digest: Digest,
  size: number,
  change: 'added' | 'removed',
) => void;

/**
 * Repositories, manifests, tags, referrers and who has which blob: in memory for reading, in the
 * database for good.
 *
 * Each change is one transaction that is applied to the memory in the same turn, so that readers,
 * checks and the disk agree on one order; the promise resolves once the change is durable.
 */
export class Metadata {
  readonly holds: Holds;
  readonly contents: ManifestContents;
  readonly settings: Settings;
  readonly times: Times;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #repositories = new Map<string, Repository>();
  readonly #blobs = new Map<Digest, FileStamp>();
  readonly #holders = new Holders();
  readonly #uploads: UploadRows;
  readonly #watchers = new Map<string, RepositoryWatcher>();
  #blobWatcher: BlobWatcher | undefined;
  #names: string[] | undefined;
  #lastId = 0;

  constructor(
    database: Database,
    clock: Clock,
    options: {
      /** Bytes of manifests that stay in memory. */
      readonly cacheBytes: number;
      /** How long content that a client was told of is held, in milliseconds. */
      readonly useMs: number;
    },
  ) {
    this.#database = database;
    this.#clock = clock;
    this.contents = new ManifestContents(database, options.cacheBytes);
    this.settings = new Settings(database);
    this.times = new Times(database);
    this.#uploads = new UploadRows(database);
    this.holds = new Holds(database, clock, options.useMs);
    this.#load();
  }

  repository(name: string): Repository | undefined {
    return this.#repositories.get(name);
  }

  /** Up to `limit` names of repositories after `last`, in ASCII order, of those that `visible` lets through. */
  repositoryPage(
    last: string | undefined,
    limit: number,
    visible: (name: string) => boolean,
  ): { names: string[]; more: boolean } {
    this.#names ??= [...this.#repositories.keys()].sort();
    return pageOf(this.#names.filter(visible), last, limit);
  }

  /** The stamp of a blob that the registry holds, whoever has it. */
  blob(digest: Digest): FileStamp | undefined {
    return this.#blobs.get(digest);
  }

  /** The repositories that have a blob. */
  holders(digest: Digest): Iterable<Repository> {
    return this.#holders.of(digest);
  }

  /** All repositories. */
  repositories(): Iterable<Repository> {
    return this.#repositories.values();
  }

  /** All blobs that the registry holds, with their stamps. */
  blobs(): Iterable<[Digest, FileStamp]> {
    return this.#blobs.entries();
  }

  /** Tells `watcher` of what happens in a repository, from now until the function returned is called. */
  watch(name: string, watcher: RepositoryWatcher): () => void {
    this.#watchers.set(name, watcher);
    return () => {
      if (this.#watchers.get(name) === watcher) this.#watchers.delete(name);
    };
  }

  /**
   * Tells `watcher` of every blob that a repository has, and of each that one gets or loses from now on.
   * The one before is told nothing any more.
   */
  watchBlobs(watcher: BlobWatcher | undefined): void {
    this.#blobWatcher = watcher;
    if (watcher === undefined) return;
    for (const { name, blobs } of this.#repositories.values()) {
      for (const [digest, size] of blobs) watcher(name, digest, size, 'added');
    }
  }

  /** The bytes of a manifest: from memory, or else from the database, and then verified. */
  content(digest: Digest): Buffer | undefined {
    return this.contents.get(digest);
  }

  /** Whether a manifest was found damaged. It counts as unknown until it is pushed again. */
  isDamaged(digest: Digest): boolean {
    return this.contents.isDamaged(digest);
  }

  /** Resolves once everything that was changed so far is on the disk. */
  async durable(): Promise<void> {
    await this.#database.durable();
  }

  /** Stores a manifest and points `tags` at it, all or nothing. */
  async putManifest(push: ManifestPush): Promise<void> {
    push.check(this.#repositories.get(push.repository));
    const { record } = push;
    const now = this.#clock.now();
    const left = this.#tagsThatMove(push);
    const repository = this.#database.transaction(() => {
      const target = this.#ensure(push.repository);
      this.contents.store(record.digest, push.bytes);
      this.#run(
        'INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
        target.id,
        record.digest,
        record.mediaType,
        record.size,
        record.subject ?? null,
        record.referrer ?? null,
        record.pushedAt,
        now,
      );
      for (const digest of left) this.times.touchManifest(target, digest, now);
      for (const tag of push.tags) {
        this.#run('INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)', target.id, tag, record.digest, now);
      }
      return target;
    });
    this.#register(repository);
    addManifest(repository, record);
    const watcher = this.#watchers.get(repository.name);
    watcher?.manifestStored(record.digest, push.bytes);
    for (const tag of push.tags) {
      watcher?.tagMoved(repository.tags.get(tag), record.digest);
      repository.tags.set(tag, record.digest);
    }
    this.contents.remember(record.digest, push.bytes);
    await this.#database.durable();
  }

  /** Removes a manifest with every tag on it (distribution-spec end-9). False when it is not there. */
  async deleteManifest(name: string, digest: Digest): Promise<boolean> {
    const repository = this.#repositories.get(name);
    const record = repository?.manifests.get(digest);
    if (repository === undefined || record === undefined) return false;
    const tags = [...repository.tags.entries()].filter(([, target]) => target === digest);
    const needed = this.isDamaged(digest) ? [] : referencesOf(this.content(digest) ?? Buffer.of());
    const now = this.#clock.now();
    this.#database.transaction(() => {
      this.#run('DELETE FROM tags WHERE repository = ? AND digest = ?', repository.id, digest);
      this.#deleteRows(repository.id, digest);
      for (const reference of [...(needed ?? []), ...(repository.referrers.get(digest) ?? [])]) {
        this.times.touchManifest(repository, reference, now);
        this.times.touchBlob(repository, reference, now);
      }
      this.holds.inherit(name, digest, needed ?? []);
    });
    const watcher = this.#watchers.get(name);
    for (const [tag] of tags) {
      repository.tags.delete(tag);
      watcher?.tagMoved(digest, undefined);
    }
    this.#forget(repository, record);
    await this.#database.durable();
    return true;
  }

  /**
   * Removes a manifest that has no tag, without waiting for the disk and without starting the grace
   * period of what it names: for the collector, which has waited for that already.
   */
  dropManifest(repository: Repository, digest: Digest): void {
    const record = repository.manifests.get(digest);
    if (record === undefined) return;
    this.#database.transaction(() => this.#deleteRows(repository.id, digest));
    this.#forget(repository, record);
  }

  /** Removes one tag and leaves its manifest. False when it is not there. */
  async deleteTag(name: string, tag: string): Promise<boolean> {
    const removed = this.dropTag(name, tag);
    if (removed) await this.#database.durable();
    return removed;
  }

  /** As {@link deleteTag}, without waiting for the disk. */
  dropTag(name: string, tag: string): boolean {
    const repository = this.#repositories.get(name);
    const digest = repository?.tags.get(tag);
    if (repository === undefined || digest === undefined) return false;
    this.#database.transaction(() => {
      this.#run('DELETE FROM tags WHERE repository = ? AND name = ?', repository.id, tag);
      this.times.touchManifest(repository, digest, this.#clock.now());
    });
    repository.tags.delete(tag);
    this.#watchers.get(name)?.tagMoved(digest, undefined);
    return true;
  }

  /** Records a blob whose file is in place, as one of `name`'s. */
  async addBlob(name: string, digest: Digest, stamp: FileStamp): Promise<void> {
    const repository = this.#database.transaction(() => {
      this.#storeStamp(digest, stamp);
      return this.#storeMember(name, digest);
    });
    this.#blobs.set(digest, stamp);
    this.#addMember(repository, digest);
    await this.#database.durable();
  }

  /** Makes a blob that the registry holds one of `name`'s as well (distribution-spec end-11). */
  async mountBlob(name: string, digest: Digest): Promise<void> {
    const repository = this.#database.transaction(() => this.#storeMember(name, digest));
    this.#addMember(repository, digest);
    await this.#database.durable();
  }

  /** Takes a blob out of `name`. `last` says that no repository has it any more. */
  async removeBlob(name: string, digest: Digest): Promise<{ removed: boolean; last: boolean }> {
    const repository = this.#repositories.get(name);
    if (repository?.blobs.has(digest) !== true) return { removed: false, last: false };
    const last = this.#holders.count(digest) <= 1;
    this.#database.transaction(() => {
      this.#run('DELETE FROM members WHERE repository = ? AND digest = ?', repository.id, digest);
      if (last) this.#run('DELETE FROM blobs WHERE digest = ?', digest);
    });
    this.#blobWatcher?.(name, digest, repository.blobs.get(digest) ?? 0, 'removed');
    repository.blobs.delete(digest);
    this.#holders.delete(digest, repository);
    if (last) this.#blobs.delete(digest);
    await this.#database.durable();
    return { removed: true, last };
  }

  /** Notes what a blob's file looks like after its content was verified. */
  restampBlob(digest: Digest, stamp: FileStamp): void {
    this.#database.transaction(() => this.#storeStamp(digest, stamp));
    this.#blobs.set(digest, stamp);
  }

  /** Forgets the file of a blob that was lost or damaged; who has the blob is kept, so that a new push heals it. */
  dropBlobFile(digest: Digest): void {
    this.#database.transaction(() => this.#run('DELETE FROM blobs WHERE digest = ?', digest));
    this.#blobs.delete(digest);
  }

  /** The upload sessions that were open when the registry last ran. */
  uploads(): UploadRow[] {
    return this.#uploads.list();
  }

  /** Keeps a session beyond the death of the process. Not synced: after a loss of power a client begins anew. */
  addUpload(row: UploadRow): void {
    this.#uploads.add(row);
  }

  removeUpload(id: string): void {
    this.#uploads.remove(id);
  }

  /** The manifests that lose a tag to a push. */
  #tagsThatMove(push: ManifestPush): Digest[] {
    const tags = this.#repositories.get(push.repository)?.tags;
    return push.tags.flatMap((tag) => {
      const digest = tags?.get(tag);
      return digest === undefined || digest === push.record.digest ? [] : [digest];
    });
  }

  #deleteRows(repository: number, digest: Digest): void {
    this.#run('DELETE FROM manifests WHERE repository = ? AND digest = ?', repository, digest);
    this.contents.removeUnused(digest);
  }

  #forget(repository: Repository, record: ManifestRecord): void {
    removeManifest(repository, record);
    this.#watchers.get(repository.name)?.manifestDropped(record.digest);
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): void {
    this.#database.statement(sql).run(...values);
  }

  #storeStamp(digest: Digest, stamp: FileStamp): void {
    const { size, inode, mtime, ctime } = stamp;
    this.#run('INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)', digest, size, inode, mtime, ctime);
  }

  #storeMember(name: string, digest: Digest): Repository {
    const repository = this.#ensure(name);
    this.#run(
      'INSERT INTO members VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET added_at = excluded.added_at',
      repository.id,
      digest,
      this.#clock.now(),
    );
    return repository;
  }

  #addMember(repository: Repository, digest: Digest): void {
    this.#register(repository);
    const size = this.#blobs.get(digest)?.size ?? 0;
    const before = repository.blobs.get(digest);
    if (before !== size) {
      if (before !== undefined) this.#blobWatcher?.(repository.name, digest, before, 'removed');
      repository.blobs.set(digest, size);
      this.#blobWatcher?.(repository.name, digest, size, 'added');
    }
    this.#holders.add(digest, repository);
  }

  /** The repository, stored if it is new; within a transaction. */
  #ensure(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const id = this.#lastId + 1;
    this.#run('INSERT INTO repositories (id, name) VALUES (?, ?)', id, name);
    return emptyRepository(id, name);
  }

  /** Puts a repository into memory once its transaction is committed. */
  #register(repository: Repository): void {
    if (this.#repositories.has(repository.name)) return;
    this.#repositories.set(repository.name, repository);
    this.#lastId = Math.max(this.#lastId, repository.id);
    this.#names = undefined;
  }

  /** Rows as arrays, one after the other: a start reads hundreds of thousands of them. */
  #load(): void {
    const byId = new Map<number, Repository>();
    for (const [id, name] of this.#database.rows('SELECT id, name FROM repositories')) {
      const repository = emptyRepository(Number(id), String(name));
      byId.set(repository.id, repository);
      this.#register(repository);
    }
    const owner = (id: SqlValue | undefined): Repository => {
      const repository = byId.get(Number(id));
      if (repository !== undefined) return repository;
      throw new RegistryError('Internal', 'The metadata name a repository that does not exist.');
    };
    for (const row of this.#database.rows(MANIFEST_ROWS)) addManifest(owner(row[0]), manifestRecord(row));
    const tags = 'SELECT repository, name, digest FROM tags ORDER BY repository, name';
    for (const [id, name, digest] of this.#database.rows(tags)) {
      owner(id).tags.set(String(name), digest as Digest);
    }
    const stamps = 'SELECT digest, size, inode, mtime, ctime FROM blobs';
    for (const [digest, size, inode, mtime, ctime] of this.#database.rows(stamps)) {
      this.#blobs.set(digest as Digest, {
        size: Number(size),
        inode: Number(inode),
        mtime: Number(mtime),
        ctime: Number(ctime),
      });
    }
    for (const [id, digest] of this.#database.rows('SELECT repository, digest FROM members')) {
      this.#addMember(owner(id), digest as Digest);
    }
  }
}
