import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { Access } from './access.ts';
import { parseHtpasswd } from './htpasswd.ts';
import { basic, requestWith } from './fixture-auth.ts';
import { compilePolicies, type RegistryPolicy } from './policy.ts';
import type { RegistryUser } from './users.ts';

const writer: RegistryUser = {
  name: 'hue',
  password: 'write-secret',
  policies: [{ repositories: 'mural/**', actions: ['read', 'create', 'update'] }],
};
const reader: RegistryUser = {
  name: 'spoke-one',
  password: 'read-secret',
  policies: [{ repositories: 'mural/workloads', actions: ['read'] }],
};
const admin: RegistryUser = {
  name: 'admin',
  passwordHash: hashSync('admin-secret', 4),
  policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] }],
};

describe('access', () => {
  let fixture: RegistryFixture;
  let digest: string;
  beforeAll(async () => {
    fixture = await RegistryFixture.start({ anonymous: 'none', users: [writer, reader, admin] });
    digest = await fixture.pushBlob('mural/workloads', 'content', 'hue:write-secret');
    await fixture.pushBlob('secret/other', 'hidden', 'admin:admin-secret');
  });
  afterAll(() => fixture.stop());

  const who = {
    nobody: undefined,
    reader: 'spoke-one:read-secret',
    writer: 'hue:write-secret',
    admin: 'admin:admin-secret',
    wrong: 'hue:wrong',
    wrongHash: 'admin:wrong',
    unknown: 'nobody:here',
  };
  const W = '/v2/mural/workloads';
  const O = '/v2/secret/other';
  it.each([
    [
      'GET',
      '/v2/',
      { nobody: 401, reader: 200, writer: 200, admin: 200, wrong: 401, wrongHash: 401, unknown: 401 },
    ],
    ['GET', '/v2/_catalog', { nobody: 401, reader: 200, writer: 200, admin: 200, wrong: 401, unknown: 401 }],
    [
      'GET',
      `${W}/tags/list`,
      { nobody: 401, reader: 200, writer: 200, admin: 200, wrong: 401, wrongHash: 401 },
    ],
    ['HEAD', `${W}/manifests/v1`, { nobody: 401, reader: 404, writer: 404, admin: 404, wrong: 401 }],
    ['PUT', `${W}/manifests/v1`, { nobody: 401, reader: 403, writer: 400, admin: 400, wrong: 401 }],
    ['DELETE', `${W}/manifests/v1`, { nobody: 401, reader: 403, writer: 403, admin: 404, wrong: 401 }],
    ['POST', `${W}/blobs/uploads/`, { nobody: 401, reader: 403, writer: 202, admin: 202, wrong: 401 }],
    ['GET', `${W}/blobs/uploads/x`, { nobody: 401, reader: 403, writer: 404, admin: 404 }],
    ['PATCH', `${W}/blobs/uploads/x`, { nobody: 401, reader: 403, writer: 404, admin: 404 }],
    ['DELETE', `${W}/blobs/uploads/x`, { nobody: 401, reader: 403, writer: 404, admin: 404 }],
    ['GET', `${O}/tags/list`, { nobody: 401, reader: 403, writer: 403, admin: 200, wrong: 401 }],
    ['POST', `${O}/blobs/uploads/`, { nobody: 401, reader: 403, writer: 403, admin: 202 }],
    ['GET', '/v2/no/such/tags/list', { nobody: 401, reader: 403, writer: 403, admin: 404 }],
    ['GET', '/v2//_catalog', { nobody: 401, wrong: 401, reader: 404 }],
    ['GET', '/v2/NOT/valid', { nobody: 401, wrong: 401, reader: 404 }],
  ] as const)('%s %s', async (method, path, expected) => {
    for (const [name, status] of Object.entries(expected)) {
      const as = who[name as keyof typeof who];
      const answer = await fixture.send(method, path, as === undefined ? {} : { as });
      expect([name, answer.status]).toEqual([name, status]);
      if (status === 401) expect(answer.headers['www-authenticate']).toBe('Basic realm="mural"');
    }
  });

  it('reads and mounts only what the policies name', async () => {
    const hidden = await fixture.pushBlob('secret/other', 'hidden', 'admin:admin-secret');
    const as = who.writer;
    expect(
      (await fixture.send('HEAD', `/v2/mural/workloads/blobs/${digest}`, { as: who.reader })).status,
    ).toBe(200);
    expect((await fixture.send('HEAD', `/v2/mural/workloads/blobs/${hidden}`, { as })).status).toBe(404);
    for (const query of [`mount=${hidden}&from=secret/other`, `mount=${hidden}`]) {
      expect((await fixture.send('POST', `${W}/blobs/uploads/?${query}`, { as })).status).toBe(202);
    }
    const mounted = await fixture.send('POST', `${W}/blobs/uploads/?mount=${hidden}`, { as: who.admin });
    expect(mounted.status).toBe(201);
  });

  it('lists only the repositories that the caller may read', async () => {
    const list = async (as: string): Promise<unknown> => {
      const answer = await fixture.send('GET', '/v2/_catalog', { as });
      return (JSON.parse(String(answer.body)) as { repositories: unknown }).repositories;
    };
    expect(await list(who.reader)).toEqual(['mural/workloads']);
    expect(await list(who.admin)).toEqual(['mural/workloads', 'secret/other']);
  });

  it('keeps an upload to the user who began it', async () => {
    const begun = await fixture.send('POST', `${W}/blobs/uploads/`, { as: who.writer });
    const location = String(begun.headers.location);
    expect((await fixture.send('GET', location, { as: who.admin })).status).toBe(404);
    expect((await fixture.send('GET', location, { as: who.writer })).status).toBe(204);
  });

  it('denies at once what a changed or removed user may no longer do', async () => {
    await fixture.registry.setUser({ ...reader, name: 'spoke-two' });
    const as = 'spoke-two:read-secret';
    expect((await fixture.send('GET', `${W}/tags/list`, { as })).status).toBe(200);
    await fixture.registry.setUser({ ...reader, name: 'spoke-two', password: 'new' });
    expect((await fixture.send('GET', `${W}/tags/list`, { as })).status).toBe(401);
    expect((await fixture.send('GET', `${W}/tags/list`, { as: 'spoke-two:new' })).status).toBe(200);
    await fixture.registry.setUser({ ...reader, name: 'spoke-two', password: 'new', policies: [] });
    expect((await fixture.send('GET', `${W}/tags/list`, { as: 'spoke-two:new' })).status).toBe(403);
    await fixture.registry.removeUser('spoke-two');
    expect((await fixture.send('GET', `${W}/tags/list`, { as: 'spoke-two:new' })).status).toBe(401);
    await fixture.registry.setUser({ ...reader, name: 'spoke-two', password: 'new' });
    expect((await fixture.send('GET', `${W}/tags/list`, { as: 'spoke-two:new' })).status).toBe(200);
  });

  it.each(['Basic', 'Basic !!!', 'Basic bm9jb2xvbg==', 'Bearer abc', `Basic ${'A'.repeat(8000)}`, ''])(
    'refuses the header "%.30s"',
    async (authorization) => {
      expect((await fixture.send('GET', '/v2/', { headers: { authorization } })).status).toBe(401);
    },
  );

  it('lets anonymous callers pull where that is allowed, and asks the others for credentials', async () => {
    const open = await RegistryFixture.start({ anonymous: 'pull', users: [writer] });
    try {
      await open.pushBlob('mural/x', 'x', who.writer);
      expect((await open.send('GET', '/v2/mural/x/tags/list')).status).toBe(200);
      expect((await open.send('GET', '/v2/mural/x/tags/list', { as: ':' })).status).toBe(200);
      expect((await open.send('POST', '/v2/mural/x/blobs/uploads/')).status).toBe(401);
      // Clients learn from the first request whether to send the credentials that they have.
      expect((await open.send('GET', '/v2/')).status).toBe(401);
      expect((await open.send('GET', '/v2/', { as: who.writer })).status).toBe(200);
      expect((await open.send('GET', '/v2/mural/x/tags/list', { as: who.wrong })).status).toBe(401);
    } finally {
      await open.stop();
    }
  });
});

