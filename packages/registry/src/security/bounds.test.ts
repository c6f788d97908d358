import { FakeClock } from '@mural/core/testing';
import { eventually } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { steady } from '../wire/node-request.ts';
import { Pace } from '../wire/pace.ts';
import { errorCode, IMAGE, imageOf, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';
import type { RegistryOptions } from '../server.ts';
import { RawConnection } from './raw.ts';

const fixtures: RegistryFixture[] = [];
async function start(options: Partial<RegistryOptions> = {}): Promise<RegistryFixture> {
  const fixture = await RegistryFixture.start(options);
  fixtures.push(fixture);
  return fixture;
}
afterEach(async () => {
  await Promise.all(fixtures.splice(0).map((fixture) => fixture.stop()));
});

const MIB = 1024 * 1024;

describe('bodies without end', () => {
  it.each([
    ['a manifest', 'PUT', '/v2/a/manifests/v1', 413],
    ['a form for a token', 'POST', '/token', 400],
    ['a body of an administrator', 'POST', '/_mural/registry/v1/collect', 400],
  ])('%s is not read beyond its bound', async (_what, method, path, least) => {
    const policies = [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] as const }];
    const fixture = await start({ users: [{ name: 'root', password: 'root', policies }], token: {} });
    const connection = new RawConnection(fixture.registry.host);
    const credentials = Buffer.from('root:root').toString('base64');
    const type = path === '/token' ? 'application/x-www-form-urlencoded' : IMAGE;
    connection.write(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${credentials}\r\n` +
        `Content-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MIB, 0x20), Buffer.from('\r\n')]);
    let sent = 0;
    while (!connection.closed && sent < 200) {
      connection.write(chunk);
      sent += 1;
      await eventually(() => connection.closed || connection.waiting < 4 * MIB);
    }
    await connection.ended;
    expect(connection.statuses[0] ?? least).toBeGreaterThanOrEqual(400);
    expect(sent).toBeLessThan(64);
    expect((await fixture.send('GET', '/v2/')).status).toBe(200);
  });

  it.each(['4194305', '1099511627776', '9007199254740991'])(
    'a manifest that says it has %s bytes is refused before any is read',
    async (length) => {
      const fixture = await start();
      const connection = new RawConnection(fixture.registry.host);
      connection.write(`PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`);
      await eventually(() => connection.statuses.length > 0);
      expect(connection.statuses).toEqual([413]);
      await connection.ended;
    },
  );

  it('headers without end are refused', async () => {
    const fixture = await start();
    const connection = new RawConnection(fixture.registry.host);
    connection.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n');
    for (let count = 0; count < 2000 && !connection.closed; count += 1)
      connection.write(`X-${count}: ${'x'.repeat(100)}\r\n`);
    await connection.ended;
    expect(connection.statuses.every((status) => status === 431)).toBe(true);
  });
});

describe('numbers without bound', () => {
  it.each(['0', '-1', '1e11', '100000000000', 'abc', '0x10', '1.5', ' 1', '9'.repeat(400)])(
    'n=%s of tags and catalog costs nothing',
    async (n) => {
      const fixture = await start();
      await fixture.pushImage('app', 'v1');
      for (const path of ['/v2/app/tags/list', '/v2/_catalog']) {
        const answer = await fixture.send('GET', `${path}?n=${encodeURIComponent(n)}`);
        expect([200, 400]).toContain(answer.status);
        expect(answer.body.length).toBeLessThan(1000);
      }
    },
  );

  it('a manifest that is nested deeply is answered, and the registry goes on', async () => {
    const fixture = await start();
    await fixture.pushImage('app', 'v1');
    const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;
    const manifest = imageOf(digestOf('{}'), { digest: digestOf(''), size: 0 }).replace(
      '{',
      `{"deep":${deep},`,
    );
    const answer = await fixture.pushManifest('app', 'v2', manifest);
    expect(answer.status).toBe(400);
    expect((await fixture.send('GET', '/v2/app/manifests/v1')).status).toBe(200);
  });
});

describe('slowness', () => {
  it('headers that never end do not hold a connection', async () => {
    const fixture = await start({ headersTimeoutMs: 200 });
    const connection = new RawConnection(fixture.registry.host);
    connection.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n');
    await eventually(() => {
      connection.write('X-A: b\r\n');
      return connection.closed;
    });
    expect(connection.statuses.every((status) => status === 408)).toBe(true);
  });

  it('a body that comes a byte at a time is given up, and its bytes are kept for a new try', async () => {
    const clock = new FakeClock();
    const fixture = await start({ clock });
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const location = begun.headers.location ?? '';
    const connection = new RawConnection(fixture.registry.host);
    connection.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n`);
    await eventually(async () => {
      connection.write('x');
      await clock.advance(20_000);
      return connection.statuses.length > 0 || connection.closed;
    });
    expect(connection.statuses).toEqual([408]);
    expect((await fixture.send('GET', location)).status).toBe(204);
    connection.destroy();
  });

  it('a slow body that makes its way, and one that waited for the registry, are taken', async () => {
    const clock = new FakeClock();
    async function* body(): AsyncGenerator<Buffer> {
      for (let chunk = 0; chunk < 10; chunk += 1) {
        await clock.advance(30_000);
        yield Buffer.alloc(40 * 1024);
      }
    }
    let bytes = 0;
    for await (const chunk of steady(body(), new Pace(() => clock.now()))) {
      bytes += chunk.length;
      await clock.advance(3_600_000);
    }
    expect(bytes).toBe(400 * 1024);
  });
});

describe('errors', () => {
  it('of a bounded body are those of the specification', async () => {
    const fixture = await start();
    const answer = await fixture.pushManifest('a', 'v1', Buffer.alloc(5 * MIB));
    expect([answer.status, errorCode(answer)]).toEqual([413, 'SIZE_INVALID']);
  });
});
