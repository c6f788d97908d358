import { randomBytes } from 'node:crypto';
import { open, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, expect, it } from 'vitest';
import { digestOf } from '../names.ts';
import { StoreFixture } from './fixture.ts';

const fixtures: StoreFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.close();
});

async function openFixture(): Promise<StoreFixture> {
  const fixture = await StoreFixture.open();
  fixtures.push(fixture);
  return fixture;
}

async function flip(path: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(Buffer.from([1, 2, 3]), 0, 3, 10);
  await file.close();
}

it('a scrub finds a changed, a shortened and a lost blob, takes them out of service, and a push heals them', async () => {
  const fixture = await openFixture();
  const contents = [100, 2_000_000, 300, 400].map((size) => randomBytes(size));
  const digests = contents.map((content) => digestOf(content));
  for (const content of contents) await fixture.blob('a', content);
  await fixture.store.blobs.mount('b', digests[0] ?? 'x:y');
  const [flipped = '', shortened = '', lost = '', sound = ''] = digests.map((digest) =>
    fixture.fileOf(digest),
  );
  await flip(flipped);
  await truncate(shortened, 1000);
  await rm(lost);
  await utimes(sound, 1, 1);
  const report = await fixture.maintenance.scrub();
  expect(report).toMatchObject({ blobs: 4, resumed: false });
  expect(new Map(report.damaged.map(({ digest, repositories }) => [digest, repositories]))).toEqual(
    new Map([
      [digests[0], ['a', 'b']],
      [digests[1], ['a']],
      [digests[2], ['a']],
    ]),
  );
  expect(await readdir(join(fixture.directory, 'quarantine'))).toHaveLength(2);
  expect(await fixture.maintenance.stats()).toMatchObject({ blobs: 1, quarantined: 2 });
  expect(await fixture.maintenance.verify()).toMatchObject({ ok: false, found: 4 });
  for (const content of contents) await fixture.blob('a', content);
  expect(await fixture.maintenance.verify()).toMatchObject({ ok: true, found: 0 });
  expect(await fixture.maintenance.scrub()).toMatchObject({ damaged: [] });
  expect(await fixture.store.blobs.intact(digests[0] ?? 'x:y')).toBe(true);
});

it('a scrub finds a damaged manifest, which is unknown until it is pushed again', async () => {
  const fixture = await openFixture();
  const image = await fixture.image('a', ['v1']);
  const body = fixture.store.metadata.content(image.digest);
  await fixture.reopen(() => {
    const database = new DatabaseSync(join(fixture.directory, 'metadata.db'));
    database.prepare('UPDATE contents SET bytes = ?').run(Buffer.from('{"schemaVersion":2}'));
    database.close();
  });
  expect((await fixture.maintenance.scrub()).damaged).toEqual([
    { kind: 'manifest', digest: image.digest, repositories: ['a'] },
  ]);
  await fixture.reopen();
  expect(fixture.store.metadata.isDamaged(image.digest)).toBe(true);
  expect(fixture.store.metadata.content(image.digest)).toBeUndefined();
  await fixture.manifest('a', JSON.parse(String(body)) as object, ['v1']);
  expect(fixture.store.metadata.isDamaged(image.digest)).toBe(false);
  expect(fixture.store.metadata.content(image.digest)?.equals(body ?? Buffer.of())).toBe(true);
});

it('a scrub that was interrupted goes on where it was, after a restart too', async () => {
  const fixture = await openFixture();
  const digests = [];
  for (let turn = 0; turn < 6; turn += 1) digests.push(await fixture.blob('a', randomBytes(2_000_000)));
  const abort = new AbortController();
  const thread = fixture.store.files;
  const stampOf = thread.stamp.bind(thread);
  let hashed = 0;
  // Each look at a file comes after its content was hashed.
  thread.stamp = async (digest) => {
    hashed += 1;
    await fixture.clock.advance(6000);
    if (hashed === 3) abort.abort(new Error('enough'));
    return await stampOf(digest);
  };
  await expect(fixture.maintenance.scrub({ signal: abort.signal })).rejects.toThrow('enough');
  await fixture.reopen();
  const rest = await fixture.maintenance.scrub();
  expect(rest.resumed).toBe(true);
  expect(rest.blobs).toBe(6 - 2);
  expect(await fixture.maintenance.scrub()).toMatchObject({ resumed: false, blobs: 6 });
});

it('a scrub keeps to its rate', async () => {
  const fixture = await openFixture();
  await fixture.blob('a', randomBytes(3_000_000));
  const started = performance.now();
  await fixture.maintenance.scrub({ bytesPerSecond: 10_000_000 });
  expect(performance.now() - started).toBeGreaterThan(250);
});

it('a check finds what does not fit together, and changes nothing', async () => {
  const fixture = await openFixture();
  const image = await fixture.image('a', ['v1']);
  expect(await fixture.maintenance.verify({ thorough: true })).toEqual({
    ...{ repositories: 1, manifests: 1, blobs: 2, ok: true, found: 0, problems: [] },
  });
  await fixture.store.metadata.removeBlob('a', image.layer);
  const touched = await fixture.blob('a', 'touched');
  await utimes(fixture.fileOf(touched), 1, 1);
  const lost = await fixture.blob('a', 'lost');
  await rm(fixture.fileOf(lost));
  const before = await stat(join(fixture.directory, 'metadata.db'));
  const report = await fixture.maintenance.verify();
  expect(report.ok).toBe(false);
  expect(report.problems).toEqual([
    { kind: 'missingBlob', repository: 'a', digest: image.layer, detail: `named by ${image.digest}` },
    { kind: 'changedFile', digest: touched },
    { kind: 'missingFile', digest: lost },
    { kind: 'orphanFile', digest: image.layer },
  ]);
  expect((await stat(join(fixture.directory, 'metadata.db'))).mtimeMs).toBe(before.mtimeMs);
  await writeFile(fixture.fileOf(lost), 'lost');
  await fixture.blob('a', 'lost');
});
