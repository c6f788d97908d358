import type { Clock } from '@mural/core';
import { RegistryError } from '../errors.ts';
import type { Digest } from '../names.ts';
import type { Database } from './database.ts';
import { Lru } from './lru.ts';
import { pageOf, TagIndex } from './tag-index.ts';

/** What the file system said of a blob's file when the registry wrote or last verified it. */
export interface FileStamp {
  readonly size: number;
  readonly inode: number;
  /** Milliseconds since the epoch, with fraction. */
  readonly mtime: number;
  /** As `mtime`, of the last change of the inode, which nobody can set back. */
  readonly ctime: number;
}

/** A manifest in a repository. Its bytes are got by {@link Metadata.content}. */
export interface ManifestRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly subject?: Digest;
  /** The descriptor, as JSON, that the referrers of `subject` list; only where there is a subject. */
  readonly referrer?: string;
  /** Milliseconds since the epoch. */
  readonly pushedAt: number;
}

/** One repository in memory. */
export interface Repository {
  readonly id: number;
  readonly name: string;
  readonly manifests: Map<Digest, ManifestRecord>;
  readonly tags: TagIndex<Digest>;
  readonly blobs: Set<Digest>;
  /** Digests of the manifests that have a subject, by that subject. */
  readonly referrers: Map<Digest, Set<Digest>>;
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

/** An upload session as it is kept. */
export interface UploadRow {
  readonly id: string;
  readonly repository: string;
  readonly owner: string | undefined;
  readonly algorithm: 'sha256' | 'sha512';
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

/**
 * Repositories, manifests, tags, referrers and who has which blob: in memory for reading, in the
 * database for good.
 *
 * Each change is one transaction that is applied to the memory in the same turn, so that readers,
 * checks and the disk agree on one order; the promise resolves once the change is durable.
 */
export class Metadata {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #repositories = new Map<string, Repository>();
  readonly #blobs = new Map<Digest, FileStamp>();
  readonly #holders = new Map<Digest, Set<Repository>>();
  readonly #contents: Lru<Digest, Buffer>;
  #names: string[] | undefined;
  #lastId = 0;

  /** @param cacheBytes how many bytes of manifests stay in memory */
  constructor(database: Database, clock: Clock, cacheBytes: number) {
    this.#database = database;
    this.#clock = clock;
    this.#contents = new Lru(cacheBytes);
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
    return this.#holders.get(digest) ?? [];
  }

  /** The bytes of a manifest: from memory, or else from the database. */
  content(digest: Digest): Buffer | undefined {
    const known = this.#contents.get(digest);
    if (known !== undefined) return known;
    const row = this.#database.statement('SELECT bytes FROM contents WHERE digest = ?').get(digest);
    const stored = row?.['bytes'];
    if (!(stored instanceof Uint8Array)) return undefined;
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
    this.#contents.set(digest, bytes);
    return bytes;
  }

