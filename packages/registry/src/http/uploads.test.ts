import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';

let fixture: RegistryFixture;
beforeAll(async () => {
  fixture = await RegistryFixture.start();
});
afterAll(() => fixture.stop());

const UPLOADS = '/v2/team/app/blobs/uploads/';

async function begin(query = ''): Promise<string> {
  const answer = await fixture.send('POST', `${UPLOADS}${query}`);
  expect(answer.status).toBe(202);
  return String(answer.headers.location);
}

describe('uploads', () => {
  it('end-4b: takes a blob in one request', async () => {
    const content = randomBytes(1000);
    const digest = digestOf(content);
    const answer = await fixture.send('POST', `${UPLOADS}?digest=${digest}`, { body: content });
    expect(answer.status).toBe(201);
    expect(answer.headers.location).toBe(`/v2/team/app/blobs/${digest}`);
    expect(answer.headers['docker-content-digest']).toBe(digest);
    expect((await fixture.send('GET', `/v2/team/app/blobs/${digest}`)).body.equals(content)).toBe(true);
  });

  it.each([
    ['sha256', 10],
    ['sha256', 3_000_000],
    ['sha512', 10],
    ['sha512', 3_000_000],
  ] as const)('end-4a, end-6: takes a %s blob of %i bytes by POST and PUT', async (algorithm, size) => {
    const content = randomBytes(size);
    const digest = digestOf(content, algorithm);
    const put = await fixture.send('PUT', `${await begin()}?digest=${digest}`, { body: content });
    expect([put.status, put.headers['docker-content-digest']]).toEqual([201, digest]);
    expect((await fixture.send('GET', `/v2/team/app/blobs/${digest}`)).body.equals(content)).toBe(true);
  });

  it('end-4c: hashes with the algorithm that the client announces', async () => {
    const content = randomBytes(600_000);
    const location = await begin('?digest-algorithm=sha512');
    expect((await fixture.send('PATCH', location, { body: content })).status).toBe(202);
    const put = await fixture.send('PUT', `${location}?digest=${digestOf(content, 'sha512')}`);
    expect(put.status).toBe(201);
    const refused = await fixture.send('POST', `${UPLOADS}?digest-algorithm=md5`);
    expect([refused.status, errorCode(refused)]).toEqual([400, 'DIGEST_INVALID']);
  });

  it('end-5, end-13: takes chunks in order and says how far it is', async () => {
    const location = await begin();
    expect((await fixture.send('GET', location)).headers.range).toBe('0-0');
    const first = await fixture.send('PATCH', location, {
      body: 'hello ',
      headers: { 'content-range': '0-5' },
    });
    expect([first.status, first.headers.range, first.headers.location]).toEqual([202, '0-5', location]);
    const early = await fixture.send('PATCH', location, { body: 'x', headers: { 'content-range': '9-9' } });
    expect([early.status, early.headers.range, early.headers.location]).toEqual([416, '0-5', location]);
    const status = await fixture.send('GET', location);
    expect([status.status, status.headers.range]).toEqual([204, '0-5']);
    const digest = digestOf('hello world');
    const late = await fixture.send('PUT', `${location}?digest=${digest}`, {
      body: 'world',
      headers: { 'content-range': '7-11' },
    });
    expect(late.status).toBe(416);
    const put = await fixture.send('PUT', `${location}?digest=${digest}`, {
      body: 'world',
      headers: { 'content-range': '6-10' },
    });
    expect(put.status).toBe(201);
    expect(String((await fixture.send('GET', `/v2/team/app/blobs/${digest}`)).body)).toBe('hello world');
    expect((await fixture.send('GET', location)).status).toBe(404);
  });

  it('refuses a chunk whose length contradicts its range', async () => {
    const answer = await fixture.send('PATCH', await begin(), {
      body: 'abc',
      headers: { 'content-range': '0-9' },
    });
    expect([answer.status, errorCode(answer)]).toEqual([400, 'SIZE_INVALID']);
    const unreadable = await fixture.send('PATCH', await begin(), {
      body: 'abc',
      headers: { 'content-range': 'abc' },
    });
    expect([unreadable.status, errorCode(unreadable)]).toEqual([400, 'BLOB_UPLOAD_INVALID']);
  });

  it.each([10, 700_000])('refuses %i bytes of another digest and frees them', async (size) => {
    const location = await begin();
    const id = location.slice(location.lastIndexOf('/') + 1);
    await fixture.send('PATCH', location, { body: randomBytes(size) });
    const put = await fixture.send('PUT', `${location}?digest=${digestOf('other')}`);
    expect([put.status, errorCode(put)]).toEqual([400, 'DIGEST_INVALID']);
    expect(await readdir(join(fixture.directory, 'uploads'))).not.toContain(id);
    expect((await fixture.send('HEAD', `/v2/team/app/blobs/${digestOf('other')}`)).status).toBe(404);
  });

  it('end-14: cancels an upload and frees its bytes', async () => {
    const location = await begin();
    const id = location.slice(location.lastIndexOf('/') + 1);
    await fixture.send('PATCH', location, { body: 'abc' });
    expect((await fixture.send('DELETE', location)).status).toBe(204);
    const gone = await fixture.send('GET', location);
    expect([gone.status, errorCode(gone)]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
    expect(await readdir(join(fixture.directory, 'uploads'))).not.toContain(id);
  });

  it('knows a session only in its own repository', async () => {
    const location = await begin();
    const elsewhere = location.replace('team/app', 'team/other');
    expect((await fixture.send('GET', elsewhere)).status).toBe(404);
    expect((await fixture.send('GET', `${UPLOADS}no-such-upload`)).status).toBe(404);
  });

  it('keeps what came of a chunk that broke off, and goes on there', async () => {
    const location = await begin();
    const content = randomBytes(900_000);
    const [host = '', port = ''] = fixture.registry.host.split(':');
    const socket = connect(Number(port), host);
    socket.on('error', () => undefined);
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${content.length}\r\n\r\n`);
    const sent = 600_000;
    await new Promise((resolve) => socket.write(content.subarray(0, sent), resolve));
    socket.destroy();
    const range = await eventually(async () => {
      const status = await fixture.send('GET', location);
      return status.headers.range !== '0-0' && status.headers.range;
    });
    const kept = Number(range.slice(2)) + 1;
    expect(kept).toBeLessThanOrEqual(sent);
    const rest = await eventually(async () => {
      const headers = { 'content-range': `${kept}-${content.length - 1}` };
      const answer = await fixture.send('PATCH', location, { body: content.subarray(kept), headers });
      return answer.status === 202 && answer;
    });
    expect(rest.headers.range).toBe(`0-${content.length - 1}`);
    expect((await fixture.send('PUT', `${location}?digest=${digestOf(content)}`)).status).toBe(201);
  });

  it('goes on after a restart at the byte on the disk', async () => {
    const content = randomBytes(800_000);
    const location = await begin();
    await fixture.send('PATCH', location, { body: content.subarray(0, 500_000) });
    await fixture.restart();
    expect((await fixture.send('GET', location)).headers.range).toBe('0-499999');
    await fixture.send('PATCH', location, { body: content.subarray(500_000) });
    expect((await fixture.send('PUT', `${location}?digest=${digestOf(content)}`)).status).toBe(201);
  });

  it('limits the unfinished uploads of a repository', async () => {
    const small = await RegistryFixture.start({ uploads: { perRepository: 2 } });
    try {
      for (let turn = 0; turn < 2; turn += 1) await small.send('POST', UPLOADS);
      const third = await small.send('POST', UPLOADS);
      expect([third.status, errorCode(third)]).toEqual([429, 'TOOMANYREQUESTS']);
      expect(third.headers['retry-after']).toBeDefined();
      expect((await small.send('POST', '/v2/other/blobs/uploads/')).status).toBe(202);
    } finally {
      await small.stop();
    }
  });

  it('refuses content codings, which would change the digest', async () => {
    const answer = await fixture.send('POST', `${UPLOADS}?digest=${digestOf('x')}`, {
      body: 'x',
      headers: { 'content-encoding': 'gzip' },
    });
    expect([answer.status, errorCode(answer)]).toEqual([415, 'UNSUPPORTED']);
  });

  it('end-11: mounts a blob of another repository', async () => {
    const digest = await fixture.pushBlob('team/source', 'to be mounted');
    const path = `/v2/team/target/blobs/uploads/?mount=${digest}`;
    const mounted = await fixture.send('POST', `${path}&from=team/source`);
    expect([mounted.status, mounted.headers.location]).toEqual([201, `/v2/team/target/blobs/${digest}`]);
    expect((await fixture.send('GET', `/v2/team/target/blobs/${digest}`)).status).toBe(200);
    const anonymous = await fixture.send('POST', `/v2/team/third/blobs/uploads/?mount=${digest}`);
    expect(anonymous.status).toBe(201);
    const unknown = await fixture.send(
      'POST',
      `/v2/team/x/blobs/uploads/?mount=${digestOf('?')}&from=team/source`,
    );
    expect([unknown.status, unknown.headers.location]).toEqual([202, expect.stringContaining('/uploads/')]);
  });

  it('takes the same blob from many clients at once', async () => {
    const content = randomBytes(400_000);
    const digest = digestOf(content);
    const answers = await Promise.all(
      Array.from({ length: 24 }, async (_, index) => {
        const repository = `race/r${index % 4}`;
        const answer = await fixture.send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
          body: content,
        });
        const read = await fixture.send('GET', `/v2/${repository}/blobs/${digest}`);
        return [answer.status, read.body.equals(content)];
      }),
    );
    expect(new Set(answers.map(String))).toEqual(new Set(['201,true']));
  });
});
