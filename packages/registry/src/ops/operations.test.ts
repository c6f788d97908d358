import { randomBytes } from 'node:crypto';
import { createLogger, type Logger } from '@mural/core';
import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { type Answer, RegistryFixture, sendTo } from '../fixture.ts';
import { digestOf } from '../names.ts';
import type { RegistryOptions } from '../server.ts';
import { type Disk, machineDisk } from '../store/disk.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<RegistryOptions> = {}): Promise<RegistryFixture> {
  const fixture = await RegistryFixture.start(options);
  cleanups.push(() => fixture.stop());
  return fixture;
}

const everything = [
  { repositories: '**', actions: ['read' as const, 'create' as const, 'update' as const, 'delete' as const] },
];
const USERS = [
  { name: 'admin', password: 'a-secret', policies: everything },
  { name: 'prometheus', password: 'p-secret', policies: [] },
  { name: 'ann', password: 'n-secret', policies: [{ repositories: '**', actions: ['read' as const] }] },
];

/** Lines of a log, parsed. */
function lines(): { readonly log: Logger; readonly entries: Record<string, unknown>[]; text(): string } {
  const raw: string[] = [];
  const entries: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    raw.push(line);
    entries.push(JSON.parse(line) as Record<string, unknown>);
  };
  return { log: createLogger({ destination: { write }, masked: false }), entries, text: () => raw.join('') };
}

