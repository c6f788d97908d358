import { FakeClock } from '@mural/core/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, errorCode, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { type RegistryOptions, startRegistry } from '../server.ts';
import { Database } from '../store/database.ts';
import { Leases } from '../store/leases.ts';

const PATH = '/_mural/registry/v1/leases';
const ALL = ['read', 'create', 'update', 'delete'] as const;
const READ = ['read'] as const;
const HOUR = 3_600_000;
const ADMIN = 'admin:admin-password';
const SPOKE = 'spoke:spoke-password';
const OTHER = 'other:other-password';
const WRITER = 'writer:writer-password';

const OPTIONS = {
  useMs: 0,
  anonymous: [{ repositories: 'public/**', actions: READ }],
  maintenance: { graceMs: 0, collectEveryMs: 0, scrubEveryMs: 0 },
  token: {},
  users: [
    { name: 'admin', password: 'admin-password', policies: [{ repositories: '**', actions: ALL }] },
    {
      name: 'spoke',
      password: 'spoke-password',
      policies: [{ repositories: 'team/**', actions: READ }],
    },
    { name: 'other', password: 'other-password', policies: [{ repositories: '**', actions: READ }] },
    {
      name: 'writer',
      password: 'writer-password',
      policies: [{ repositories: '**', actions: ['create'] }],
    },
  ],
} satisfies Partial<RegistryOptions>;

let clock: FakeClock;
let fixture: RegistryFixture;
/** A blob of `team/app` that no manifest names. */
let blob: string;
beforeEach(async () => {
  clock = new FakeClock();
  fixture = await RegistryFixture.start({ ...OPTIONS, clock });
  blob = await fixture.pushBlob('team/app', 'content', ADMIN);
});
afterEach(() => fixture.stop());

function put(body: object, as?: string): Promise<Answer> {
  return fixture.send('PUT', PATH, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(as === undefined ? {} : { as }),
  });
}

async function list(as: string, query = ''): Promise<{ leases: Record<string, string>[]; next?: string }> {
  const answer = await fixture.send('GET', `${PATH}${query}`, { as });
  expect(answer.status).toBe(200);
  return JSON.parse(String(answer.body)) as { leases: Record<string, string>[]; next?: string };
}

async function collected(): Promise<number> {
  return (await fixture.registry.maintenance.collect()).blobs;
}

describe('a lease', () => {
  it('keeps content from collections until it ends, over a restart too', async () => {
    const answer = await put({ repository: 'team/app', digest: blob, duration: '3h' }, SPOKE);
    expect(answer.status).toBe(200);
    const until = new Date(clock.now() + 3 * HOUR).toISOString().replace('.000', '');
    const lease = { repository: 'team/app', digest: blob, holder: 'spoke', until };
    expect(JSON.parse(String(answer.body))).toEqual(lease);
    await clock.advance(2 * HOUR);
    expect(await collected()).toBe(0);
    await fixture.restart();
    expect(await list(SPOKE)).toEqual({ leases: [lease] });
    expect(await collected()).toBe(0);
    await clock.advance(HOUR);
    expect(await list(SPOKE)).toEqual({ leases: [] });
    expect(await collected()).toBe(1);
  });

  it('holds nothing any more once it is removed', async () => {
    await put({ repository: 'team/app', digest: blob, duration: '3h' }, SPOKE);
    expect(await collected()).toBe(0);
    const removal = `${PATH}?repository=team/app&digest=${blob}`;
    const removed = await fixture.send('DELETE', removal, { as: SPOKE });
    expect([removed.status, JSON.parse(String(removed.body))]).toEqual([200, { removed: 1 }]);
    expect((await fixture.send('DELETE', removal, { as: SPOKE })).status).toBe(404);
    await fixture.restart();
    expect(await collected()).toBe(1);
  });

  it('is set anew by its holder, to a shorter time too, and not by another', async () => {
    await put({ repository: 'team/app', digest: blob, duration: '3h' }, SPOKE);
    await put({ repository: 'team/app', digest: blob, duration: '1h' }, OTHER);
    expect((await list(ADMIN)).leases.map(({ holder }) => holder)).toEqual(['other', 'spoke']);
    await put({ repository: 'team/app', digest: blob, duration: '2h' }, SPOKE);
    await clock.advance(HOUR);
    expect(await collected()).toBe(0);
    await clock.advance(HOUR);
    expect(await collected()).toBe(1);
  });

  it('on a manifest keeps what the manifest names, also when that is deleted', async () => {
    await fixture.stop();
    fixture = await RegistryFixture.start({
      ...{ clock, useMs: 0, maintenance: { graceMs: 0, collectEveryMs: 0, scrubEveryMs: 0 } },
      users: [
        { name: 'admin', password: 'admin-password', policies: [{ repositories: '**', actions: ALL }] },
      ],
    });
    const image = await fixture.pushImage('team/app', 'v1');
    await put({ repository: 'team/app', digest: image.digest, duration: '3h' }, ADMIN);
    expect((await fixture.send('DELETE', `/v2/team/app/manifests/${image.digest}`)).status).toBe(202);
    expect(await collected()).toBe(0);
    const { leases } = await list(ADMIN);
    expect(leases.map(({ holder }) => holder)).toEqual(['admin', 'admin', 'admin']);
    const removed = await fixture.send('DELETE', `${PATH}?repository=team/app`, { as: ADMIN });
    expect(JSON.parse(String(removed.body))).toEqual({ removed: 3 });
    expect(await collected()).toBe(2);
  });
});

