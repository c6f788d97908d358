import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { DatabaseSync } from 'node:sqlite';
import { isRecord, syncDirectory, writeFileAtomic } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { type Digest, digestOf, isDigest, parseDigest } from '../names.ts';

/** The databases that a backup holds beside the blobs. */
export const BACKUP_DATABASES = ['metadata.db', 'access.db'] as const;
export type BackupDatabase = (typeof BACKUP_DATABASES)[number];

/** Where a backup comes from: a store in this process, or a running registry. */
export interface BackupSource {
  /** Writes one of the databases, as it was when the backup began, to `path`. False when there is none. */
  copyDatabase(name: BackupDatabase, path: string): Promise<boolean>;
  /** The bytes of a blob; undefined when it is not there. */
  openBlob(digest: Digest): Promise<Readable | undefined>;
}

/** What a backup or a restore came to. */
export interface BackupReport {
  readonly directory: string;
  readonly blobs: number;
  readonly bytes: number;
  /** Blobs that an earlier backup, or an earlier try, had put there. */
  readonly reused: number;
  /** Blobs that are not there or damaged. The registry will ask for them to be pushed again. */
  readonly missing: readonly Digest[];
}

interface Listed {
  readonly digest: Digest;
  readonly size: number;
}

const SUMMARY = 'backup.json';
const VERSION = 1;

/**
 * Writes a backup of a registry to a folder, each blob verified on its way. In a folder with an
 * earlier backup only what is new is copied. The summary is written last: a folder without one, or
 * with one that does not fit, is no backup.
 *
 * @throws RegistrySetupError `BackupInvalid` for a folder with something else in it
 */
export async function writeBackup(
  source: BackupSource,
  directory: string,
  { now, signal }: { now: number; signal?: AbortSignal | undefined },
): Promise<BackupReport> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (existsSync(join(directory, 'metadata.db-wal')) || existsSync(join(directory, 'uploads'))) {
    throw invalidBackup(directory, 'is the data folder of a registry, not a place for a backup');
  }
  await rm(join(directory, SUMMARY), { force: true });
  const databases: Record<string, Digest> = {};
  for (const name of BACKUP_DATABASES) {
    const partial = join(directory, `${name}.partial`);
    await rm(partial, { force: true });
    if (!(await source.copyDatabase(name, partial))) continue;
    settle(partial);
    await chmod(partial, 0o600);
    databases[name] = await hashFile(partial);
  }
  const listed = blobsIn(join(directory, 'metadata.db.partial'));
  const report = await copyBlobs(listed, directory, { open: (digest) => source.openBlob(digest), signal });
  for (const name of Object.keys(databases)) {
    await syncFile(join(directory, `${name}.partial`));
    await rename(join(directory, `${name}.partial`), join(directory, name));
  }
  await syncDirectory(directory);
  const summary = { version: VERSION, createdAt: new Date(now).toISOString(), databases, ...counts(report) };
  await writeFileAtomic(join(directory, SUMMARY), `${JSON.stringify(summary, null, 2)}\n`, { mode: 0o600 });
  return report;
}

/**
 * Makes a data folder from a backup, each blob verified on its way. The metadata are put in place
 * last: until then the folder is no registry's, and an interrupted restore is begun again.
 *
 * @throws RegistrySetupError `BackupInvalid` when the backup is not whole, `DataDirectoryInvalid`
 *   when the folder has the data of a registry already
 */
