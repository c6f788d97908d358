import { connect } from 'node:net';
import { createLogger } from '@mural/core';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import type { RegistryUser } from './users.ts';

const USERS: RegistryUser[] = [
  {
    name: 'ann',
    passwordHash: hashSync('ann', 4),
    policies: [{ repositories: 'ann/**', actions: ['read'] }],
  },
  {
    name: 'root',
    password: 'root',
    policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] }],
  },
];

describe.each([
  ['basic authentication', {}],
  ['tokens', { token: {} }],
])('with %s', (_mode, options) => {
  const lines: string[] = [];
  let fixture: RegistryFixture;
  beforeAll(async () => {
    const log = createLogger({ level: 'trace', destination: { write: (line) => void lines.push(line) } });
    fixture = await RegistryFixture.start({
      anonymous: 'none',
      users: USERS,
      log,
      accessLog: log,
      ...options,
    });
    await fixture.pushBlob('secret/app', 'hidden', 'root:root');
  });
  beforeEach(() => {
    lines.length = 0;
  });
  afterAll(() => fixture.stop());

  /** Sends bytes as they are and returns the status line of the first answer. */
  function raw(text: string): Promise<string> {
    const [host = '', port = ''] = fixture.registry.host.split(':');
    return new Promise((resolve) => {
      let received = '';
      const socket = connect(Number(port), host, () => socket.write(text));
      socket.on('data', (chunk) => (received += chunk.toString()));
      socket.on('error', () => resolve('closed'));
      socket.on('close', () => resolve(received.split('\r\n', 1)[0] ?? ''));
    });
  }

  it.each([
    '/v2/_catalog',
    '/v2//_catalog',
    '//v2/_catalog',
    '/v2/_catalog/',
    '/v2/_catalog?n=1',
    '/v2/_catalog%2f',
    '/v2/%5Fcatalog',
    '/V2/_catalog',
    '/v2/./_catalog',
    '/v2/x/../_catalog',
    '/v2/x/%2e%2e/_catalog',
    '/v2/_catalog#x',
    '/v2/_catalog%00',
    '/v2',
    '/',
    '/metrics/../v2/_catalog',
  ])('no way of writing a path gets around signing in: %s', async (path) => {
    const answer = await fixture.send('GET', path);
    expect(answer.status).toBe(401);
    expect(String(answer.body)).not.toContain('secret/app');
  });

  it('a path in absolute form is no way around signing in', async () => {
    const path = `http://${fixture.registry.host}/v2/_catalog`;
    expect(await raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 401/,
    );
  });

  it('nobody learns which repositories there are: those that may not be read all look alike', async () => {
    const answers = await Promise.all(
      ['secret/app', 'secret/none', 'none'].flatMap((name) =>
        [`/v2/${name}/tags/list`, `/v2/${name}/manifests/v1`, `/v2/${name}/blobs/uploads/x`].map((path) =>
          fixture.send('GET', path, { as: 'ann:ann' }),
        ),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([403]));
    expect(new Set(answers.map(({ body }) => String(body).replace(/read|create/, ''))).size).toBe(1);
  });

  it('credentials in other places than the header are none', async () => {
    const basic = Buffer.from('root:root').toString('base64');
    const path = '/v2/secret/app/tags/list';
    for (const sent of [
      { headers: { 'x-authorization': `Basic ${basic}` } },
      { headers: { cookie: `authorization=Basic ${basic}` } },
      { headers: { 'proxy-authorization': `Basic ${basic}` } },
      { headers: { 'x-remote-user': 'root', 'x-forwarded-user': 'root' } },
    ]) {
      expect((await fixture.send('GET', path, sent)).status).toBe(401);
    }
    expect(
      (await fixture.send('GET', `${path}?access_token=root&authorization=Basic%20${basic}`)).status,
    ).toBe(401);
  });

  it('one request has one identity: a second header does not add another', async () => {
    const header = (who: string): string => `Authorization: Basic ${Buffer.from(who).toString('base64')}\r\n`;
    const ask = (first: string, second: string): Promise<string> =>
      raw(
        `GET /v2/secret/app/tags/list HTTP/1.1\r\nHost: x\r\n${header(first)}${header(second)}Connection: close\r\n\r\n`,
      );
    expect(await ask('ann:ann', 'root:root')).toMatch(/^HTTP\/1\.1 40[013]/);
    expect(await ask('ann:wrong', 'root:root')).toMatch(/^HTTP\/1\.1 40[013]/);
  });

  it('an address that a client makes up does not get it around the wait', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const headers = {
        'x-forwarded-for': `192.0.2.${i}`,
        forwarded: `for=192.0.2.${i}`,
        'x-real-ip': `192.0.2.${i}`,
      };
      statuses.push((await fixture.send('GET', '/v2/', { as: `guessed:planted-${i}`, headers })).status);
    }
    expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
    expect(statuses.slice(5)).toEqual([429, 429, 429]);
  });

  it('a name cannot forge a line of the log, and nothing secret is in one', async () => {
    await fixture.send('GET', '/v2/', { as: 'x"}\n{"level":"info","msg":"forged":planted-password' });
    await fixture.send('GET', '/v2/', { headers: { authorization: 'Bearer eyJplanted.eyJplanted.planted' } });
    await fixture.send('GET', '/v2/', { headers: { authorization: 'planted-scheme planted' } });
    await fixture.send('GET', '/token?service=mural&scope=repository:a:pull', { as: 'y:planted-password' });
    for (const line of lines) expect((JSON.parse(line) as { msg: string }).msg).not.toBe('forged');
    expect(lines.join('')).not.toContain('planted');
  });

  it('an answer to wrong credentials holds nothing of them', async () => {
    for (const authorization of [
      `Basic ${Buffer.from('planted-name:planted-password').toString('base64')}`,
      'Bearer planted.token.here',
      'Basic planted',
    ]) {
      const answer = await fixture.send('GET', '/v2/', { headers: { authorization } });
      expect(answer.status).toBe(401);
      expect(`${JSON.stringify(answer.headers)}${String(answer.body)}`).not.toContain('planted');
    }
  });

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])(
    'no method gets around signing in: %s',
    async (method) => {
      for (const path of ['/v2/secret/app/tags/list', '/v2/secret/app/manifests/v1', '/v2/_catalog']) {
        expect((await fixture.send(method, path)).status).toBe(401);
      }
    },
  );
});

describe('administration', () => {
  const ask = async (fixture: RegistryFixture, as?: string): Promise<number> =>
    (await fixture.send('GET', '/_mural/registry/v1/stats', as === undefined ? {} : { as })).status;

  it('is for nobody without a name, though everybody may push', async () => {
    const fixture = await RegistryFixture.start({ anonymous: 'push', users: USERS });
    try {
      expect(await ask(fixture)).toBe(401);
      expect(await ask(fixture, 'ann:ann')).toBe(403);
      expect(await ask(fixture, 'root:root')).toBe(200);
    } finally {
      await fixture.stop();
    }
  });

  it('is not to be had by a token, whoever it was given to', async () => {
    const fixture = await RegistryFixture.start({ anonymous: 'none', users: USERS, token: {} });
    try {
      const answer = await fixture.send('GET', '/token?scope=repository:a:*', { as: 'root:root' });
      const { token } = JSON.parse(String(answer.body)) as { token: string };
      const headers = { authorization: `Bearer ${token}` };
      const stats = await fixture.send('GET', '/_mural/registry/v1/stats', { headers });
      expect(stats.status).toBe(401);
      expect(await ask(fixture, 'root:root')).toBe(200);
    } finally {
      await fixture.stop();
    }
  });
});