describe('who may hold', () => {
  const lease = () => ({ repository: 'team/app', digest: blob, duration: '1h' });

  it.each([
    ['one who may not read the repository', WRITER, 403, 'DENIED'],
    ['nobody without a name', undefined, 401, 'UNAUTHORIZED'],
  ])('not %s', async (_, as, status, code) => {
    const answers = [
      await put(lease(), as),
      await fixture.send('GET', `${PATH}?repository=team/app`, as === undefined ? {} : { as }),
      await fixture.send('DELETE', `${PATH}?repository=team/app`, as === undefined ? {} : { as }),
    ];
    for (const answer of answers) expect([answer.status, errorCode(answer)]).toEqual([status, code]);
  });

  it('not somebody anonymous, even of what everybody may read', async () => {
    const digest = await fixture.pushBlob('public/app', 'x', ADMIN);
    expect((await put({ repository: 'public/app', digest, duration: '1h' })).status).toBe(401);
  });

  it('a reader for a day, an administrator for a year', async () => {
    expect((await put({ ...lease(), duration: '24h' }, SPOKE)).status).toBe(200);
    const more = await put({ ...lease(), duration: '24h1s' }, SPOKE);
    expect(more.status).toBe(400);
    expect(String(more.body)).toContain('this account may hold content for 24h at most');
    expect((await put({ ...lease(), duration: '8784h' }, ADMIN)).status).toBe(200);
    expect((await put({ ...lease(), duration: '8785h' }, ADMIN)).status).toBe(400);
  });

  it('a reader in no name but their own, an administrator in any', async () => {
    expect((await put({ ...lease(), holder: 'other' }, SPOKE)).status).toBe(403);
    expect((await put({ ...lease(), holder: 'spoke' }, SPOKE)).status).toBe(200);
    expect((await put({ ...lease(), holder: 'edge 7' }, ADMIN)).status).toBe(200);
    expect((await list(SPOKE)).leases.map(({ holder }) => holder)).toEqual(['spoke']);
    expect((await list(ADMIN)).leases.map(({ holder }) => holder)).toEqual(['edge 7', 'spoke']);
    expect((await list(ADMIN, '?holder=edge%207')).leases.length).toBe(1);
    expect((await fixture.send('GET', `${PATH}?holder=edge%207`, { as: SPOKE })).status).toBe(403);
    const others = `${PATH}?repository=team/app&holder=edge%207`;
    expect((await fixture.send('DELETE', others, { as: SPOKE })).status).toBe(403);
    expect((await fixture.send('DELETE', others, { as: ADMIN })).status).toBe(200);
  });

  it('a token that lets its bearer read the repository', async () => {
    const tokenFor = async (repository: string): Promise<string> => {
      const path = `/token?service=mural&scope=repository:${repository}:pull`;
      const { token } = JSON.parse(String((await fixture.send('GET', path, { as: OTHER })).body)) as {
        token: string;
      };
      return token;
    };
    const send = async (token: string): Promise<Answer> =>
      fixture.send('PUT', PATH, {
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(lease()),
      });
    expect((await send(await tokenFor('team/app'))).status).toBe(200);
    expect((await list(OTHER)).leases.map(({ holder }) => holder)).toEqual(['other']);
    expect((await send(await tokenFor('team/none'))).status).toBe(401);
  });

  it('sees nothing of repositories that they may not read any more', async () => {
    await put(lease(), SPOKE);
    await fixture.registry.setUser({
      ...{ name: 'spoke', password: 'spoke-password' },
      policies: [{ repositories: 'else/**', actions: READ }],
    });
    expect(await list(SPOKE)).toEqual({ leases: [] });
    expect((await put(lease(), SPOKE)).status).toBe(403);
  });
});