export async function restoreBackup(
  from: string,
  dataDir: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<BackupReport> {
  const databases = await readSummary(from);
  if (existsSync(join(dataDir, 'metadata.db'))) {
    throw new RegistrySetupError('DataDirectoryInvalid', 'This folder has the data of a registry already.', {
      facts: { directory: dataDir },
      hint: 'Restore into an empty folder.',
    });
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  for (const name of databases) {
    await copyFile(join(from, name), join(dataDir, `${name}.partial`));
    await chmod(join(dataDir, `${name}.partial`), 0o600);
  }
  const metadata = join(dataDir, 'metadata.db.partial');
  const listed = blobsIn(metadata);
  const openBlob = async (digest: Digest): Promise<Readable | undefined> => {
    const path = blobPath(from, digest);
    return existsSync(path) ? createReadStream(path) : undefined;
  };
  const report = await copyBlobs(listed, dataDir, { open: openBlob, signal, verifyReused: true });
  await restamp(metadata, listed, dataDir);
  for (const name of [...databases].reverse()) {
    await syncFile(join(dataDir, `${name}.partial`));
    await rename(join(dataDir, `${name}.partial`), join(dataDir, name));
  }
  await syncDirectory(dataDir);
  return report;
}

async function readSummary(from: string): Promise<BackupDatabase[]> {
  let summary: unknown;
  try {
    summary = JSON.parse(await readFile(join(from, SUMMARY), 'utf8'));
  } catch (error) {
    throw invalidBackup(from, `has no ${SUMMARY}: it is no backup, or one that was not finished`, error);
  }
  const digests = isRecord(summary) ? summary['databases'] : undefined;
  if (!isRecord(summary) || summary['version'] !== VERSION || !isRecord(digests)) {
    throw invalidBackup(from, `has a ${SUMMARY} of another version`);
  }
  const names = BACKUP_DATABASES.filter((name) => digests[name] !== undefined);
  for (const name of names) {
    const found = existsSync(join(from, name)) ? await hashFile(join(from, name)) : 'nothing';
    if (found !== digests[name])
      throw invalidBackup(from, `has a ${name} that is not the one it was made with`);
  }
  if (!names.includes('metadata.db')) throw invalidBackup(from, 'has no metadata');
  return names;
}

/** Makes the database one file that needs no log beside it. */
function settle(path: string): void {
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA journal_mode=DELETE');
  } finally {
    database.close();
  }
}

function blobsIn(path: string): Listed[] {
  const database = new DatabaseSync(path);
  try {
    const rows = database.prepare('SELECT digest, size FROM blobs ORDER BY digest').all();
    return rows.flatMap((row) => {
      const digest = String(row['digest']);
      return isDigest(digest) ? [{ digest, size: Number(row['size']) }] : [];
    });
  } finally {
    database.close();
  }
}

/** Notes how the files look now, so that the registry need not hash them; forgets uploads and what is missing. */
async function restamp(path: string, listed: readonly Listed[], dataDir: string): Promise<void> {
  const database = new DatabaseSync(path);
  try {
    database.exec('BEGIN; DELETE FROM uploads');
    const update = database.prepare(
      'UPDATE blobs SET size = ?, inode = ?, mtime = ?, ctime = ? WHERE digest = ?',
    );
    const drop = database.prepare('DELETE FROM blobs WHERE digest = ?');
    for (const { digest } of listed) {
      const file = blobPath(dataDir, digest);
      if (!existsSync(file)) drop.run(digest);
      else {
        const { size, ino, mtimeMs, ctimeMs } = await stat(file);
        update.run(size, ino, mtimeMs, ctimeMs, digest);
      }
    }
    database.exec('COMMIT');
  } finally {
    database.close();
  }
}

async function copyBlobs(
  listed: readonly Listed[],
  directory: string,
  options: {
    readonly open: (digest: Digest) => Promise<Readable | undefined>;
    readonly signal: AbortSignal | undefined;
    readonly verifyReused?: boolean;
  },
): Promise<BackupReport> {
  const missing: Digest[] = [];
  const folders = new Set<string>();
  let bytes = 0;
  let reused = 0;
  for (const blob of listed) {
    options.signal?.throwIfAborted();
    const path = blobPath(directory, blob.digest);
    if (await isThere(path, blob, options.verifyReused ?? false)) reused += 1;
    else {
      folders.add(dirname(path));
      const content = await options.open(blob.digest);
      const copied = content !== undefined && (await copyBlob(content, path, blob.digest));
      if (!copied) {
        missing.push(blob.digest);
        continue;
      }
    }
    bytes += blob.size;
  }
  for (const folder of folders) if (existsSync(folder)) await syncDirectory(folder);
  return { directory, blobs: listed.length - missing.length, bytes, reused, missing };
}

async function isThere(path: string, { digest, size }: Listed, verify: boolean): Promise<boolean> {
  if (!existsSync(path) || (await stat(path)).size !== size) return false;
  return !verify || (await hashFile(path, parseDigest(digest).algorithm)) === digest;
}

async function copyBlob(content: Readable, path: string, digest: Digest): Promise<boolean> {
  const { algorithm, hex } = parseDigest(digest);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const partial = `${path}.partial`;
  const hash = createHash(algorithm);
  const file = await open(partial, 'w', 0o600);
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    content.destroy();
    await file.close();
  }
  if (hash.digest('hex') === hex) await rename(partial, path);
  else await rm(partial, { force: true });
  return existsSync(path);
}

function blobPath(root: string, digest: Digest): string {
  const { algorithm, hex } = parseDigest(digest);
  return join(root, 'blobs', algorithm, hex.slice(0, 2), hex);
}

async function hashFile(path: string, algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<Digest> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk);
  const digest = `${algorithm}:${hash.digest('hex')}`;
  return isDigest(digest) ? digest : digestOf(Buffer.of());
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function counts({ blobs, bytes, missing }: BackupReport): object {
  return { blobs, bytes, missing };
}

function invalidBackup(directory: string, why: string, cause?: unknown): RegistrySetupError {
  return new RegistrySetupError('BackupInvalid', `${directory} ${why}.`, { cause, facts: { directory } });
}
