import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, readdir, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';
import { restoreBackup, writeBackup } from './backup.ts';
import { HOUR, StoreFixture } from './fixture.ts';
import { openRegistryData } from './offline.ts';
import { Snapshot } from './snapshot.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-backup-'));
});
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function openFixture(): Promise<StoreFixture> {
  const fixture = await StoreFixture.open({ graceMs: 0 });
  closing.push(() => fixture.close());
  return fixture;
}

const at = (...parts: string[]): string => join(folder, ...parts);
const blobAt = (root: string, digest: Digest): string => {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(root, 'blobs', algorithm, hex.slice(0, 2), hex);
};

describe('a backup of a running registry', () => {
  it('is restored with everything as it was, and nothing has to be hashed again', async () => {
    const fixture = await RegistryFixture.start();
    closing.push(() => fixture.stop());
    const image = await fixture.pushImage('team/app', 'v1');
    const large = randomBytes(2_000_000);
    await fixture.pushBlob('team/app', large);
    const begun = await fixture.send('POST', '/v2/team/app/blobs/uploads/');
    await fixture.send('PATCH', String(begun.headers.location), { body: 'unfinished' });
    const report = await fixture.registry.maintenance.backup(at('backup'));
    expect(report).toMatchObject({ blobs: 3, reused: 0, missing: [] });
    expect(await readdir(join(fixture.directory, 'temporary'))).toEqual([]);
    const restored = await restoreBackup(at('backup'), at('restored'));
    expect(restored).toMatchObject({ blobs: 3, missing: [] });
    const data = await openRegistryData({ dataDir: at('restored') });
    expect(await data.verify({ thorough: true })).toMatchObject({ ok: true, found: 0, manifests: 1 });
    expect(await data.stats()).toMatchObject({ tags: 1, manifests: 1, blobs: 3, uploads: 0 });
    expect((await data.scrub()).damaged).toEqual([]);
    await data.close();
    const again = await RegistryFixture.start({ dataDir: at('restored') });
    closing.push(() => again.stop());
    const get = await again.send('GET', '/v2/team/app/manifests/v1');
    expect(digestOf(get.body)).toBe(image.digest);
    expect((await again.send('GET', `/v2/team/app/blobs/${digestOf(large)}`)).body.equals(large)).toBe(true);
  });

  it('is of one moment, whatever is pushed, deleted and collected while it runs', async () => {
    const fixture = await openFixture();
    const kept = await fixture.image('a', ['kept']);
    const deleted = await fixture.image('a', ['deleted']);
    const snapshot = await Snapshot.take(fixture.store);
    await fixture.store.metadata.deleteManifest('a', deleted.digest);
    const later = await fixture.image('a', ['later']);
    await fixture.clock.advance(HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 1 });
    expect(fixture.hasBlob('a', deleted.layer)).toBe(false);
    const report = await writeBackup(snapshot, at('backup'), { now: 0 });
    expect(report).toMatchObject({ blobs: 3, missing: [] });
    await snapshot.release();
    await expect(stat(fixture.fileOf(deleted.layer))).rejects.toThrow('ENOENT');
    await stat(fixture.fileOf(kept.layer));
    await restoreBackup(at('backup'), at('restored'));
    const data = await openRegistryData({ dataDir: at('restored') });
    expect(await data.verify()).toMatchObject({ ok: true, manifests: 2 });
    expect((await data.stats()).repositories).toMatchObject([{ name: 'a', tags: 2 }]);
    await data.close();
    await expect(stat(blobAt(at('restored'), later.layer))).rejects.toThrow('ENOENT');
  });

  it('keeps a blob that is removed and pushed again meanwhile', async () => {
    const fixture = await openFixture();
    const digest = await fixture.blob('a', 'back again');
    const snapshot = await Snapshot.take(fixture.store);
    await fixture.store.blobs.remove('a', digest);
    await fixture.blob('a', 'back again');
    await snapshot.release();
    expect(await fixture.store.blobs.intact(digest)).toBe(true);
    await stat(fixture.fileOf(digest));
  });

  it('copies only what is new when there is an earlier one', async () => {
    const fixture = await openFixture();
    await fixture.image('a', ['v1']);
    await fixture.maintenance.backup(at('backup'));
    await fixture.image('a', ['v2']);
    expect(await fixture.maintenance.backup(at('backup'))).toMatchObject({ blobs: 3, reused: 2 });
  });

  it('says what is damaged, and does not take it for good', async () => {
    const fixture = await openFixture();
    const image = await fixture.image('a', ['v1']);
    await writeFile(fixture.fileOf(image.layer), randomBytes(40));
    const report = await fixture.maintenance.backup(at('backup'));
    expect(report.missing).toEqual([image.layer]);
    expect(await restoreBackup(at('backup'), at('restored'))).toMatchObject({ missing: [image.layer] });
    const data = await openRegistryData({ dataDir: at('restored') });
    const { problems } = await data.verify();
    expect(problems).toEqual([{ kind: 'lostBlob', repository: 'a', digest: image.layer }]);
    await data.close();
  });
});

describe('a restore', () => {
  it('verifies what it copies', async () => {
    const fixture = await openFixture();
    const image = await fixture.image('a', ['v1']);
    await fixture.maintenance.backup(at('backup'));
    await writeFile(blobAt(at('backup'), image.layer), randomBytes(40));
    expect((await restoreBackup(at('backup'), at('restored'))).missing).toEqual([image.layer]);
  });

  it.each([
    ['was not finished', (path: string) => unlink(join(path, 'backup.json')), /has no backup\.json/],
    [
      'has other metadata',
      (path: string) => writeFile(join(path, 'metadata.db'), 'x'),
      /has a metadata\.db that/,
    ],
    ['has no metadata', (path: string) => unlink(join(path, 'metadata.db')), /has a metadata\.db that/],
    [
      'is of a later version',
      (path: string) => writeFile(join(path, 'backup.json'), '{}'),
      /another version/,
    ],
  ])('refuses a backup that %s', async (_name, damage, message) => {
    const fixture = await openFixture();
    await fixture.image('a', ['v1']);
    await fixture.maintenance.backup(at('backup'));
    await cp(at('backup'), at('broken'), { recursive: true });
    await damage(at('broken'));
    await expect(restoreBackup(at('broken'), at('restored'))).rejects.toThrow(message);
    expect(await readdir(folder)).not.toContain('restored');
  });

  it('never overwrites the data of a registry', async () => {
    const fixture = await openFixture();
    await fixture.maintenance.backup(at('backup'));
    await restoreBackup(at('backup'), at('restored'));
    await expect(restoreBackup(at('backup'), at('restored'))).rejects.toThrow(/already/);
    await expect(fixture.maintenance.backup(fixture.directory)).rejects.toThrow(/not a place for a backup/);
  });
});

it('the data of a registry that runs are not opened, and none are made where there are none', async () => {
  const fixture = await openFixture();
  await expect(openRegistryData({ dataDir: fixture.directory })).rejects.toMatchObject({
    code: 'DataDirectoryInUse',
  });
  await expect(openRegistryData({ dataDir: at('nothing') })).rejects.toMatchObject({
    code: 'DataDirectoryMissing',
  });
  expect(await readdir(folder)).toEqual([]);
});