/** Samples of the text format by name and labels; fails on a line that is none. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) ([a-z0-9_]+) \S.*$/.exec(line);
    if (comment !== null) {
      const key = `${comment[1] ?? ''} ${comment[2] ?? ''}`;
      expect(types.has(key), line).toBe(false);
      types.add(key);
      continue;
    }
    const sample = /^([a-z_][a-z0-9_]*(?:\{(?:[a-z_]+="[^"\\\n]*",?)+\})?) (\S+)$/.exec(line);
    expect(sample, line).not.toBeNull();
    const name = sample?.[1] ?? '';
    expect(samples.has(name), line).toBe(false);
    const value = sample?.[2] === '+Inf' ? Infinity : Number(sample?.[2]);
    expect(Number.isNaN(value) && sample?.[2] !== 'Nan', line).toBe(false);
    samples.set(name, value);
  }
  return samples;
}

async function scrape(fixture: RegistryFixture): Promise<Map<string, number>> {
  const url = new URL(fixture.registry.metricsUrl ?? '');
  const answer = await sendTo(url.host, 'GET', '/metrics');
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  return parse(String(answer.body));
}

describe('metrics', () => {
  it('count requests, content and what is done with it, and name no repository', async () => {
    const fixture = await start({ metrics: { port: 0 } });
    const { digest } = await fixture.pushImage('team/secret-project', 'v1');
    for (let turn = 0; turn < 3; turn += 1) {
      await fixture.send('HEAD', '/v2/team/secret-project/manifests/v1');
    }
    await fixture.send('GET', `/v2/team/secret-project/manifests/${digest}`);
    await fixture.send('GET', '/v2/team/secret-project/manifests/none');
    await fixture.send('BREW', '/v2/');
    const large = await fixture.pushBlob('team/secret-project', randomBytes(600_000));
    await fixture.send('GET', `/v2/team/secret-project/blobs/${large}`);
    await fixture.registry.maintenance.collect();
    const samples = await eventually(async () => {
      const found = await scrape(fixture);
      expect(found.get('mural_registry_requests_total{route="blob",method="GET",code="2xx"}')).toBe(1);
      return found;
    });
    const expected = {
      'mural_registry_requests_total{route="manifest",method="HEAD",code="2xx"}': 3,
      'mural_registry_requests_total{route="manifest",method="GET",code="2xx"}': 1,
      'mural_registry_requests_total{route="manifest",method="GET",code="4xx"}': 1,
      'mural_registry_requests_total{route="manifest",method="PUT",code="2xx"}': 1,
      'mural_registry_requests_total{route="uploads",method="POST",code="2xx"}': 3,
      'mural_registry_request_duration_seconds_count{method="HEAD",route="manifest"}': 3,
      'mural_registry_request_duration_seconds_bucket{le="+Inf",method="HEAD",route="manifest"}': 3,
      mural_registry_repositories: 1,
      mural_registry_tags: 1,
      mural_registry_manifests: 1,
      mural_registry_blobs: 3,
      mural_registry_blob_bytes: 600_000 + 64 + 2,
      mural_registry_uploads: 0,
      'mural_registry_collections_total{result="ok"}': 1,
      'mural_registry_storage_state{state="writable"}': 1,
      'mural_registry_storage_state{state="full"}': 0,
      mural_registry_quarantined_files: 0,
    };
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, samples.get(name)]))).toEqual(
      expected,
    );
    for (const name of ['received_bytes_total', 'sent_bytes_total']) {
      const bytes = samples.get(`mural_registry_${name}`) ?? 0;
      expect(bytes).toBeGreaterThan(600_000);
      expect(bytes).toBeLessThan(620_000);
    }
    expect(samples.get('mural_registry_storage_free_bytes')).toBeGreaterThan(0);
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect([...samples.keys()].join()).not.toMatch(/secret-project|BREW/);
  });

  it('never fall, and buckets hold each other', async () => {
    const fixture = await start({ metrics: { port: 0 } });
    const first = await scrape(fixture);
    for (let turn = 0; turn < 5; turn += 1) await fixture.send('GET', '/v2/');
    const second = await eventually(async () => {
      const found = await scrape(fixture);
      expect(found.get('mural_registry_requests_total{route="base",method="GET",code="2xx"}')).toBe(5);
      return found;
    });
    for (const [name, value] of first) {
      if (/^mural_.*(?:_total|_count|_bucket)/.test(name))
        expect(second.get(name), name).toBeGreaterThanOrEqual(value);
    }
    const buckets = [...second].filter(([name]) => /duration_seconds_bucket.*route="base"/.test(name));
    expect(buckets.length).toBeGreaterThan(10);
    expect(buckets.map(([, value]) => value)).toEqual(
      buckets.map(([, value]) => value).sort((a, b) => a - b),
    );
  });

  it.each([
    ['nobody', undefined, 401],
    ['a wrong password', 'admin:wrong', 401],
    ['somebody who may read everything', 'ann:n-secret', 403],
    ['an administrator', 'admin:a-secret', 200],
    ['a user who is named for it', 'prometheus:p-secret', 200],
  ])('are served beside the registry to who may: %s', async (_who, as, status) => {
    const fixture = await start({ users: USERS, anonymous: 'pull', metrics: { users: ['prometheus'] } });
    expect(fixture.registry.metricsUrl).toBeUndefined();
    const answer = await fixture.send('GET', '/metrics', as === undefined ? {} : { as });
    expect(answer.status).toBe(status);
    expect(String(answer.body).includes('mural_registry_requests_total')).toBe(status === 200);
  });

  it('count refused sign-ins', async () => {
    const fixture = await start({ users: USERS, anonymous: 'none', metrics: { port: 0 } });
    await fixture.send('GET', '/v2/', { as: 'ann:wrong' });
    await fixture.send('GET', '/v2/', { as: 'ann:wrong' });
    await fixture.send('GET', '/v2/');
    await fixture.send('GET', '/v2/', { as: 'ann:n-secret' });
    expect((await scrape(fixture)).get('mural_registry_sign_ins_refused_total')).toBe(2);
  });

  it('have nothing else on their own address, which says when it cannot be opened', async () => {
    const fixture = await start({ metrics: { port: 0 } });
    const { host, port } = new URL(fixture.registry.metricsUrl ?? '');
    expect((await sendTo(host, 'GET', '/v2/_catalog')).status).toBe(404);
    expect((await sendTo(host, 'POST', '/metrics')).status).toBe(405);
    expect(String((await sendTo(host, 'GET', '/readyz')).body)).toBe('ok');
    const busy = RegistryFixture.start({ metrics: { port: Number(port) } });
    await expect(busy).rejects.toMatchObject({ code: 'ListenFailed' });
  });
});

describe('health', () => {
  /** A disk without room, or that takes no file, when a test says so. */
  function disk(): { disk: Disk; full: boolean; broken: boolean } {
    const state = { full: false, broken: false, disk: machineDisk };
    state.disk = {
      ...machineDisk,
      statfs: (async (path: string) =>
        Object.assign(
          await machineDisk.statfs(path),
          state.full ? { bavail: 0 } : {},
        )) as unknown as Disk['statfs'],
      access: async (...args) => {
        if (state.broken) throw Object.assign(new Error('EROFS: /secret/path'), { code: 'EROFS' });
        await machineDisk.access(...args);
      },
    };
    return state;
  }

  const seen = ({ status, body }: Answer): [number, string] => [status, String(body)];

  it('is told without credentials, for reads and writes apart, as the storage stands', async () => {
    const state = disk();
    const clock = new FakeClock();
    const fixture = await start({ disk: state.disk, clock, users: USERS, anonymous: 'none' });
    const get = async (path: string): Promise<[number, string]> => {
      await clock.advance(2000);
      return seen(await fixture.send('GET', path));
    };
    for (const path of ['/livez', '/readyz', '/readyz/read', '/readyz/write']) {
      expect(await get(path)).toEqual([200, 'ok']);
    }
    expect(await get('/readyz?verbose')).toEqual([200, '[+]read ok\n[+]write ok\nreadyz check passed\n']);
    state.full = true;
    const full = '[-]write failed: the storage is full\n';
    expect(await get('/readyz/write')).toEqual([503, `${full}readyz/write check failed\n`]);
    expect(await get('/readyz?verbose')).toEqual([200, `[+]read ok\n${full}readyz check passed\n`]);
    for (const path of ['/livez', '/readyz', '/readyz/read']) expect(await get(path)).toEqual([200, 'ok']);
    state.full = false;
    expect(await get('/readyz/write')).toEqual([200, 'ok']);
    state.broken = true;
    const broken = '[-]write failed: the storage cannot be written\nreadyz/write check failed\n';
    expect(await get('/readyz/write')).toEqual([503, broken]);
    expect(await get('/readyz/read')).toEqual([200, 'ok']);
    state.broken = false;
    expect(await get('/readyz/write')).toEqual([200, 'ok']);
  });

  it('answers HEAD, refuses what changes something, and knows no other path', async () => {
    const fixture = await start({ users: USERS, anonymous: 'none' });
    expect(seen(await fixture.send('HEAD', '/readyz'))).toEqual([200, '']);
    expect((await fixture.send('POST', '/readyz')).status).toBe(405);
    expect((await fixture.send('GET', '/readyz/other')).status).toBe(401);
  });
});