describe('the bounds of leases', () => {
  it.each([
    ['a reader, in all repositories', 1000, 'spoke', 'team/else', 'This account has 1000 leases already.'],
    ['a repository, of all holders', 50_000, '', 'team/app', 'The repository has 50000 leases already.'],
  ])('%s, has %i', async (_, count, holder, repository, why) => {
    await fixture.registry.close();
    const database = await Database.open(fixture.directory);
    const leases = new Leases(database, clock);
    const digests = Array.from({ length: count }, (_one, index) => digestOf(String(index)));
    const until = clock.now() + HOUR;
    database.transaction(() => {
      for (const digest of digests) leases.extendWithin({ repository, digest, holder, until });
    });
    await database.close();
    fixture.registry = await startRegistry({ port: 0, dataDir: fixture.directory, ...OPTIONS, clock });
    const lease = { repository: 'team/app', digest: blob, duration: '2h' };
    const refused = await put(lease, SPOKE);
    expect([refused.status, errorCode(refused)]).toEqual([403, 'DENIED']);
    expect(String(refused.body)).toContain(why);
    await clock.advance(HOUR);
    expect((await put(lease, SPOKE)).status).toBe(200);
    expect((await put({ ...lease, duration: '3h' }, SPOKE)).status).toBe(200);
  });

  it.each([
    [{}, 400, 'NAME_INVALID'],
    [{ repository: 'team/app' }, 400, 'DIGEST_INVALID'],
    [{ repository: 'Team', digest: 'x' }, 400, 'NAME_INVALID'],
    [{ repository: 'team/app', digest: 'sha256:1', duration: '1h' }, 400, 'DIGEST_INVALID'],
    [{ repository: 'team/app', digest: digestOf('none'), duration: '1h' }, 404, 'MANIFEST_UNKNOWN'],
    [{ repository: 'team/none', digest: digestOf('content'), duration: '1h' }, 404, 'NAME_UNKNOWN'],
    [{ repository: 'else/app', digest: digestOf('content'), duration: '1h' }, 403, 'DENIED'],
  ])('%j is answered %i %s', async (body, status, code) => {
    const answer = await put(body, SPOKE);
    expect([answer.status, errorCode(answer)]).toEqual([status, code]);
  });

  it.each([
    [{}, 'there must be either duration or until'],
    [{ duration: '1h', until: '2030-01-01T00:00:00Z' }, 'there must be either duration or until'],
    [{ duration: '0s' }, 'duration must be in the future'],
    [{ duration: '-1h' }, 'duration must be a duration, such as 24h'],
    [{ duration: 'for ever' }, 'duration must be a duration, such as 24h'],
    [{ duration: `${'9'.repeat(300)}h` }, 'duration must be a duration, such as 24h'],
    [{ duration: `${'9'.repeat(60)}h` }, 'duration must end before the year 10000'],
    [{ until: '1970-01-01T00:00:00Z' }, 'until must be in the future'],
    [{ until: 'tomorrow' }, 'until must be a time, such as 2030-12-31T23:59:59Z'],
    [{ until: '2030-13-31T23:59:59Z' }, 'until must be a time, such as 2030-12-31T23:59:59Z'],
    [{ duration: 1 }, 'duration must be a string'],
    [{ duration: '1h', holder: 'a\nb' }, 'a holder has at most 255 characters'],
    [{ duration: '1h', holder: 'x'.repeat(256) }, 'a holder has at most 255 characters'],
    [{ duration: '1h', force: true }, 'force is not known'],
    [{ duration: '1h', holder: 'x'.repeat(5000) }, 'the body may have 4096 bytes'],
  ])('%j is refused', async (extra, why) => {
    const answer = await put({ repository: 'team/app', digest: blob, ...extra }, SPOKE);
    expect(answer.status).toBe(400);
    expect(String(answer.body)).toContain(`The request cannot be used: ${why}`);
    expect(await list(ADMIN)).toEqual({ leases: [] });
  });

  it.each(['?x=1', '?n=0', '?n=-1', '?n=x', '?last=x', '?last=a%20b%20c', '?repository=A', '?n=1&n=2'])(
    'GET leases%s is refused',
    async (query) => {
      expect((await fixture.send('GET', `${PATH}${query}`, { as: ADMIN })).status).toBe(400);
    },
  );

  it.each([
    ['POST', PATH],
    ['PUT', `${PATH}/x`],
    ['GET', `${PATH}/`],
  ])('there is no %s %s', async (method, path) => {
    expect((await fixture.send(method, path, { as: ADMIN })).status).toBe(404);
  });

  it('no body that anybody sends is answered with an error of the registry', async () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('team/app', blob, '1h', '2030-01-01T00:00:00Z', 'spoke'),
    );
    const names = ['repository', 'digest', 'duration', 'until', 'holder', '__proto__'];
    const bodies = fc.dictionary(fc.constantFrom(...names), fc.oneof(text, fc.jsonValue()));
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        expect([200, 400, 403, 404]).toContain((await put(body, SPOKE)).status);
      }),
      { numRuns: 60 },
    );
  });
});

it('leases are listed page by page', async () => {
  const wanted: string[] = [];
  for (const [index, repository] of ['team/a', 'team/b', 'team/b/c', 'team/d'].entries()) {
    const digest = await fixture.pushBlob(repository, `content ${index}`, ADMIN);
    for (const holder of ['one', 'the other']) {
      await put({ repository, digest, duration: '1h', holder }, ADMIN);
      wanted.push(`${repository} ${digest} ${holder}`);
    }
  }
  const found: string[] = [];
  for (let next: string | undefined = ''; next !== undefined; ) {
    const page = await list(ADMIN, `?n=3${next === '' ? '' : `&last=${encodeURIComponent(next)}`}`);
    expect(page.leases.length).toBeLessThanOrEqual(3);
    found.push(
      ...page.leases.map(({ repository, digest, holder }) => [repository, digest, holder].join(' ')),
    );
    ({ next } = page);
  }
  expect(found).toEqual(wanted.sort());
  expect((await list(ADMIN, '?repository=team/b')).leases.length).toBe(2);
});
