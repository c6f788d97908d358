import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Answer, errorCode, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';
import type { QuotaRule } from '../maintenance/rules.ts';
import type { RegistryOptions } from '../server.ts';

const fixtures: RegistryFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.stop();
});

async function start(options: Partial<RegistryOptions>): Promise<RegistryFixture> {
  const fixture = await RegistryFixture.start(options);
  fixtures.push(fixture);
  return fixture;
}

function withQuotas(...quotas: QuotaRule[]): Promise<RegistryFixture> {
  return start({ maintenance: { quotas, graceMs: 0, collectEveryMs: 0 }, useMs: 0 });
}

/** Sends a body without saying how long it is. */
function stream(fixture: RegistryFixture, method: string, path: string, body: Buffer): Promise<Answer> {
  const [hostname = '', port = ''] = fixture.registry.host.split(':');
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', reject);
    for (let start = 0; start < body.length; start += 65_536)
      request.write(body.subarray(start, start + 65_536));
    request.end();
  });
}

async function push(fixture: RegistryFixture, repository: string, content: Buffer): Promise<Answer> {
  return fixture.send('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(content)}`, {
    body: content,
  });
}

describe('quotas', () => {
  it('refuse what is too much, say which quota and how much, and take it again when there is room', async () => {
    const fixture = await withQuotas({ repositories: 'team/**', bytes: '1Mi' });
    const first = randomBytes(600_000);
    const second = randomBytes(600_000);
    expect((await push(fixture, 'team/a', first)).status).toBe(201);
    const refused = await push(fixture, 'team/b', second);
    expect([refused.status, errorCode(refused)]).toEqual([403, 'DENIED']);
    expect(JSON.parse(String(refused.body))).toMatchObject({
      errors: [
        {
          message: 'The quota of team/** is 1 MiB; 600000 bytes are used, and 600000 bytes more do not fit.',
          detail: { quota: 'team/**', limitBytes: 1_048_576, usedBytes: 600_000, moreBytes: 600_000 },
        },
      ],
    });
    expect(await readdir(join(fixture.directory, 'uploads'))).toEqual([]);
    expect((await push(fixture, 'other', second)).status).toBe(201);
    await fixture.send('DELETE', `/v2/team/a/blobs/${digestOf(first)}`);
    expect((await push(fixture, 'team/b', second)).status).toBe(201);
    await fixture.restart();
    expect((await push(fixture, 'team/c', first)).status).toBe(403);
  });

  it('count a blob once for all repositories of a pattern, and in each for a quota of each', async () => {
    const fixture = await withQuotas(
      { repositories: 'together/*', bytes: 1000 },
      { repositories: 'each/*', bytesPerRepository: 1000 },
    );
    const content = randomBytes(800);
    for (const repository of ['together/a', 'together/b', 'each/a', 'each/b']) {
      expect((await push(fixture, repository, content)).status).toBe(201);
      expect((await push(fixture, repository, content)).status).toBe(201);
    }
    expect((await push(fixture, 'together/c', randomBytes(300))).status).toBe(403);
    expect((await push(fixture, 'each/b', randomBytes(300))).status).toBe(403);
    expect((await push(fixture, 'each/c', randomBytes(300))).status).toBe(201);
  });

  it('refuse a mount that does not fit', async () => {
    const fixture = await withQuotas({ repositories: 'small', bytes: 1000 });
    const digest = await fixture.pushBlob('large', randomBytes(2000));
    const mount = await fixture.send('POST', `/v2/small/blobs/uploads/?mount=${digest}&from=large`);
    expect(mount.status).toBe(403);
    expect((await fixture.send('HEAD', `/v2/small/blobs/${digest}`)).status).toBe(404);
  });

  it('refuse a body whose length is not known while it comes, and free what was written', async () => {
    const fixture = await withQuotas({ repositories: '**', bytes: '1Mi' });
    const content = randomBytes(3_000_000);
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const location = String(begun.headers.location);
    const answer = await stream(fixture, 'PATCH', location, content).catch(() => undefined);
    if (answer !== undefined) expect([answer.status, errorCode(answer)]).toEqual([403, 'DENIED']);
    expect((await fixture.send('GET', location)).status).toBe(404);
    expect(await readdir(join(fixture.directory, 'uploads'))).toEqual([]);
    expect((await push(fixture, 'a', randomBytes(900_000))).status).toBe(201);
  });

  it('hold against many uploads at once', async () => {
    const fixture = await withQuotas({ repositories: '**', bytes: 1_000_000 });
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => push(fixture, `r${index}`, randomBytes(300_000))),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 403)).toHaveLength(9);
  });

  it('give the room of an upload back that was cancelled', async () => {
    const fixture = await withQuotas({ repositories: '**', bytes: 1_000_000 });
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const location = String(begun.headers.location);
    expect((await fixture.send('PATCH', location, { body: randomBytes(900_000) })).status).toBe(202);
    expect((await push(fixture, 'b', randomBytes(200_000))).status).toBe(403);
    await fixture.send('DELETE', location);
    expect((await push(fixture, 'b', randomBytes(200_000))).status).toBe(201);
  });
});

