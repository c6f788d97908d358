import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, expect, it } from 'vitest';
import { sendTo } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { MirrorFixture } from './fixture.ts';

const HOUR = 3_600_000;

const fixtures: MirrorFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.stop();
});

async function start(settings: Parameters<typeof MirrorFixture.start>[0]): Promise<MirrorFixture> {
  const { registry, ...rest } = settings ?? {};
  const fixture = await MirrorFixture.start({ ...rest, registry: { metrics: { port: 0 }, ...registry } });
  fixtures.push(fixture);
  return fixture;
}

/** The samples of mirrors that are not 0, without their prefix and without the label of the mirror. */
async function samples({ mirror }: MirrorFixture, name = 'team/**'): Promise<Record<string, number>> {
  const url = new URL(mirror.registry.metricsUrl ?? '');
  const text = String((await sendTo(url.host, 'GET', '/metrics')).body);
  expect(text).not.toContain('team/app');
  const found = [...text.matchAll(/^mural_registry_mirror_(\w+)\{mirror="([^"]+)",?([^}]*)\} (\d+)$/gm)];
  const own = found.filter(([, , of, , value]) => of === name && value !== '0');
  return Object.fromEntries(
    own.map(([, what = '', , labels = '', value]) => [
      labels === ''
        ? what
        : `${what}{${labels.replaceAll('"', '').replaceAll(/(kind|result|reason)=/g, '')}}`,
      Number(value),
    ]),
  );
}

it('tell what came from upstream and what was here', async () => {
  const fixture = await start({ mirror: { negativeTtlMs: HOUR } });
  const image = await fixture.pushImage('team/app', 'v1', 5000);
  const get = (path: string, method = 'GET') => fixture.mirror.send(method, `/v2/team/app/${path}`);
  for (let turn = 0; turn < 3; turn += 1) expect((await get('manifests/v1')).status).toBe(200);
  await get(`blobs/${image.layer}`);
  await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).blobs === 1);
  await get(`blobs/${image.layer}`);
  await get(`blobs/${image.config}`, 'HEAD');
  await get('manifests/none');
  await get(`blobs/${digestOf('none')}`);
  await get('tags/list');
  await get('tags/list');
  await get('manifests/v1', 'DELETE');
  const bytes = image.bytes.length + 5000;
  expect(await samples(fixture)).toEqual({
    'requests_total{manifest,fetched}': 1,
    'requests_total{manifest,cached}': 2,
    'requests_total{manifest,missing}': 1,
    'requests_total{blob,fetched}': 1,
    'requests_total{blob,cached}': 1,
    'requests_total{blob,confirmed}': 1,
    'requests_total{blob,missing}': 1,
    'requests_total{list,fetched}': 1,
    'requests_total{list,cached}': 1,
    fetched_bytes_total: bytes,
    cached_bytes: bytes,
    upstream_available: 1,
  });
});

it('tell of an upstream that is away, and of what was served all the same', async () => {
  const clock = new FakeClock();
  const fixture = await start({ mirror: { tagTtlMs: 60_000 }, registry: { clock } });
  await fixture.pushImage('team/app', 'v1');
  const get = (tag: string) => fixture.mirror.send('GET', `/v2/team/app/manifests/${tag}`);
  await get('v1');
  await clock.advance(60_000);
  await get('v1');
  fixture.upstream.fail({ fault: { kind: 'answer', status: 429, headers: { 'retry-after': '500' } } });
  await clock.advance(60_000);
  // What the mirror tries again, and when it gives up, goes by its clock.
  const ticking = setInterval(() => void clock.advance(500), 5);
  await get('v1');
  await get('v1');
  await get('v2');
  clearInterval(ticking);
  const found = await samples(fixture);
  expect(found).toMatchObject({
    'requests_total{manifest,fetched}': 1,
    'requests_total{manifest,confirmed}': 1,
    'requests_total{manifest,stale}': 2,
    'requests_total{manifest,failed}': 1,
    'upstream_failures_total{throttled}': 1,
  });
  expect(found).not.toHaveProperty('upstream_available');
  await clock.advance(500_000);
  expect(await samples(fixture)).toMatchObject({ upstream_available: 1 });
});

it('count what is passed on without being kept', async () => {
  const fixture = await start({
    registry: { maintenance: { quotas: [{ repositories: '**', bytesPerRepository: 100 }] } },
  });
  const image = await fixture.pushImage('team/app', 'v1', 1000);
  const get = (path: string) => fixture.mirror.send('GET', `/v2/team/app/${path}`);
  await get('manifests/v1');
  expect((await get(`blobs/${image.layer}`)).body.length).toBe(1000);
  expect(await samples(fixture)).toMatchObject({
    not_kept_total: 1,
    fetched_bytes_total: image.bytes.length + 1000,
    cached_bytes: image.bytes.length,
  });
});

it('count what was let go of, for each mirror as it stands in the configuration', async () => {
  const clock = new FakeClock();
  const fixture = await start({
    mirror: { prefix: 'hub', evictAfterMs: HOUR, tagTtlMs: 100 * HOUR },
    registry: { clock },
  });
  await fixture.pushImage('library/a', 'v1');
  await fixture.mirror.send('GET', '/v2/hub/library/a/manifests/v1');
  for (let passed = 0; passed < 3; passed += 1) await clock.advance(HOUR);
  await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).manifests === 0);
  const found = await samples(fixture, 'hub');
  expect(found).toMatchObject({ 'evictions_total{idle}': 1 });
  expect(found).not.toHaveProperty('cached_bytes');
});

it('are not there without mirrors', async () => {
  const fixture = await start({ registry: { mirrors: [] } });
  expect(await samples(fixture)).toEqual({});
});
