import { createLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, errorCode, RegistryFixture } from '../fixture.ts';

const PATH = '/_mural/registry/v1/robots';
const ALL = ['read', 'create', 'update', 'delete'] as const;
const ADMIN = 'admin:admin-password';
const TEAM = 'team:team-password';
const HOUR = 3_600_000;
const POLICIES = [{ repositories: 'team/**', actions: ['read', 'create'] }];

let clock: FakeClock;
let fixture: RegistryFixture;
let logged: string;
beforeEach(async () => {
  clock = new FakeClock();
  logged = '';
  const log = createLogger({
    destination: { write: (line: string) => (logged += line) },
    masked: false,
    level: 'debug',
  });
  fixture = await RegistryFixture.start({
    ...{ clock, log, accessLog: log, anonymous: 'none' },
    users: [
      { name: 'admin', password: 'admin-password', policies: [{ repositories: '**', actions: ALL }] },
      { name: 'team', password: 'team-password', policies: [{ repositories: 'team/**', actions: ALL }] },
    ],
  });
});
afterEach(() => fixture.stop());

function ask(method: string, path: string, body?: unknown, as = ADMIN): Promise<Answer> {
  return fixture.send(method, `${PATH}${path}`, {
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    as,
  });
}

async function secretOf(answer: Answer): Promise<string> {
  expect([answer.status, answer.headers['cache-control']]).toEqual([201, 'no-store']);
  return (JSON.parse(String(answer.body)) as { secret: string }).secret;
}

async function create(name: string, extra: object = {}): Promise<string> {
  return await secretOf(await ask('POST', '', { name, policies: POLICIES, ...extra }));
}

/** The status of a look at a repository: 404 for one who may look. */
async function status(secret: string, name = 'ci'): Promise<number> {
  return (await fixture.send('GET', '/v2/team/a/tags/list', { as: `robot+${name}:${secret}` })).status;
}

describe('a robot made over the wire', () => {
  it('signs in at once, and its secret is told once and stands nowhere else', async () => {
    const secret = await create('ci', { description: 'builds', expiresIn: '720h' });
    expect(secret).toMatch(/^mural_[\w-]{43}$/);
    expect(await status(secret)).toBe(404);
    const list = await ask('GET', '');
    expect(list.status).toBe(200);
    const now = new Date(clock.now()).toISOString().replace('.000', '');
    const end = new Date(clock.now() + 720 * HOUR).toISOString().replace('.000', '');
    expect(JSON.parse(String(list.body))).toEqual({
      robots: [
        {
          ...{ name: 'ci', username: 'robot+ci', policies: POLICIES, description: 'builds' },
          ...{ createdAt: now, rotatedAt: now, expiresAt: end },
        },
      ],
    });
    expect(logged).toContain('"robot":"ci","by":"admin"');
    expect(logged).not.toContain('mural_');
    await clock.advance(720 * HOUR);
    expect(await status(secret)).toBe(401);
  });

  it('is given another secret; the one before stays good for the overlap', async () => {
    const first = await create('ci');
    expect(await status(first)).toBe(404);
    const second = await secretOf(await ask('POST', '/ci/secrets', { overlap: '1h' }));
    expect([await status(first), await status(second)]).toEqual([404, 404]);
    await clock.advance(HOUR);
    expect([await status(first), await status(second)]).toEqual([401, 404]);
    const third = await secretOf(await ask('POST', '/ci/secrets', { overlap: '0s' }));
    expect([await status(second), await status(third)]).toEqual([401, 404]);
    expect(logged).not.toContain('mural_');
  });

  it('is gone at once when it is removed', async () => {
    const secret = await create('ci');
    expect(await status(secret)).toBe(404);
    expect((await ask('DELETE', '/ci')).status).toBe(204);
    expect(await status(secret)).toBe(401);
    expect(JSON.parse(String((await ask('GET', '')).body))).toEqual({ robots: [] });
    expect(await status(await create('ci'))).toBe(404);
    expect(await status(secret)).toBe(401);
  });

  it('may administer where its policies say so, and only there', async () => {
    const chief = await create('chief', { policies: [{ repositories: '**', actions: ALL }] });
    const made = await ask('POST', '', { name: 'other', policies: POLICIES }, `robot+chief:${chief}`);
    const other = await secretOf(made);
    expect((await ask('GET', '', undefined, `robot+other:${other}`)).status).toBe(403);
  });

  it('is listed page by page', async () => {
    for (const name of ['b', 'a.1', 'c', 'a']) await create(name);
    const page = async (query: string): Promise<unknown> => {
      const { robots, ...rest } = JSON.parse(String((await ask('GET', query)).body)) as {
        robots: { name: string }[];
      };
      return { names: robots.map(({ name }) => name), ...rest };
    };
    expect(await page('?n=3')).toEqual({ names: ['a', 'a.1', 'b'], next: 'b' });
    expect(await page('?n=3&last=b')).toEqual({ names: ['c'] });
  });
});

