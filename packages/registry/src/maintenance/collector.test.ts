import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { mkdir, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { digestOf } from '../names.ts';
import { HOUR, MINUTE, StoreFixture } from './fixture.ts';
import type { MaintenanceOptions } from './maintenance.ts';
import { bodyOfPieces } from '../store/body.ts';

const fixtures: StoreFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.close();
});

async function open(options: MaintenanceOptions = {}): Promise<StoreFixture> {
  const fixture = await StoreFixture.open(options);
  fixtures.push(fixture);
  return fixture;
}

const REMOVE_UNTAGGED = [{ repositories: '**', untagged: 'remove' as const }];

describe('blobs', () => {
  it('go once no manifest names them and the grace period is over, with their files', async () => {
    const fixture = await open();
    const image = await fixture.image('a', ['v1']);
    const stray = await fixture.blob('a', 'stray');
    await fixture.clock.advance(HOUR - 1);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 0, waiting: 1 });
    await fixture.clock.advance(1);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 1, freedBytes: 5, waiting: 0 });
    expect(fixture.hasBlob('a', stray)).toBe(false);
    expect(existsSync(fixture.fileOf(stray))).toBe(false);
    expect(fixture.hasBlob('a', image.layer)).toBe(true);
    expect(existsSync(fixture.fileOf(image.layer))).toBe(true);
  });

  it('begin their grace period anew when the manifest that named them is deleted, and when they are pushed again', async () => {
    const fixture = await open();
    const image = await fixture.image('a', ['v1']);
    await fixture.clock.advance(5 * HOUR);
    await fixture.store.metadata.deleteManifest('a', image.digest);
    await fixture.clock.advance(HOUR - MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', image.layer)).toBe(true);
    await fixture.blob('a', '{}');
    await fixture.clock.advance(2 * MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', image.layer)).toBe(false);
    expect(fixture.hasBlob('a', digestOf(Buffer.from('{}')))).toBe(true);
  });

  it('stay in the repositories that need them, and their file with the last', async () => {
    const fixture = await open();
    const image = await fixture.image('a', ['v1']);
    await fixture.store.blobs.mount('b', image.layer);
    await fixture.clock.advance(2 * HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 1, freedBytes: 0 });
    expect(fixture.hasBlob('b', image.layer)).toBe(false);
    expect(existsSync(fixture.fileOf(image.layer))).toBe(true);
  });

  it('stay while a client was told of them a short time ago', async () => {
    const fixture = await open();
    const stray = await fixture.blob('a', 'stray');
    await fixture.clock.advance(2 * HOUR);
    fixture.store.metadata.holds.use('a', stray);
    await fixture.clock.advance(15 * MINUTE - 1);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 0, held: 1 });
    await fixture.clock.advance(1);
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 1 });
  });

  it('stay while an upload to the repository goes on, and for a while after it', async () => {
    const fixture = await open();
    const first = await fixture.blob('a', 'the first layer');
    const upload = fixture.store.uploads.create('a', undefined, 'sha256');
    await fixture.clock.advance(3 * HOUR);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', first)).toBe(true);
    await fixture.store.uploads.cancel(upload);
    await fixture.clock.advance(10 * MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', first)).toBe(true);
    await fixture.clock.advance(10 * MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', first)).toBe(false);
  });

  it('stay while another body of the repository is being sent', async () => {
    const fixture = await open();
    const image = await fixture.image('a', ['v1']);
    fixture.store.metadata.holds.use('a', image.digest);
    const sent = fixture.store.metadata.holds.transfer('a');
    await fixture.store.metadata.deleteManifest('a', image.digest);
    await fixture.clock.advance(5 * HOUR);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', image.layer)).toBe(true);
    sent();
    await fixture.clock.advance(16 * MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', image.layer)).toBe(false);
  });

  it('stay for a while after a start, when nobody knows what clients were told before', async () => {
    const fixture = await open();
    const stray = await fixture.blob('a', 'stray');
    await fixture.clock.advance(2 * HOUR);
    await fixture.reopen();
    expect(await fixture.maintenance.collect()).toMatchObject({ blobs: 0, held: 1 });
    await fixture.clock.advance(15 * MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasBlob('a', stray)).toBe(false);
  });

  it('stay in a repository with a manifest that cannot be read, which is reported', async () => {
    const fixture = await open();
    const image = await fixture.image('a', ['v1']);
    fixture.store.metadata.contents.drop(image.digest);
    await fixture.clock.advance(2 * HOUR);
    const report = await fixture.maintenance.collect();
    expect(report).toMatchObject({ blobs: 0, skipped: [{ repository: 'a' }] });
    expect(fixture.hasBlob('a', image.layer)).toBe(true);
  });
});

describe('manifests', () => {
  it('stay untagged unless a rule says otherwise', async () => {
    const fixture = await open();
    const image = await fixture.image('a');
    await fixture.clock.advance(5 * HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ manifests: 0, blobs: 0 });
    expect(fixture.hasManifest('a', image)).toBe(true);
  });

  it('go untagged where the rule says so, a grace period after the tag, with what they name', async () => {
    const fixture = await open({ retention: REMOVE_UNTAGGED });
    const first = await fixture.image('a', ['latest']);
    await fixture.clock.advance(5 * HOUR);
    const second = await fixture.image('a', ['latest']);
    await fixture.clock.advance(HOUR - MINUTE);
    await fixture.maintenance.collect();
    expect(fixture.hasManifest('a', first)).toBe(true);
    await fixture.clock.advance(MINUTE);
    expect(await fixture.maintenance.collect()).toMatchObject({ manifests: 1, blobs: 1 });
    expect([fixture.hasManifest('a', first), fixture.hasManifest('a', second)]).toEqual([false, true]);
    expect(fixture.hasBlob('a', first.layer)).toBe(false);
  });

  it('of an index that stays, stay too; those of one that goes, go', async () => {
    const fixture = await open({ retention: REMOVE_UNTAGGED });
    const child = await fixture.image('a');
    const shared = await fixture.image('a');
    await fixture.index('a', [shared], ['kept']);
    const index = await fixture.index('a', [child, shared], ['v1']);
    await fixture.clock.advance(2 * HOUR);
    await fixture.maintenance.collect();
    expect(fixture.hasManifest('a', child)).toBe(true);
    await fixture.store.metadata.deleteTag('a', 'v1');
    await fixture.clock.advance(2 * HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ manifests: 2, blobs: 1 });
    expect([index, child, shared].map((manifest) => fixture.hasManifest('a', manifest))).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('that refer to a subject stay with it, and then follow the rule', async () => {
    const removing = { repositories: 'remove', untagged: 'remove' as const };
    const keeping = { repositories: 'keep', untagged: 'remove' as const, referrers: 'keep' as const };
    const fixture = await open({ retention: [removing, keeping] });
    for (const repository of ['remove', 'keep']) {
      const subject = await fixture.image(repository, ['v1']);
      const signature = await fixture.image(repository, [], { subject: { digest: subject.digest, size: 1 } });
      await fixture.clock.advance(2 * HOUR);
      await fixture.maintenance.collect();
      expect(fixture.hasManifest(repository, signature)).toBe(true);
      await fixture.store.metadata.deleteManifest(repository, subject.digest);
      await fixture.clock.advance(HOUR - 1);
      await fixture.maintenance.collect();
      expect(fixture.hasManifest(repository, signature)).toBe(true);
      await fixture.clock.advance(1);
      await fixture.maintenance.collect();
      expect(fixture.hasManifest(repository, signature)).toBe(repository === 'keep');
    }
  });

  it('that are protected or leased stay, over a restart too', async () => {
    const protect: { repository: string; digest: string }[] = [];
    const fixture = await open({ retention: REMOVE_UNTAGGED, protect: () => protect });
    const running = await fixture.image('a');
    const leased = await fixture.image('a');
    protect.push({ repository: 'a', digest: running.digest });
    await fixture.maintenance.lease('a', leased.digest, 10 * HOUR);
    await fixture.reopen();
    await fixture.clock.advance(9 * HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ manifests: 0, blobs: 0, held: 2 });
    expect([running, leased].map((image) => fixture.hasBlob('a', image.layer))).toEqual([true, true]);
    await fixture.clock.advance(2 * HOUR);
    await fixture.maintenance.collect();
    expect([running, leased].map((image) => fixture.hasManifest('a', image))).toEqual([true, false]);
  });

  it('all stay when it cannot be found out which are protected', async () => {
    const protect = () => Promise.reject(new Error('the hub is away'));
    const fixture = await open({ retention: REMOVE_UNTAGGED, protect });
    const image = await fixture.image('a');
    await fixture.clock.advance(9 * HOUR);
    await expect(fixture.maintenance.collect()).rejects.toThrow('the hub is away');
    expect(fixture.hasManifest('a', image)).toBe(true);
  });
});

