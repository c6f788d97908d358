import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { FakeClock } from '@mural/core/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { digestOf } from '../names.ts';
import { Database } from './database.ts';
import { Metadata } from './metadata.ts';

/** The tables of the first version, as it wrote them. */
const FIRST = `
  CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE contents (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
  CREATE TABLE manifests (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT, referrer TEXT, pushed_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX manifests_by_digest ON manifests (digest);
  CREATE TABLE tags (
    repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, inode REAL NOT NULL, mtime REAL NOT NULL, ctime REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE members (
    repository INTEGER NOT NULL, digest TEXT NOT NULL, added_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE uploads (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, owner TEXT, algorithm TEXT NOT NULL, started_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 1;
`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-database-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

it('takes over the data of the first version', async () => {
  const bytes = randomBytes(30);
  const digest = digestOf(bytes);
  const old = new DatabaseSync(join(directory, 'metadata.db'));
  old.exec(FIRST);
  old.prepare('INSERT INTO repositories VALUES (1, ?)').run('a');
  old.prepare('INSERT INTO contents VALUES (?, ?)').run(digest, bytes);
  old.prepare('INSERT INTO manifests VALUES (1, ?, ?, 30, NULL, NULL, 12345)').run(digest, 'x/y');
  old.prepare('INSERT INTO tags VALUES (1, ?, ?, 12345)').run('v1', digest);
  old.close();
  for (let start = 0; start < 2; start += 1) {
    const database = await Database.open(directory);
    const metadata = new Metadata(database, new FakeClock(), { cacheBytes: 1000, useMs: 0 });
    const repository = metadata.repository('a');
    expect(repository?.tags.get('v1')).toBe(digest);
    expect(metadata.content(digest)?.equals(bytes)).toBe(true);
    expect(repository === undefined ? 0 : metadata.times.manifest(repository, digest)).toBe(12_345);
    expect(database.problems()).toEqual([]);
    await database.close();
  }
});

it('takes over leases that had no holder', async () => {
  await (await Database.open(directory)).close();
  const old = new DatabaseSync(join(directory, 'metadata.db'));
  old.exec(`
    DROP TABLE leases;
    CREATE TABLE leases (
      repository TEXT NOT NULL, digest TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 3;
  `);
  const clock = new FakeClock();
  const digest = digestOf('content');
  old.prepare('INSERT INTO leases VALUES (?, ?, ?)').run('a', digest, clock.now() + 1000);
  old.close();
  const database = await Database.open(directory);
  const { leases } = new Metadata(database, clock, { cacheBytes: 1000, useMs: 0 }).holds;
  expect(leases.longest('a', digest)).toEqual({
    ...{ repository: 'a', digest, holder: '', until: clock.now() + 1000 },
  });
  await database.close();
});

it('refuses the data of a later version, and leaves them alone', async () => {
  const later = new DatabaseSync(join(directory, 'metadata.db'));
  later.exec('PRAGMA user_version = 99');
  later.close();
  await expect(Database.open(directory)).rejects.toMatchObject({ code: 'DataDirectoryInvalid' });
});
