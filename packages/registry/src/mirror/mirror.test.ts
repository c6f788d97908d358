import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, IMAGE, INDEX } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { MirrorFixture } from './fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(settings: Parameters<typeof MirrorFixture.start>[0] = {}): Promise<MirrorFixture> {
  const fixture = await MirrorFixture.start(settings);
  cleanups.push(() => fixture.stop());
  return fixture;
}

/** Lets the time pass on its own, so that what is tried again later is. */
function keepRunning(clock: FakeClock): void {
  const ticking = setInterval(() => void clock.advance(500), 5);
  cleanups.push(async () => clearInterval(ticking));
}

describe('a mirror', () => {
  it('gives out a tag, its manifest and its blobs as the upstream has them', async () => {
    const fixture = await start();
    const image = await fixture.pushImage('team/app', 'v1', 3_000_000);
    const manifest = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(manifest.status).toBe(200);
    expect(String(manifest.body)).toBe(image.bytes);
    expect(manifest.headers).toMatchObject({
      'content-type': IMAGE,
      'docker-content-digest': image.digest,
    });
    const layer = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`);
    expect(layer.status).toBe(200);
    expect(layer.body.equals(image.content)).toBe(true);
    const config = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.config}`);
    expect(String(config.body)).toBe('{}');
  });

  it('asks the upstream nothing for what is here, and nothing at all for other repositories', async () => {
    const fixture = await start();
    const image = await fixture.pushImage('team/app', 'v1');
    const paths = [
      'manifests/v1',
      `manifests/${image.digest}`,
      `blobs/${image.layer}`,
      `blobs/${image.config}`,
    ];
    for (const path of paths) await fixture.mirror.send('GET', `/v2/team/app/${path}`);
    const before = fixture.upstream.requests.length;
    for (const method of ['GET', 'HEAD']) {
      for (const path of paths) {
        expect((await fixture.mirror.send(method, `/v2/team/app/${path}`)).status).toBe(200);
      }
    }
    expect((await fixture.mirror.send('GET', '/v2/other/app/manifests/v1')).status).toBe(404);
    expect(fixture.upstream.requests.length).toBe(before);
  });

  it('sees that a tag moved or went, once its time is up', async () => {
    const clock = new FakeClock();
    const fixture = await start({ mirror: { tagTtlMs: 60_000, negativeTtlMs: 5000 }, registry: { clock } });
    const tag = '/v2/team/app/manifests/v1';
    const first = await fixture.pushImage('team/app', 'v1');
    expect((await fixture.mirror.send('HEAD', tag)).headers['docker-content-digest']).toBe(first.digest);
    const second = await fixture.pushImage('team/app', 'v1');
    await clock.advance(59_000);
    expect((await fixture.mirror.send('HEAD', tag)).headers['docker-content-digest']).toBe(first.digest);
    await clock.advance(2000);
    expect((await fixture.mirror.send('HEAD', tag)).headers['docker-content-digest']).toBe(second.digest);
    const gone = fixture.upstream.fail({
      path: /manifests\/v1$/,
      fault: { kind: 'answer', status: 404, body: '{}' },
    });
    await clock.advance(61_000);
    expect((await fixture.mirror.send('GET', tag)).status).toBe(404);
    gone();
    expect((await fixture.mirror.send('GET', tag)).status).toBe(404);
    await clock.advance(6000);
    expect((await fixture.mirror.send('GET', tag)).status).toBe(200);
  });

  it('asks once for an unchanged tag when its time is up, with a HEAD', async () => {
    const fixture = await start({ mirror: { tagTtlMs: 0 } });
    await fixture.pushImage('team/app', 'v1');
    await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    const before = fixture.upstream.requests.length;
    expect((await fixture.mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(200);
    const asked = fixture.upstream.requests.slice(before);
    expect(asked.map(({ method }) => method)).toEqual(['HEAD']);
  });

  it('brings the children of an index as they are asked for', async () => {
    const fixture = await start();
    const images = [await fixture.pushImage('team/app', 'a'), await fixture.pushImage('team/app', 'b')];
    const digest = await fixture.pushIndex('team/app', 'v1', images);
    const index = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(index.headers).toMatchObject({ 'content-type': INDEX, 'docker-content-digest': digest });
    for (const image of images) {
      const child = await fixture.mirror.send('GET', `/v2/team/app/manifests/${image.digest}`);
      expect(String(child.body)).toBe(image.bytes);
    }
  });

  it('lists tags and referrers as the upstream does, and from memory while it is away', async () => {
    const clock = new FakeClock();
    const fixture = await start({ registry: { clock } });
    const image = await fixture.pushImage('team/app', 'v1');
    const subject = { mediaType: IMAGE, digest: image.digest, size: image.bytes.length };
    const signature = await fixture.pushImage('team/app', 'sig', 10, {
      subject,
      artifactType: 'test/signature',
    });
    const tags = await fixture.mirror.send('GET', '/v2/team/app/tags/list');
    expect(JSON.parse(String(tags.body))).toEqual({ name: 'team/app', tags: ['sig', 'v1'] });
    const page = await fixture.mirror.send('GET', '/v2/team/app/tags/list?n=1');
    expect(page.headers.link).toBe('</v2/team/app/tags/list?n=1&last=sig>; rel="next"');
    const referrers = `/v2/team/app/referrers/${image.digest}`;
    const listed = await fixture.mirror.send('GET', referrers);
    expect(JSON.parse(String(listed.body))).toMatchObject({
      manifests: [{ digest: signature.digest, artifactType: 'test/signature' }],
    });
    await fixture.upstream.close();
    await clock.advance(3_600_000);
    keepRunning(clock);
    const answer = await fixture.mirror.send('GET', referrers);
    expect(answer.headers.warning).toContain('110');
    expect(JSON.parse(String(answer.body))).toMatchObject({ manifests: [{ digest: signature.digest }] });
  });

  it('takes no pushes and no deletes, and says where to push', async () => {
    const fixture = await start();
    const digest = digestOf('x');
    for (const [method, path] of [
      ['PUT', 'manifests/v1'],
      ['DELETE', 'manifests/v1'],
      ['DELETE', `blobs/${digest}`],
      ['POST', 'blobs/uploads/'],
      ['POST', `blobs/uploads/?mount=${digest}&from=other/app`],
      ['PATCH', 'blobs/uploads/x'],
      ['GET', 'blobs/uploads/x'],
    ] as const) {
      const answer = await fixture.mirror.send(method, `/v2/team/app/${path}`);
      expect([answer.status, errorCode(answer)]).toEqual([405, 'UNSUPPORTED']);
      expect(String(answer.body)).toContain(fixture.upstream.host);
    }
    expect(fixture.upstream.requests).toEqual([]);
  });

  it('maps names below a prefix, and puts a path of the upstream before them', async () => {
    const fixture = await start({ mirror: { prefix: 'hub' } });
    await fixture.pushImage('library/app', 'v1');
    expect((await fixture.mirror.send('GET', '/v2/hub/library/app/manifests/v1')).status).toBe(200);
    expect((await fixture.mirror.send('GET', '/v2/hub/manifests/v1')).status).toBe(404);
    expect((await fixture.mirror.send('GET', '/v2/hubble/library/app/manifests/v1')).status).toBe(404);
    const below = await start({ mirror: { upstream: `${fixture.upstream.url}/library`, repositories: '*' } });
    expect((await below.mirror.send('GET', '/v2/app/manifests/v1')).status).toBe(200);
  });

  it('keeps what it has over a restart, with the times of its tags', async () => {
    const fixture = await start();
    await fixture.pushImage('team/app', 'v1');
    await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    await fixture.mirror.restart();
    await fixture.upstream.close();
    const answer = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(answer.status).toBe(200);
    expect(answer.headers.warning).toBeUndefined();
  });
});

describe('what a mirror holds', () => {
  it('is sound although blobs are not here that nobody has asked for', async () => {
    const fixture = await start();
    await fixture.pushImage('team/app', 'v1');
    await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(await fixture.mirror.registry.maintenance.verify()).toMatchObject({ ok: true, found: 0 });
  });

  it('goes when nobody has pulled it for long, but for what an index pulls along and what is leased', async () => {
    const clock = new FakeClock();
    const hour = 3_600_000;
    const fixture = await start({
      mirror: { evictAfterMs: 3 * hour, tagTtlMs: 100 * hour },
      registry: { clock },
    });
    const { mirror } = fixture;
    const old = await fixture.pushImage('team/app', 'old');
    const leased = await fixture.pushImage('team/app', 'leased');
    const child = await fixture.pushImage('team/app', 'child');
    await fixture.pushIndex('team/app', 'index', [child]);
    for (const reference of ['old', 'leased', 'index', child.digest]) {
      expect((await mirror.send('GET', `/v2/team/app/manifests/${reference}`)).status).toBe(200);
    }
    await mirror.registry.maintenance.lease('team/app', leased.digest, 24 * hour);
    for (let passed = 0; passed < 5; passed += 1) {
      await clock.advance(hour);
      expect((await mirror.send('HEAD', '/v2/team/app/manifests/index')).status).toBe(200);
    }
    await eventually(async () => (await mirror.registry.maintenance.stats()).manifests === 3);
    const before = fixture.upstream.requests.length;
    for (const reference of ['leased', 'index', child.digest]) {
      expect((await mirror.send('GET', `/v2/team/app/manifests/${reference}`)).status).toBe(200);
    }
    expect(fixture.upstream.requests.length).toBe(before);
    expect((await mirror.send('GET', `/v2/team/app/manifests/${old.digest}`)).status).toBe(200);
    expect(fixture.upstream.requests.length).toBe(before + 1);
  });
});

it('a lease on an index keeps what the index names, as long as it lasts', async () => {
  const clock = new FakeClock();
  const hour = 3_600_000;
  const fixture = await start({ mirror: { evictAfterMs: hour }, registry: { clock, useMs: 0 } });
  const child = await fixture.pushImage('team/app', 'child');
  const index = await fixture.pushIndex('team/app', 'index', [child]);
  const { mirror } = fixture;
  for (const digest of [index, child.digest]) await mirror.send('GET', `/v2/team/app/manifests/${digest}`);
  await mirror.registry.maintenance.lease('team/app', index, 4 * hour);
  const manifests = async () => (await mirror.registry.maintenance.stats()).manifests;
  const path = `/v2/team/app/manifests/${child.digest}`;
  for (let passed = 0; passed < 3; passed += 1) await clock.advance(hour);
  const before = fixture.upstream.requests.length;
  expect((await mirror.send('GET', path)).status).toBe(200);
  expect([fixture.upstream.requests.length, await manifests()]).toEqual([before, 2]);
  for (let passed = 0; passed < 3; passed += 1) await clock.advance(hour);
  await eventually(async () => (await manifests()) === 0);
});

describe('a mirror whose upstream is away', () => {
  const faults = [
    ['cut off', { kind: 'reset' }],
    ['throttling', { kind: 'answer', status: 429, headers: { 'retry-after': '7' } }],
    ['failing', { kind: 'answer', status: 503 }],
    ['refusing', { kind: 'answer', status: 403 }],
    ['silent', { kind: 'stall' }],
  ] as const;

  it.each(faults)('(%s) serves the tags that it has, with a warning', async (_, fault) => {
    const clock = new FakeClock();
    const fixture = await start({ registry: { clock } });
    const image = await fixture.pushImage('team/app', 'v1');
    await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`);
    await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).blobs === 1);
    fixture.upstream.fail({ fault });
    await clock.advance(3_600_000);
    keepRunning(clock);
    for (let turn = 0; turn < 3; turn += 1) {
      const answer = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
      expect(answer.status).toBe(200);
      expect(answer.headers.warning).toBe('110 - "Response is Stale"');
    }
    expect((await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`)).status).toBe(200);
  });

  it('serves no tag that is older than it may be', async () => {
    const clock = new FakeClock();
    const fixture = await start({ mirror: { staleMs: 7_200_000 }, registry: { clock } });
    await fixture.pushImage('team/app', 'v1');
    await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    fixture.upstream.fail({ fault: { kind: 'answer', status: 403 } });
    await clock.advance(7_000_000);
    expect((await fixture.mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(200);
    await clock.advance(300_000);
    expect((await fixture.mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(403);
  });

  it.each([
    [403, 403, 'DENIED'],
    [401, 502, 'UNAVAILABLE'],
    [404, 404, 'MANIFEST_UNKNOWN'],
    [429, 429, 'TOOMANYREQUESTS'],
    [500, 502, 'UNAVAILABLE'],
    [418, 502, 'UNAVAILABLE'],
  ])('answers %i of it with %i for what is not here', async (status, answered, code) => {
    const clock = new FakeClock();
    keepRunning(clock);
    const fixture = await start({ registry: { clock } });
    fixture.upstream.fail({ fault: { kind: 'answer', status, body: '{"errors":[{"message":"planted"}]}' } });
    const answer = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect([answer.status, errorCode(answer)]).toEqual([answered, code]);
    expect(String(answer.body)).not.toContain('planted');
    if (status === 429) expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('remembers for a while that something is not there', async () => {
    const clock = new FakeClock();
    const fixture = await start({ registry: { clock } });
    const digest = digestOf('nothing');
    for (let turn = 0; turn < 3; turn += 1) {
      expect((await fixture.mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(404);
      expect((await fixture.mirror.send('GET', `/v2/team/app/blobs/${digest}`)).status).toBe(404);
      expect((await fixture.mirror.send('HEAD', `/v2/team/app/blobs/${digest}`)).status).toBe(404);
    }
    expect(fixture.upstream.requests.length).toBe(2);
    const image = await fixture.pushImage('team/app', 'v1');
    await clock.advance(11_000);
    const answer = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(answer.headers['docker-content-digest']).toBe(image.digest);
  });
});