describe('tags', () => {
  const retention = [
    {
      repositories: 'apps/**',
      tags: [
        { tags: ['release-*'], keepNewest: 2 },
        { tags: '*-ci', keepNewest: 1, keepYoungerThan: '24h' },
      ],
      untagged: 'remove' as const,
    },
  ];

  it('go by pattern, count and age, each repository by its own rule', async () => {
    const fixture = await open({ retention });
    for (const tag of ['release-1', 'release-2', '1-ci', '2-ci', '3-ci', 'stable', 'release-3']) {
      await fixture.image('apps/web', [tag]);
      await fixture.image('other', [tag]);
      await fixture.clock.advance(10 * HOUR);
    }
    const dry = await fixture.maintenance.collect({ dryRun: true });
    const listed = dry.findings.filter(({ kind }) => kind === 'tag').map(({ tag, reason }) => [tag, reason]);
    expect(listed).toEqual([
      ['release-1', 'not among the newest 2 (rule for release-*)'],
      ['2-ci', 'not among the newest 1 and set 40 h ago, kept for 24 h (rule for *-ci)'],
      ['1-ci', 'not among the newest 1 and set 50 h ago, kept for 24 h (rule for *-ci)'],
    ]);
    const tags = (name: string) => fixture.store.metadata.repository(name)?.tags.page(undefined, 100).names;
    expect(tags('apps/web')).toHaveLength(7);
    expect(await fixture.maintenance.collect()).toMatchObject({ tags: 3, manifests: 0, waiting: 3 });
    expect(tags('apps/web')).toEqual(['3-ci', 'release-2', 'release-3', 'stable']);
    expect(tags('other')).toHaveLength(7);
    await fixture.clock.advance(HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ manifests: 3, blobs: 3 });
  });

  it('stay on what is protected', async () => {
    const protect: { repository: string; digest: string }[] = [];
    const fixture = await open({
      retention: [{ repositories: '**', tags: [{ tags: '*', keepNewest: 0 }] }],
      protect: () => protect,
    });
    const running = await fixture.image('a', ['running']);
    await fixture.image('a', ['idle']);
    protect.push({ repository: 'a', digest: running.digest });
    await fixture.maintenance.collect();
    expect(fixture.store.metadata.repository('a')?.tags.page(undefined, 9).names).toEqual(['running']);
  });

  it('that are protected by name stay, with whatever they are on', async () => {
    const fixture = await open({
      retention: [{ repositories: '**', tags: [{ tags: '*', keepNewest: 0 }], untagged: 'remove' }],
      graceMs: 0,
      protect: () => [{ repository: 'a', tag: 'root' }],
    });
    await fixture.image('a', ['root']);
    const moved = await fixture.image('a', ['root']);
    const elsewhere = await fixture.image('b', ['root']);
    await fixture.clock.advance(HOUR);
    expect(await fixture.maintenance.collect()).toMatchObject({ tags: 1, manifests: 2, held: 1 });
    expect(fixture.store.metadata.repository('a')?.tags.get('root')).toBe(moved.digest);
    expect(fixture.hasBlob('a', moved.layer)).toBe(true);
    expect(fixture.hasManifest('b', elsewhere)).toBe(false);
  });

  it('go by rules that are set while the registry serves, and stay by those before when the new ones are wrong', async () => {
    const fixture = await open({ retention });
    for (const tag of ['release-1', 'release-2', 'release-3']) {
      await fixture.image('apps/web', [tag]);
      await fixture.clock.advance(HOUR);
    }
    const wrong = [{ repositories: 'apps/**', tags: [{ tags: 'release-*' }] }];
    expect(() => fixture.maintenance.setRules({ retention: wrong })).toThrow(/retention\[0\]\.tags\[0\]/);
    expect(await fixture.maintenance.collect({ dryRun: true })).toMatchObject({ tags: 1 });
    const newest = [{ repositories: 'apps/**', tags: [{ tags: 'release-*', keepNewest: 1 }] }];
    fixture.maintenance.setRules({ retention: newest });
    expect(await fixture.maintenance.collect()).toMatchObject({ tags: 2 });
    fixture.maintenance.setRules({});
    expect(await fixture.maintenance.collect()).toMatchObject({ tags: 0 });
  });
});