describe('quotas that change while the registry serves', () => {
  const set = (fixture: RegistryFixture, ...quotas: QuotaRule[]): void =>
    fixture.registry.maintenance.setRules({ quotas });

  it('count what is stored, keep what is too much already, and end', async () => {
    const fixture = await start({});
    expect((await push(fixture, 'team/a', randomBytes(600_000))).status).toBe(201);
    set(fixture, { repositories: 'team/**', bytes: 500_000 });
    expect((await push(fixture, 'team/b', randomBytes(1000))).status).toBe(403);
    set(fixture, { repositories: 'team/**', bytes: 1_000_000 });
    expect((await push(fixture, 'team/b', randomBytes(300_000))).status).toBe(201);
    expect((await push(fixture, 'team/c', randomBytes(300_000))).status).toBe(403);
    set(fixture);
    expect((await push(fixture, 'team/c', randomBytes(300_000))).status).toBe(201);
    set(fixture, { repositories: '**', bytes: 1_250_000 });
    expect((await push(fixture, 'team/d', randomBytes(100_000))).status).toBe(403);
  });

  it('count uploads that began before them', async () => {
    const fixture = await start({});
    const begun = await fixture.send('POST', '/v2/a/blobs/uploads/');
    const location = String(begun.headers.location);
    expect((await fixture.send('PATCH', location, { body: randomBytes(600_000) })).status).toBe(202);
    set(fixture, { repositories: '**', bytes: 1_000_000 });
    expect((await push(fixture, 'b', randomBytes(500_000))).status).toBe(403);
    const more = await fixture.send('PATCH', location, { body: randomBytes(500_000) });
    expect([more.status, errorCode(more)]).toEqual([403, 'DENIED']);
    expect((await push(fixture, 'b', randomBytes(500_000))).status).toBe(201);
  });
});

describe('limits on unfinished uploads', () => {
  it('bound their bytes together', async () => {
    const fixture = await start({ uploads: { bytes: 1_000_000 } });
    const begin = async (): Promise<string> =>
      String((await fixture.send('POST', '/v2/a/blobs/uploads/')).headers.location);
    const first = await begin();
    expect((await fixture.send('PATCH', first, { body: randomBytes(700_000) })).status).toBe(202);
    const refused = await fixture.send('PATCH', await begin(), { body: randomBytes(400_000) });
    expect([refused.status, errorCode(refused)]).toEqual([429, 'TOOMANYREQUESTS']);
    await fixture.send('DELETE', first);
    expect((await fixture.send('PATCH', await begin(), { body: randomBytes(400_000) })).status).toBe(202);
  });
});
