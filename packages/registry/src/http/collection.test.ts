import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '@mural/core/testing';
import { INDEX, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';

const USE_MS = 60_000;

let clock: FakeClock;
let fixture: RegistryFixture;
beforeEach(async () => {
  clock = new FakeClock();
  fixture = await RegistryFixture.start({
    clock,
    useMs: USE_MS,
    maintenance: {
      graceMs: 0,
      collectEveryMs: 0,
      retention: [{ repositories: '**', untagged: 'remove' }],
    },
  });
  await clock.advance(USE_MS);
});
afterEach(() => fixture.stop());

const collect = () => fixture.registry.maintenance.collect();

/** Something that is not referenced, and that no client was told of for a while. */
async function oldBlob(repository = 'a'): Promise<string> {
  const digest = await fixture.pushBlob(repository, randomBytes(50));
  await clock.advance(USE_MS);
  return digest;
}

describe('without any grace period, a collection leaves alone', () => {
  it.each([
    ['HEAD', (digest: string) => fixture.send('HEAD', `/v2/a/blobs/${digest}`), 200],
    ['GET', (digest: string) => fixture.send('GET', `/v2/a/blobs/${digest}`), 200],
    [
      'a mount from it',
      (digest: string) => fixture.send('POST', `/v2/b/blobs/uploads/?mount=${digest}&from=a`),
      201,
    ],
  ])('a blob that a client was told of by %s', async (_name, tell, status) => {
    const digest = await oldBlob();
    expect((await tell(digest)).status).toBe(status);
    expect(await collect()).toMatchObject({ blobs: 0 });
    expect((await fixture.send('HEAD', `/v2/a/blobs/${digest}`)).status).toBe(200);
    await clock.advance(USE_MS);
    await collect();
    expect((await fixture.send('HEAD', `/v2/a/blobs/${digest}`)).status).toBe(404);
  });

  it('the manifests of an index whose push has not come yet, and what they name', async () => {
    const children = [await fixture.pushImage('a', 'x'), await fixture.pushImage('a', 'y')];
    for (const tag of ['x', 'y']) await fixture.send('DELETE', `/v2/a/manifests/${tag}`);
    expect(await collect()).toMatchObject({ manifests: 0, blobs: 0 });
    const index = JSON.stringify({
      ...{ schemaVersion: 2, mediaType: INDEX },
      manifests: children.map(({ digest, bytes }) => ({
        ...{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: bytes.length },
      })),
    });
    expect((await fixture.pushManifest('a', 'v1', index, INDEX)).status).toBe(201);
    await clock.advance(10 * USE_MS);
    expect(await collect()).toMatchObject({ manifests: 0, blobs: 0 });
    for (const { digest, layer } of children) {
      expect((await fixture.send('GET', `/v2/a/manifests/${digest}`)).status).toBe(200);
      expect((await fixture.send('GET', `/v2/a/blobs/${layer}`)).status).toBe(200);
    }
  });

  it('what a pull in progress needs, when its manifest is deleted meanwhile', async () => {
    const image = await fixture.pushImage('a', 'v1');
    await clock.advance(USE_MS);
    expect((await fixture.send('GET', '/v2/a/manifests/v1')).status).toBe(200);
    expect((await fixture.send('DELETE', `/v2/a/manifests/${image.digest}`)).status).toBe(202);
    expect(await collect()).toMatchObject({ blobs: 0 });
    expect((await fixture.send('GET', `/v2/a/blobs/${image.layer}`)).status).toBe(200);
  });
});

it('a blob that was collected is refused in a manifest, and a push brings it back', async () => {
  const content = randomBytes(50);
  const digest = await fixture.pushBlob('a', content);
  await fixture.pushBlob('other', content);
  await clock.advance(USE_MS);
  await fixture.send('GET', `/v2/other/blobs/${digest}`);
  expect(await collect()).toMatchObject({ blobs: 1, freedBytes: 0 });
  // It is in memory and in another repository, and all the same unknown here.
  expect((await fixture.send('GET', `/v2/a/blobs/${digest}`)).status).toBe(404);
  const mount = await fixture.send('POST', `/v2/a/blobs/uploads/?mount=${digest}&from=a`);
  expect(mount.status).toBe(202);
  await fixture.pushBlob('a', content);
  expect(digestOf((await fixture.send('GET', `/v2/a/blobs/${digest}`)).body)).toBe(digest);
});
