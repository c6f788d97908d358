import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@mural/oci';
import { type RunningRegistry, startRegistry } from '@mural/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ran, run } from '../testing/run.ts';

const ALL = ['read', 'create', 'update', 'delete'] as const;
const USERS = [
  { name: 'admin', password: 'planted-secret', policies: [{ repositories: '**', actions: ALL }] },
  {
    name: 'spoke',
    password: 'spoke-secret',
    policies: [{ repositories: 'team/**', actions: ['read'] as const }],
  },
];
const CONTENT = randomBytes(2048);
const DIGEST = digestOf(CONTENT);
const TIME = String.raw`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`;

let folder: string;
let registry: RunningRegistry | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-lease-'));
  const dataDir = join(folder, 'data', 'registry');
  registry = await startRegistry({ port: 0, dataDir, users: USERS, useMs: 0, maintenance: { graceMs: 0 } });
  const authorization = `Basic ${Buffer.from('admin:planted-secret').toString('base64')}`;
  const url = `${registry.url}/v2/team/app/blobs/uploads/?digest=${DIGEST}`;
  await fetch(url, { method: 'POST', body: CONTENT, headers: { authorization } });
});
afterEach(async () => {
  await registry?.close();
  await rm(folder, { recursive: true, force: true });
});

function mural(...args: string[]): Promise<Ran> {
  return run(['registry', ...args], { cwd: folder, env: { HOME: folder } });
}

describe('mural registry lease', () => {
  it('holds content of a registry that runs, for a spoke and for an administrator', async () => {
    const at = ['--registry', registry?.url ?? ''];
    const spoke = [...at, '--creds', 'spoke:spoke-secret'];
    const admin = [...at, '--creds', 'admin:planted-secret'];
    const added = await mural('lease', 'add', `team/app@${DIGEST}`, ...spoke);
    expect([added.code, added.err]).toEqual([0, '']);
    expect(added.out).toMatch(new RegExp(`^team/app@${DIGEST} is held until ${TIME} by spoke\n$`));
    const other = ['--holder', 'edge 7'];
    const forLong = await mural(
      'lease',
      'add',
      `team/app@${DIGEST}`,
      '--for',
      '720h',
      ...other,
      ...admin,
      '-o',
      'json',
    );
    expect(JSON.parse(forLong.out)).toMatchObject({
      repository: 'team/app',
      digest: DIGEST,
      holder: 'edge 7',
    });
    expect((await mural('gc', ...admin)).out).toContain('removed 0 tags, 0 manifests, 0 blobs');
    expect((await mural('lease', 'list', ...admin)).out).toMatch(
      new RegExp(
        `^REPOSITORY +DIGEST +HOLDER +UNTIL\nteam/app +${DIGEST} +edge 7 +${TIME}\nteam/app +${DIGEST} +spoke +${TIME}\n$`,
      ),
    );
    const own = await mural('lease', 'list', '--repository', 'team/app', ...spoke, '-o', 'json');
    expect((JSON.parse(own.out) as { holder: string }[]).map(({ holder }) => holder)).toEqual(['spoke']);
    expect((await mural('lease', 'remove', 'team/app', ...spoke)).out).toBe('1 lease is gone\n');
    expect((await mural('lease', 'remove', `team/app@${DIGEST}`, ...other, ...admin)).code).toBe(0);
    expect((await mural('lease', 'list', ...admin)).err).toBe('Nothing is held.\n');
    expect((await mural('gc', ...admin)).out).toContain('removed 0 tags, 0 manifests, 1 blobs');
  });

  it('says why a registry that runs refuses', async () => {
    const at = ['--registry', registry?.url ?? ''];
    const spoke = [...at, '--creds', 'spoke:spoke-secret'];
    const refusals = [
      [['add', `team/app@${DIGEST}`, '--for', '25h'], 'this account may hold content for 24h at most'],
      [['add', `team/app@${digestOf('none')}`], 'answered 404: The repository has no manifest and no blob'],
      [['add', `else/app@${DIGEST}`], 'hint: the account must be allowed to read the repository'],
      [
        ['add', `team/app@${DIGEST}`, '--holder', 'edge'],
        'Only administrators hold content under another name',
      ],
      [['remove', 'team/app'], 'There is no such lease of this holder'],
    ] as const;
    for (const [args, why] of refusals) {
      const ran = await mural('lease', ...args, ...spoke);
      expect([ran.code, ran.out, ran.err]).toEqual([1, '', expect.stringContaining(why)]);
    }
    expect((await mural('lease', 'list', ...at)).err).toContain('wants credentials');
    expect((await mural('lease', 'list')).err).toContain('there is no registry in .mural-registry');
    expect((await mural('lease', 'list', '--data', 'data')).err).toContain('a registry runs on data');
  });

  it('holds content of a registry that does not run', async () => {
    await registry?.close();
    registry = undefined;
    const data = ['--data', 'data'];
    const added = await mural('lease', 'add', `team/app@${DIGEST}`, '--for', '1h', ...data);
    expect(added.out).toMatch(new RegExp(`is held until ${TIME}\n$`));
    expect((await mural('lease', 'list', ...data)).out).toMatch(new RegExp(`${DIGEST} +- +${TIME}\n$`));
    const gc = ['gc', '--grace', '0s', ...data];
    expect((await mural(...gc)).out).toContain('0 blobs');
    expect((await mural('lease', 'remove', 'team/app', ...data)).out).toBe('1 lease is gone\n');
    expect((await mural('lease', 'remove', 'team/app', ...data)).err).toContain(
      'nothing of team/app is held',
    );
    const none = await mural('lease', 'add', `team/app@${digestOf('none')}`, ...data);
    expect([none.code, none.err]).toEqual([1, expect.stringContaining('has no manifest and no blob')]);
    expect((await mural(...gc)).out).toContain('1 blobs');
  });

  it.each([
    [['add', 'team/app'], 'team/app has no digest'],
    [['add', `registry.example:5000/team/app@${DIGEST}`], 'without the host of the registry'],
    [['add', 'team/app@sha256:1'], 'is not content of a repository'],
    [['remove', `team/app@${DIGEST}@x`], 'is not content of a repository'],
    [['add', `team/app@${DIGEST}`, '--for', 'ever'], 'is not a duration'],
    [['add'], 'missing required argument'],
  ])('%j is no use of it', async (args, why) => {
    const ran = await mural('lease', ...args);
    expect([ran.code, ran.err]).toEqual([2, expect.stringContaining(why)]);
  });
});