describe('the access log', () => {
  it('says who did what from where and what came of it, and nothing secret', async () => {
    const access = lines();
    const { log, entries } = access;
    const main = lines();
    const fixture = await start({ users: USERS, anonymous: 'none', accessLog: log, log: main.log });
    const content = randomBytes(5000);
    const path = `/v2/team/app/blobs/uploads/?digest=${digestOf(content)}&token=planted-token`;
    const headers = { 'user-agent': `x${'y'.repeat(2000)}`, 'x-request-id': 'from-the-client/1' };
    const pushed = await fixture.send('POST', path, { as: 'admin:a-secret', body: content, headers });
    expect(pushed.headers['x-request-id']).toBe('from-the-client/1');
    await fixture.send('GET', '/v2/', { as: 'ann:planted-password' });
    await eventually(() => expect(entries).toHaveLength(2));
    expect(entries[0]).toMatchObject({
      requestId: 'from-the-client/1',
      remote: '127.0.0.1',
      method: 'POST',
      route: 'uploads',
      path: '/v2/team/app/blobs/uploads/',
      repository: 'team/app',
      status: 201,
      user: 'admin',
      durationMs: expect.any(Number),
      bytes: expect.any(Number),
    });
    expect(entries[0]?.['received']).toBeGreaterThan(5000);
    expect(String(entries[0]?.['userAgent'])).toHaveLength(512);
    expect(entries[1]).toMatchObject({ route: 'base', status: 401 });
    expect(entries[1]).not.toHaveProperty('user');
    for (const secret of [/planted/, /a-secret/, /Basic/, /authorization/i]) {
      expect(access.text()).not.toMatch(secret);
      expect(main.text()).not.toMatch(secret);
    }
  });

  it.each(['', 'a"b', 'x'.repeat(200), 'a b', '-a', '{"level":"error"}'])(
    'names a request by itself where the client says %j',
    async (id) => {
      const fixture = await start();
      const { headers } = await fixture.send('GET', '/v2/', { headers: { 'x-request-id': id } });
      expect(headers['x-request-id']).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
    },
  );
});
