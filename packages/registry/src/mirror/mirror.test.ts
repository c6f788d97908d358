import { FakeClock } from '@mural/core/testing';
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

describe('a mirror', () => {
  it('gives out a tag, its manifest and its blobs as the upstream has them', async () => {
    const fixture = await start();
    const image = await fixture.pushImage('team/app', 'v1', 3_000_000);
    const manifest = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
    expect(manifest.status).toBe(200);
    expect(String(manifest.body)).toBe(image.bytes);
    expect(manifest.headers).toMatchObject({ 'content-type': IMAGE, 'docker-content-digest': image.digest });
    const layer = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`);
    expect(layer.status).toBe(200);
    expect(layer.body.equals(image.content)).toBe(true);
    const config = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.config}`);
    expect(String(config.body)).toBe('{}');
  });

  it('asks the upstream nothing for what is here', async () => {
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
      for (const path of paths)
        expect((await fixture.mirror.send(method, `/v2/team/app/${path}`)).status).toBe(200);
    }
    expect(fixture.upstream.requests.length).toBe(before);
  });
});