describe('requests about robots', () => {
  it.each([
    ['GET', ''],
    ['POST', ''],
    ['POST', '/ci/secrets'],
    ['DELETE', '/ci'],
  ])('%s robots%s are for administrators', async (method, path) => {
    const secret = await create('ci');
    const denied = await ask(method, path, { name: 'x', policies: POLICIES }, TEAM);
    expect([denied.status, errorCode(denied)]).toEqual([403, 'DENIED']);
    expect((await fixture.send(method, `${PATH}${path}`)).status).toBe(401);
    expect(await status(secret)).toBe(404);
  });

  it.each([
    ['', { policies: POLICIES }, 'a name has 1 to 63 lower case letters'],
    ['', { name: 'CI', policies: POLICIES }, 'a name has 1 to 63 lower case letters'],
    ['', { name: 'ci' }, 'policies must be a list'],
    ['', { name: 'ci', policies: [] }, 'policies must be a list'],
    ['', { name: 'ci', policies: [{ repositories: 'a' }] }, 'policies must be a list'],
    ['', { name: 'ci', policies: [{ repositories: 'a', actions: [1] }] }, 'policies must be a list'],
    [
      '',
      { name: 'ci', policies: [{ repositories: 'a', actions: ['read'], x: 1 }] },
      'policies must be a list',
    ],
    ['', { name: 'ci', policies: [{ repositories: 'a', actions: ['pull'] }] }, '\\"pull\\" is not an action'],
    [
      '',
      { name: 'ci', policies: [{ repositories: 'A', actions: ['read'] }] },
      'has a character that no repository',
    ],
    ['', { name: 'ci', policies: POLICIES, expiresIn: 'soon' }, 'expiresIn must be a duration'],
    [
      '',
      { name: 'ci', policies: POLICIES, expiresAt: '1970-01-01T00:00:00Z' },
      'expiresAt must be in the future',
    ],
    ['', { name: 'ci', policies: POLICIES, expiresIn: '9999999999h' }, 'before the year 10000'],
    ['', { name: 'ci', policies: POLICIES, secret: 'mine' }, 'secret is not known'],
    ['', { name: 'ci', policies: POLICIES, description: 'x'.repeat(201) }, 'a description is one line'],
    [
      '',
      { name: 'taken', policies: POLICIES },
      'there is one of that name already. Rotate its secret instead.',
    ],
    ['', { name: 'ci', description: 'x'.repeat(70_000) }, 'the body may have 65536 bytes'],
    ['/taken/secrets', { overlap: 'long' }, 'overlap must be a duration'],
    ['/taken/secrets', { overlap: '9000h' }, 'overlap may be 8784h at most'],
  ])('POST robots%s %j is refused', async (path, body, why) => {
    await create('taken');
    const answer = await ask('POST', path, body);
    expect(answer.status).toBe(400);
    expect(String(answer.body)).toContain(why);
    expect((JSON.parse(String((await ask('GET', '')).body)) as { robots: unknown[] }).robots.length).toBe(1);
  });

  it.each([
    ['POST', '/none/secrets'],
    ['DELETE', '/none'],
    ['DELETE', '/..%2f'],
    ['DELETE', ''],
    ['GET', '/ci'],
    ['POST', '/ci/secrets/x'],
    ['POST', '/ci/x'],
  ])('%s robots%s is answered 404', async (method, path) => {
    expect((await ask(method, path, {})).status).toBe(404);
  });

  it('never end in an error of the registry', async () => {
    const fields = fc.constantFrom('name', 'policies', 'description', 'expiresIn', 'expiresAt', '__proto__');
    const value = fc.oneof(fc.string(), fc.jsonValue(), fc.constant(POLICIES), fc.constantFrom('1h', 'a'));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fields, value), async (body) => {
        expect([201, 400]).toContain((await ask('POST', '', body)).status);
      }),
      { numRuns: 60 },
    );
  });
});