  /** Stores a manifest and points `tags` at it, all or nothing. */
  async putManifest(push: ManifestPush): Promise<void> {
    push.check(this.#repositories.get(push.repository));
    const { record } = push;
    const now = this.#clock.now();
    const repository = this.#database.transaction(() => {
      const target = this.#ensure(push.repository);
      this.#run(
        'INSERT INTO contents (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING',
        record.digest,
        push.bytes,
      );
      this.#run(
        'INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)',
        target.id,
        record.digest,
        record.mediaType,
        record.size,
        record.subject ?? null,
        record.referrer ?? null,
        record.pushedAt,
      );
      for (const tag of push.tags) {
        this.#run('INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)', target.id, tag, record.digest, now);
      }
      return target;
    });
    this.#register(repository);
    addManifest(repository, record);
    for (const tag of push.tags) repository.tags.set(tag, record.digest);
    this.#contents.set(record.digest, push.bytes);
    await this.#database.durable();
  }

  /** Removes a manifest with every tag on it (distribution-spec end-9). False when it is not there. */
  async deleteManifest(name: string, digest: Digest): Promise<boolean> {
    const repository = this.#repositories.get(name);
    const record = repository?.manifests.get(digest);
    if (repository === undefined || record === undefined) return false;
    this.#database.transaction(() => {
      this.#run('DELETE FROM tags WHERE repository = ? AND digest = ?', repository.id, digest);
      this.#run('DELETE FROM manifests WHERE repository = ? AND digest = ?', repository.id, digest);
      this.#run(
        'DELETE FROM contents WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM manifests WHERE digest = ?1)',
        digest,
      );
    });
    for (const [tag, target] of [...repository.tags.entries()]) {
      if (target === digest) repository.tags.delete(tag);
    }
    removeManifest(repository, record);
    await this.#database.durable();
    return true;
  }

  /** Removes one tag and leaves its manifest. False when it is not there. */
  async deleteTag(name: string, tag: string): Promise<boolean> {
    const repository = this.#repositories.get(name);
    if (repository?.tags.get(tag) === undefined) return false;
    this.#database.transaction(() =>
      this.#run('DELETE FROM tags WHERE repository = ? AND name = ?', repository.id, tag),
    );
    repository.tags.delete(tag);
    await this.#database.durable();
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
    if (this.#repositories.get(name)?.blobs.has(digest) === true) return;
    const repository = this.#database.transaction(() => this.#storeMember(name, digest));
    this.#addMember(repository, digest);
    await this.#database.durable();
  }

  /** Takes a blob out of `name`. `last` says that no repository has it any more. */
  async removeBlob(name: string, digest: Digest): Promise<{ removed: boolean; last: boolean }> {
    const repository = this.#repositories.get(name);
    if (repository?.blobs.has(digest) !== true) return { removed: false, last: false };
    const holders = this.#holders.get(digest) ?? new Set<Repository>();
    const last = holders.size <= 1;
    this.#database.transaction(() => {
      this.#run('DELETE FROM members WHERE repository = ? AND digest = ?', repository.id, digest);
      if (last) this.#run('DELETE FROM blobs WHERE digest = ?', digest);
    });
    repository.blobs.delete(digest);
    holders.delete(repository);
    if (last) {
      this.#holders.delete(digest);
      this.#blobs.delete(digest);
    }
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
    const rows = this.#database.statement('SELECT * FROM uploads').all();
    return rows.map((row) => ({
      id: String(row['id']),
      repository: String(row['repository']),
      owner: row['owner'] === null ? undefined : String(row['owner']),
      algorithm: row['algorithm'] === 'sha512' ? 'sha512' : 'sha256',
      startedAt: Number(row['started_at']),
    }));
  }

  /** Keeps a session beyond the death of the process. Not synced: after a loss of power a client begins anew. */
  addUpload(row: UploadRow): void {
    this.#database.transaction(() =>
      this.#run(
        'INSERT INTO uploads VALUES (?, ?, ?, ?, ?)',
        row.id,
        row.repository,
        row.owner ?? null,
        row.algorithm,
        row.startedAt,
      ),
    );
  }

  removeUpload(id: string): void {
    this.#database.transaction(() => this.#run('DELETE FROM uploads WHERE id = ?', id));
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
      'INSERT INTO members VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
      repository.id,
      digest,
      this.#clock.now(),
    );
    return repository;
  }

  #addMember(repository: Repository, digest: Digest): void {
    this.#register(repository);
    repository.blobs.add(digest);
    const holders = this.#holders.get(digest);
    if (holders === undefined) this.#holders.set(digest, new Set([repository]));
    else holders.add(repository);
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

  #load(): void {
    const byId = new Map<number, Repository>();
    for (const row of this.#database.statement('SELECT id, name FROM repositories').all()) {
      const repository = emptyRepository(Number(row['id']), String(row['name']));
      byId.set(repository.id, repository);
      this.#register(repository);
    }
    const owner = (row: Record<string, unknown>): Repository => {
      const repository = byId.get(Number(row['repository']));
      if (repository === undefined) {
        throw new RegistryError('Internal', 'The metadata name a repository that does not exist.');
      }
      return repository;
    };
    for (const row of this.#database.statement('SELECT * FROM manifests').all()) {
      addManifest(owner(row), manifestRecord(row));
    }
    for (const row of this.#database.statement('SELECT * FROM tags ORDER BY repository, name').all()) {
      owner(row).tags.set(String(row['name']), row['digest'] as Digest);
    }
    for (const row of this.#database.statement('SELECT repository, digest FROM members').all()) {
      this.#addMember(owner(row), row['digest'] as Digest);
    }
    for (const row of this.#database.statement('SELECT * FROM blobs').all()) {
      this.#blobs.set(row['digest'] as Digest, {
        size: Number(row['size']),
        inode: Number(row['inode']),
        mtime: Number(row['mtime']),
        ctime: Number(row['ctime']),
      });
    }
  }
}

function emptyRepository(id: number, name: string): Repository {
  return {
    id,
    name,
    manifests: new Map(),
    tags: new TagIndex(),
    blobs: new Set(),
    referrers: new Map(),
  };
}

function manifestRecord(row: Record<string, unknown>): ManifestRecord {
  return {
    digest: row['digest'] as Digest,
    mediaType: String(row['media_type']),
    size: Number(row['size']),
    ...(typeof row['subject'] === 'string' ? { subject: row['subject'] as Digest } : {}),
    ...(typeof row['referrer'] === 'string' ? { referrer: row['referrer'] } : {}),
    pushedAt: Number(row['pushed_at']),
  };
}

function addManifest(repository: Repository, record: ManifestRecord): void {
  repository.manifests.set(record.digest, record);
  if (record.subject === undefined) return;
  const referrers = repository.referrers.get(record.subject);
  if (referrers === undefined) repository.referrers.set(record.subject, new Set([record.digest]));
  else referrers.add(record.digest);
}

function removeManifest(repository: Repository, record: ManifestRecord): void {
  repository.manifests.delete(record.digest);
  if (record.subject === undefined) return;
  const referrers = repository.referrers.get(record.subject);
  referrers?.delete(record.digest);
  if (referrers?.size === 0) repository.referrers.delete(record.subject);
}
