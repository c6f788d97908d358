import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, errorCode, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';

const BASE = '/_mural/registry/v1';
const ADMIN = 'admin:admin-password';
const ALL = ['read', 'create', 'update', 'delete'] as const;

let fixture: RegistryFixture;
beforeAll(async () => {
  fixture = await RegistryFixture.start({
    anonymous: 'none',
    useMs: 0,
    maintenance: { graceMs: 0 },
    users: [
      { name: 'admin', password: 'admin-password', policies: [{ repositories: '**', actions: ALL }] },
      { name: 'team', password: 'team-password', policies: [{ repositories: 'team/**', actions: ALL }] },
      { name: 'wide', password: 'wide-password', policies: [{ repositories: '*/**', actions: ALL }] },
      { name: 'odd', password: 'odd-password', policies: [{ repositories: '_mural/**', actions: ALL }] },
      {
        name: 'writer',
        password: 'writer-password',
        policies: [{ repositories: '**', actions: ['read', 'create', 'update'] }],
      },
    ],
  });
});
afterAll(() => fixture.stop());

function ask(method: string, path: string, body?: unknown, as = ADMIN): Promise<Answer> {
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  return fixture.send(method, `${BASE}/${path}`, {
    headers: { 'content-type': 'application/json' },
    ...json,
    as,
  });
}

const ROUTES = [
  ['GET', 'stats'],
  ['GET', 'verify'],
  ['POST', 'collections'],
  ['POST', 'scrubs'],
  ['POST', 'backups'],
  ['GET', `backups/${'0'.repeat(32)}/databases/metadata.db`],
  ['DELETE', `backups/${'0'.repeat(32)}`],
  ['GET', 'nothing'],
] as const;

describe.each(ROUTES)('%s %s', (method, path) => {
  it.each(['team:team-password', 'wide:wide-password', 'odd:odd-password', 'writer:writer-password'])(
    'is denied to %s, who may not do everything',
    async (as) => {
      const answer = await ask(method, path, {}, as);
      expect([answer.status, errorCode(answer)]).toEqual([403, 'DENIED']);
    },
  );

  it('is refused without credentials', async () => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fixture.send(method, `${BASE}/${path}`, { headers, body: '{}' });
    expect(answer.status).toBe(401);
  });
});

describe('an administrator', () => {
  it('sees what is stored and collects what is not needed', async () => {
    const stray = randomBytes(500);
    await fixture.pushBlob('team/app', stray, ADMIN);
    const stats = JSON.parse(String((await ask('GET', 'stats')).body)) as object;
    expect(stats).toMatchObject({ blobs: 1, bytes: 500, repositories: [{ name: 'team/app', blobs: 1 }] });
    const dry = await ask('POST', 'collections', { dryRun: true });
    expect(JSON.parse(String(dry.body))).toMatchObject({
      result: { dryRun: true, blobs: 1, freedBytes: 500 },
    });
    const other = await ask('POST', 'collections', { repository: 'other' });
    expect(JSON.parse(String(other.body))).toMatchObject({ result: { blobs: 0 } });
    const real = await ask('POST', 'collections', {});
    expect(JSON.parse(String(real.body))).toMatchObject({ result: { blobs: 1, freedBytes: 500 } });
    expect((await fixture.send('HEAD', `/v2/team/app/blobs/${digestOf(stray)}`, { as: ADMIN })).status).toBe(
      404,
    );
  });

  it('scrubs and checks', async () => {
    await fixture.pushBlob('team/app', randomBytes(1000), ADMIN);
    const scrub = await ask('POST', 'scrubs', { bytesPerSecond: 1_000_000 });
    expect(JSON.parse(String(scrub.body))).toMatchObject({ result: { blobs: 1, bytes: 1000, damaged: [] } });
    expect(JSON.parse(String((await ask('GET', 'verify')).body))).toMatchObject({ result: { ok: true } });
  });

  it('takes a backup apart over the wire, and what was kept for it is let go of', async () => {
    const content = randomBytes(700_000);
    const digest = await fixture.pushBlob('team/app', content, ADMIN);
    const { id } = JSON.parse(String((await ask('POST', 'backups', {})).body)) as { id: string };
    await fixture.send('DELETE', `/v2/team/app/blobs/${digest}`, { as: ADMIN });
    const metadata = await ask('GET', `backups/${id}/databases/metadata.db`);
    expect(metadata.body.subarray(0, 15).toString()).toBe('SQLite format 3');
    expect((await ask('GET', `backups/${id}/blobs/${digest}`)).body.equals(content)).toBe(true);
    expect((await ask('GET', `backups/${id}/databases/../../lock.db`)).status).toBe(404);
    expect((await ask('GET', `backups/${id}/databases/lock.db`)).status).toBe(404);
    expect((await ask('GET', `backups/${id}/blobs/${digestOf('not there')}`)).status).toBe(404);
    expect((await ask('DELETE', `backups/${id}`)).status).toBe(204);
    expect((await ask('GET', `backups/${id}/blobs/${digest}`)).status).toBe(404);
    expect(await readdir(join(fixture.directory, 'temporary'))).toEqual([]);
    expect(await readdir(join(fixture.directory, 'blobs', 'sha256', digest.slice(7, 9)))).toEqual([]);
  });

  it.each([
    ['collections', '{"dryRun":1}', 'application/json', 'dryRun must be a boolean'],
    ['collections', '{"x":1}', 'application/json', 'x is not known'],
    ['collections', '[]', 'application/json', 'the body is not an object'],
    ['collections', '{', 'application/json', 'the body is not JSON'],
    ['collections', '{}', 'text/plain', 'the Content-Type must be application/json'],
    [
      'collections',
      `{"repository":"${'x'.repeat(5000)}"}`,
      'application/json',
      'the body may have 4096 bytes',
    ],
    ['scrubs', '{"bytesPerSecond":0}', 'application/json', 'bytesPerSecond must be 1 or more'],
  ])('is told what is wrong with %s %s', async (path, body, type, why) => {
    const answer = await fixture.send('POST', `${BASE}/${path}`, {
      headers: { 'content-type': type },
      body,
      as: ADMIN,
    });
    expect(answer.status).toBe(400);
    expect(String(answer.body)).toContain(`The request cannot be used: ${why}.`);
  });
});