describe('a dry run', () => {
  it('changes nothing and says what would go, when and why', async () => {
    const fixture = await open({ retention: REMOVE_UNTAGGED });
    const image = await fixture.image('a');
    await fixture.clock.advance(2 * HOUR);
    const late = await fixture.blob('a', 'late');
    const due = fixture.clock.now() + HOUR;
    await fixture.clock.advance(20 * MINUTE);
    const report = await fixture.maintenance.collect({ dryRun: true });
    expect(report).toMatchObject({ dryRun: true, manifests: 1, blobs: 3 });
    expect(report.findings).toContainEqual({
      ...{ kind: 'manifest', repository: 'a', digest: image.digest, bytes: image.size },
      reason: 'untagged, and in no index',
    });
    expect(report.findings.find(({ digest }) => digest === late)).toMatchObject({ due });
    expect(fixture.hasManifest('a', image)).toBe(true);
    expect(fixture.hasBlob('a', image.layer)).toBe(true);
  });
});

describe('files', () => {
  it('that belong to no blob go after the grace period, and those of blobs never', async () => {
    const fixture = await open({ graceMs: 0 });
    const image = await fixture.image('a', ['v1']);
    const orphan = digestOf(Buffer.from('orphan'));
    await mkdir(dirname(fixture.fileOf(orphan)), { recursive: true });
    await writeFile(fixture.fileOf(orphan), 'orphan');
    // The times of files are the machine's; the clock of the test is behind them.
    await fixture.clock.advance(Date.now() - fixture.clock.now() + HOUR);
    expect(await fixture.maintenance.collect({ dryRun: true })).toMatchObject({ files: 1 });
    expect(await fixture.maintenance.collect()).toMatchObject({ files: 1, freedBytes: 6 });
    expect(existsSync(fixture.fileOf(orphan))).toBe(false);
    expect(existsSync(fixture.fileOf(image.layer))).toBe(true);
  });
});

describe('unfinished uploads', () => {
  it('go when nobody goes on with them, and when they have lasted too long in all', async () => {
    const fixture = await open({ graceMs: 0 });
    const { uploads } = fixture.store;
    const idle = uploads.create('a', undefined, 'sha256');
    const busy = uploads.create('b', undefined, 'sha256');
    const chunk = (text: string) => ({ body: bodyOfPieces(Readable.from([Buffer.from(text)])) });
    for (let hours = 0; hours < 72; hours += 12) {
      await uploads.append(busy, chunk('12345'));
      await fixture.clock.advance(12 * HOUR - 1);
    }
    expect(() => uploads.get(idle.id, 'a', undefined)).toThrow('does not exist');
    expect(uploads.get(busy.id, 'b', undefined).size).toBe(30);
    await fixture.clock.advance(6);
    expect(await fixture.maintenance.collect({ dryRun: true })).toMatchObject({ uploads: 1, freedBytes: 30 });
    expect(await fixture.maintenance.collect()).toMatchObject({ uploads: 1, freedBytes: 30 });
    expect(() => uploads.get(busy.id, 'b', undefined)).toThrow('does not exist');
  });
});
