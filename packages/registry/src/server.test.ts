import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@mural/core';
import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, RegistryFixture } from './fixture.ts';
import { selfSigned } from './fixture-certificate.ts';
import { digestOf } from './names.ts';
import { type RegistryOptions, type RunningRegistry, startRegistry } from './server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<RegistryOptions> = {}): Promise<RegistryFixture> {
  const fixture = await RegistryFixture.start(options);
  cleanups.push(() => fixture.stop());
  return fixture;
}

async function freshDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'mural-registry-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** The outcome of a `GET /v2/` over TLS by a client that trusts `ca`. */
function getOverTls(registry: RunningRegistry, ca: string): Promise<number | string> {
  return new Promise((resolve) => {
    const request = httpsRequest(`${registry.url}/v2/`, { ca, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    request.end();
  });
}

describe('startRegistry', () => {
  it('refuses a folder that another registry uses, and takes it once that has stopped', async () => {
    const first = await start();
    const options = { dataDir: first.directory, port: 0 };
    await expect(startRegistry(options)).rejects.toMatchObject({
      name: 'RegistrySetupError',
      code: 'DataDirectoryInUse',
    });
    expect((await first.send('GET', '/v2/')).status).toBe(200);
    await first.registry.close();
    first.registry = await startRegistry(options);
  });

  it.each([
    ['plain HTTP on every address', { listen: '0.0.0.0' }],
    ['plain HTTP on an address of the network', { listen: '192.0.2.1' }],
    ['plain HTTP on every IPv6 address', { listen: '::' }],
    ['plain HTTP on a name', { listen: 'registry.example' }],
    [
      'anonymous pushes on every address',
      { listen: '0.0.0.0', tls: selfSigned(), anonymous: 'push' as const },
    ],
  ])('refuses %s', async (_name, options) => {
    const dataDir = await freshDirectory();
    await expect(startRegistry({ dataDir, port: 0, ...options })).rejects.toMatchObject({
      code: 'ListenInsecure',
    });
    expect(await readdir(dataDir)).toEqual([]);
  });

  it.each([
    { name: '', password: 'x' },
    { name: 'a:b', password: 'x' },
    { name: 'a' },
    { name: 'a', password: '' },
    { name: 'a', passwordHash: 'not-bcrypt' },
    {
      name: 'a',
      password: 'x',
      passwordHash: '$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234',
    },
  ])('refuses the user %j', async (user) => {
    const dataDir = await freshDirectory();
    const users = [{ ...user, policies: [] }];
    await expect(startRegistry({ dataDir, port: 0, users })).rejects.toMatchObject({ code: 'UserInvalid' });
  });

  it('says when it cannot listen, and gives the folder up', async () => {
    const busy = await start();
    const port = Number(busy.registry.host.split(':')[1]);
    const dataDir = await freshDirectory();
    await expect(startRegistry({ dataDir, port })).rejects.toMatchObject({ code: 'ListenFailed' });
    await (await startRegistry({ dataDir, port: 0 })).close();
  });

  it('speaks TLS, and takes a new certificate while it runs', async () => {
    const first = selfSigned('first');
    const { registry } = await start({ tls: first });
    expect(registry.url).toBe(`https://${registry.host}`);
    expect(await getOverTls(registry, first.cert)).toBe(200);
    const second = selfSigned('second');
    expect(await getOverTls(registry, second.cert)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    registry.setTls(second);
    expect(await getOverTls(registry, second.cert)).toBe(200);
    expect(await getOverTls(registry, first.cert)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
  });

  it('ends what is running before it stops', async () => {
    const fixture = await start();
    const content = randomBytes(2_000_000);
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const path = `${String(begun.headers.location)}?digest=${digestOf(content)}`;
    const push = fixture.send('PUT', path, { body: content });
    const closing = fixture.restart();
    const pushed = await push.then(
      ({ status }) => status,
      () => 'refused',
    );
    await closing;
    const head = await fixture.send('HEAD', `/v2/a/blobs/${digestOf(content)}`);
    expect(head.status).toBe(pushed === 201 ? 200 : 404);
  });
});

describe('the access log', () => {
  it('has one line for each request', async () => {
    const lines: Record<string, unknown>[] = [];
    const accessLog = createLogger({
      destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    });
    const users = [{ name: 'ann', password: 'planted-secret', policies: [] }];
    const fixture = await start({ accessLog, users });
    const { digest } = await fixture.pushImage('team/app', 'v1');
    lines.length = 0;
    const path = '/v2/team/app/manifests/v1';
    const headers = { 'user-agent': 'flux/v2' };
    await fixture.send('HEAD', `${path}?token=planted-secret`, { as: 'ann:planted-secret', headers });
    await fixture.send('GET', '/v2/team/app/manifests/v2');
    await eventually(() => lines.length === 2);
    expect(lines[0]).toMatchObject({
      msg: 'request',
      method: 'HEAD',
      path,
      repository: 'team/app',
      status: 200,
      user: 'ann',
      userAgent: 'flux/v2',
      bytes: expect.any(Number) as number,
      durationMs: expect.any(Number) as number,
    });
    expect(lines[1]).toMatchObject({ method: 'GET', status: 404 });
    expect(lines[1]).not.toHaveProperty('user');
    expect(JSON.stringify(lines)).not.toContain('planted-secret');
    expect(digest).toMatch(/^sha256:/);
  });
});

describe('faults', () => {
  it('answers pushes with 507 on a full disk, and goes on reading', async () => {
    const fixture = await start();
    const content = randomBytes(300_000);
    const digest = await fixture.pushBlob('a', 'x');
    const { digest: manifest } = await fixture.pushImage('a', 'v1');
    await fixture.registry.close();
    fixture.registry = await startRegistry({
      dataDir: fixture.directory,
      port: 0,
      anonymous: 'push',
      minFreeBytes: Number.MAX_SAFE_INTEGER,
    });
    for (const body of [content, content.subarray(0, 10)]) {
      const answer = await fixture.send('POST', `/v2/a/blobs/uploads/?digest=${digestOf(body)}`, { body });
      expect([answer.status, errorCode(answer)]).toEqual([507, 'UNAVAILABLE']);
      expect(String(answer.body)).not.toContain(fixture.directory);
    }
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const chunk = await fixture.send('PATCH', String(begun.headers.location), { body: content });
    expect(chunk.status).toBe(507);
    expect(await readdir(join(fixture.directory, 'uploads'))).toEqual([]);
    expect((await fixture.send('GET', `/v2/a/blobs/${digest}`)).status).toBe(200);
    expect((await fixture.send('GET', `/v2/a/manifests/${manifest}`)).status).toBe(200);
  });

  it('forgets uploads that nobody goes on with', async () => {
    const clock = new FakeClock();
    const fixture = await start({ clock, uploads: { idleMs: 3_600_000 } });
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const location = String(begun.headers.location);
    await fixture.send('PATCH', location, { body: 'abc' });
    await clock.advance(30 * 60_000);
    expect((await fixture.send('GET', location)).status).toBe(204);
    await clock.advance(60 * 60_000);
    await eventually(async () => (await fixture.send('GET', location)).status === 404);
    await eventually(async () => (await readdir(join(fixture.directory, 'uploads'))).length === 0);
  });

  it('closes a connection that has fallen silent', async () => {
    const fixture = await start({ idleTimeoutMs: 100 });
    const [host = '', port = ''] = fixture.registry.host.split(':');
    const socket = connect(Number(port), host);
    cleanups.push(async () => socket.destroy());
    socket.write('POST /v2/a/blobs/uploads/?digest=sha256:');
    let closed = false;
    socket.on('close', () => {
      closed = true;
    });
    socket.on('error', () => undefined);
    socket.resume();
    await eventually(() => closed);
  });

  it('answers 100 Continue only to those who may push', async () => {
    const fixture = await start({ anonymous: 'none' });
    const [host = '', port = ''] = fixture.registry.host.split(':');
    const socket = connect(Number(port), host);
    cleanups.push(async () => socket.destroy());
    let received = '';
    socket.on('data', (chunk) => (received += chunk.toString()));
    socket.write('POST /v2/a/blobs/uploads/?digest=x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n');
    socket.write('Expect: 100-continue\r\n\r\n');
    await eventually(() => received.includes('\r\n\r\n'));
    expect(received).toMatch(/^HTTP\/1\.1 401 /);
  });
});