describe('remembered credentials', () => {
  it('spare the cost of bcrypt until they are old', async () => {
    const clock = new FakeClock();
    const dataDir = await mkdtemp(join(tmpdir(), 'mural-access-'));
    const users = [{ ...admin, passwordHash: hashSync('p', 4) }];
    const access = Access.open(dataDir, { users }, clock, silentLogger);
    const request = requestWith({ authorization: basic('admin', 'p') });
    try {
      expect((await access.authenticate(request)).name).toBe('admin');
      expect(access.authenticate(request)).not.toBeInstanceOf(Promise);
      expect(access.verifications).toBe(1);
      await clock.advance(61 * 60_000);
      await access.authenticate(request);
      expect(access.verifications).toBe(2);
    } finally {
      await access.close();
      await rm(dataDir, { recursive: true });
    }
  });
});

describe('policies', () => {
  const allows = (repositories: string, repository: string): boolean => {
    const policy: RegistryPolicy = { repositories, actions: ['read'] };
    return compilePolicies([policy]).allows('read', repository);
  };
  it.each([
    ['**', 'a/b/c', true],
    ['*', 'a', true],
    ['*', 'a/b', false],
    ['mural/*', 'mural/a', true],
    ['mural/*', 'mural/a/b', false],
    ['mural/**', 'mural/a/b', true],
    ['mural/**', 'muralx/a', false],
    ['mural/**', 'x/mural/a', false],
    ['a.b', 'axb', false],
    ['a', 'a', true],
    ['', 'a', false],
  ])('%s covers %s: %s', (pattern, name, expected) => {
    expect(allows(pattern, name)).toBe(expected);
  });
});

describe('parseHtpasswd', () => {
  const hash = hashSync('x', 4);
  it('reads names and bcrypt hashes', () => {
    const users = parseHtpasswd(`# users\nann:${hash}\r\n\nbob:${hash.replace('$2b$', '$2y$')}\n`);
    expect(users.map(({ name }) => name)).toEqual(['ann', 'bob']);
    expect(users[0]).toMatchObject({ passwordHash: hash, policies: [{ repositories: '**' }] });
  });
  it.each([
    ['ann:{SHA}abc', 1],
    [`ann:${hash}\nann:${hash}`, 2],
    ['ann', 1],
    [`\n:${hash}`, 2],
  ])('refuses %j with the line', (text, line) => {
    expect(() => parseHtpasswd(text)).toThrow(
      expect.objectContaining({ code: 'HtpasswdInvalid', facts: { line } }) as Error,
    );
  });
});
