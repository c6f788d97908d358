import { chmod, readdir, truncate } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@mural/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, RegistryFixture, type Sent } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { machineDisk } from '../store/disk.ts';
import { exchangeRaw } from './raw.ts';

const PLANTED = 'planted4711';
const lines: string[] = [];
let fixture: RegistryFixture;
let code: string | undefined;

beforeEach(async () => {
  lines.length = 0;
  code = undefined;
  const log = createLogger({ level: 'trace', destination: { write: (line) => void lines.push(line) } });
  const fail = (): void => {
    if (code !== undefined)
      throw Object.assign(new Error(`${code}: open '${fixture.directory}/x'`), { code });
  };
  fixture = await RegistryFixture.start({
    log,
    accessLog: log,
    disk: {
      ...machineDisk,
      open: async (...args) => {
        fail();
        return await machineDisk.open(...args);
      },
    },
  });
});
afterEach(() => fixture.stop());

/** What an answer must not say: where and on what the registry runs, and how it is built. */
function expectNoInternals(answer: Answer): void {
  const text = JSON.stringify(answer.headers) + answer.body.toString('latin1');
  for (const internal of [fixture.directory, homedir(), hostname(), process.cwd(), 'node:', 'metadata.db'])
    expect(text).not.toContain(internal);
  expect(text).not.toMatch(/SQLITE|\bat .+\.[jt]s:|ENO[A-Z]+|EIO|EACCES|x-powered-by|"server"/i);
}

describe('no answer shows internals', () => {
  it.each(['ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EMFILE', 'EISDIR', 'EUNEXPECTED'])(
    'when the disk says %s',
    async (fault) => {
      const kept = await fixture.pushBlob('a', Buffer.alloc(3_000_000));
      code = fault;
      const content = Buffer.alloc(2_000_000, 'x');
      const path = `/v2/a/blobs/uploads/?digest=${digestOf(content)}`;
      for (const [method, at, sent] of [
        ['POST', path, { body: content }],
        ['GET', `/v2/a/blobs/${kept}`, {}],
      ] as [string, string, Sent][]) {
        const answer = await fixture.send(method, at, sent);
        expectNoInternals(answer);
      }
      code = undefined;
      expect((await fixture.send('GET', `/v2/a/blobs/${kept}`)).status).toBe(200);
    },
  );

  it('when a file was cut short or may not be read', async () => {
    const digest = await fixture.pushBlob('a', Buffer.alloc(3_000_000));
    const folder = join(fixture.directory, 'blobs');
    const names = await readdir(folder, { recursive: true, withFileTypes: true });
    for (const file of names.filter((entry) => entry.isFile())) {
      await truncate(join(file.parentPath, file.name), 10);
      await chmod(join(file.parentPath, file.name), 0);
    }
    const answer = await fixture.send('GET', `/v2/a/blobs/${digest}`);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expectNoInternals(answer);
  });

  it.each([
    ['GET', '/v2/a/manifests/%'],
    ['GET', '/v2/%00/tags/list'],
    ['PUT', '/v2/a/manifests/v1'],
    ['POST', '/v2/a/blobs/uploads/?mount=x&from=/etc/passwd'],
    ['PATCH', '/v2/a/blobs/uploads/../../x'],
    ['TRACE', '/v2/'],
    ['GET', '/metadata.db'],
    ['GET', '/..%2f..%2fetc/passwd'],
    ['GET', '/_mural/registry/v1/../../etc'],
  ])('to %s %s', async (method, path) => {
    expectNoInternals(await fixture.send(method, path));
  });

  it('to what is no HTTP', async () => {
    const { received } = await exchangeRaw(fixture.registry.host, '\x16\x03\x01\x02\x00\x01\0\xff\r\n\r\n');
    expect(received).not.toContain('node');
    expect(received).not.toContain(fixture.directory);
  });

  it('to a TRACE, which does not echo what was sent', async () => {
    const answer = await fixture.send('TRACE', '/v2/', { headers: { cookie: PLANTED } });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.body.toString()).not.toContain(PLANTED);
  });
});

describe('no log holds what is secret (CVE-2025-48374)', () => {
  it.each([
    { headers: { authorization: `Basic ${Buffer.from(`ann:${PLANTED}`).toString('base64')}` } },
    { headers: { authorization: `Bearer ${PLANTED}` } },
    { headers: { authorization: PLANTED } },
    { headers: { cookie: `session=${PLANTED}` } },
    { headers: { 'proxy-authorization': PLANTED, 'x-api-key': PLANTED } },
    { headers: { referer: `https://x.example/?token=${PLANTED}` } },
  ])('of a header: %o', async (sent) => {
    for (const path of ['/v2/', '/v2/a/tags/list', '/v2/_catalog', '/nothing'])
      await fixture.send('GET', path, sent);
    const secrets = [PLANTED, Buffer.from(`ann:${PLANTED}`).toString('base64')];
    for (const secret of secrets) expect(lines.join('')).not.toContain(secret);
  });

  it('of a query, and of a URL with credentials in it', async () => {
    await fixture.send('GET', `/v2/a/tags/list?token=${PLANTED}&n=${PLANTED}`);
    await fixture.send('POST', `/v2/a/blobs/uploads/?digest=${PLANTED}`, { body: PLANTED });
    const url = `http://ann:${PLANTED}@${fixture.registry.host}/v2/a/tags/list`;
    await exchangeRaw(fixture.registry.host, `GET ${url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('')).not.toContain(PLANTED);
  });

  it('of a body that is refused', async () => {
    await fixture.pushManifest('a', 'v1', `{"password":"${PLANTED}"}`);
    await fixture.pushManifest('a', 'v1', `{"schemaVersion":2,"layers":"${PLANTED}"}`);
    await fixture.pushManifest('a', 'v1', `not JSON ${PLANTED}`);
    expect(lines.join('')).not.toContain(PLANTED);
  });
});
