import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, IMAGE, imageOf, INDEX, RegistryFixture } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';

let fixture: RegistryFixture;
beforeAll(async () => {
  fixture = await RegistryFixture.start();
});
afterAll(() => fixture.stop());

function manifestPath(repository: string, reference: string): string {
  return `/v2/${repository}/manifests/${reference}`;
}

/** The parts of an image that is not pushed yet. */
async function parts(
  repository: string,
): Promise<{ config: Digest; layer: { digest: Digest; size: number } }> {
  const config = await fixture.pushBlob(repository, '{}');
  const layer = await fixture.pushBlob(repository, 'layer');
  return { config, layer: { digest: layer, size: 5 } };
}

describe('manifests', () => {
  it('end-3, end-7a: gives back the bytes that were pushed, by tag and by digest', async () => {
    const pushed = await fixture.pushImage('m/app', 'v1');
    for (const reference of ['v1', pushed.digest]) {
      const get = await fixture.send('GET', manifestPath('m/app', reference));
      expect([get.status, String(get.body)]).toEqual([200, pushed.bytes]);
      const head = await fixture.send('HEAD', manifestPath('m/app', reference));
      expect([head.status, head.body.length]).toEqual([200, 0]);
      for (const { headers } of [get, head]) {
        expect(headers).toMatchObject({
          'docker-content-digest': pushed.digest,
          'content-length': String(pushed.bytes.length),
          'content-type': IMAGE,
          'x-content-type-options': 'nosniff',
          etag: `"${pushed.digest}"`,
        });
      }
      const headers = { 'if-none-match': `"${pushed.digest}"` };
      expect((await fixture.send('GET', manifestPath('m/app', reference), { headers })).status).toBe(304);
      expect((await fixture.send('HEAD', manifestPath('m/app', reference), { headers })).status).toBe(304);
    }
    const unknown = await fixture.send('GET', manifestPath('m/app', 'v2'));
    expect([unknown.status, errorCode(unknown)]).toEqual([404, 'MANIFEST_UNKNOWN']);
    expect((await fixture.send('HEAD', manifestPath('nobody/nothing', 'v1'))).status).toBe(404);
  });

  it('moves a tag, and keeps what it pointed at by digest', async () => {
    const first = await fixture.pushImage('m/moving', 'latest');
    const second = await fixture.pushImage('m/moving', 'latest');
    const latest = await fixture.send('HEAD', manifestPath('m/moving', 'latest'));
    expect(latest.headers['docker-content-digest']).toBe(second.digest);
    expect((await fixture.send('HEAD', manifestPath('m/moving', first.digest))).status).toBe(200);
  });

  it('end-7b: points several tags at once', async () => {
    const { bytes, digest } = await fixture.pushImage('m/tags', 'base');
    const put = await fixture.pushManifest('m/tags', `${digest}?tag=a&tag=b&tag=c`, bytes);
    expect([put.status, put.headers['oci-tag']]).toEqual([201, 'a, b, c']);
    expect((await fixture.send('HEAD', manifestPath('m/tags', 'b'))).status).toBe(200);
    const invalid = await fixture.pushManifest('m/tags', `${digest}?tag=fine&tag=not/fine`, bytes);
    expect([invalid.status, errorCode(invalid)]).toEqual([400, 'TAG_INVALID']);
    expect((await fixture.send('HEAD', manifestPath('m/tags', 'fine'))).status).toBe(404);
    const many = Array.from({ length: 100 }, (_, index) => `tag=t${index}`).join('&');
    expect((await fixture.pushManifest('m/tags', `${digest}?${many}`, bytes)).status).toBe(414);
  });

  it('takes sha512 digests', async () => {
    const { config, layer } = await parts('m/sha512');
    const bytes = imageOf(config, layer);
    const digest = digestOf(bytes, 'sha512');
    const put = await fixture.pushManifest('m/sha512', digest, bytes);
    expect([put.status, put.headers['docker-content-digest']]).toEqual([201, digest]);
    expect((await fixture.send('GET', manifestPath('m/sha512', digest))).status).toBe(200);
  });

  it('end-9: deletes a tag alone, and a digest with its tags', async () => {
    const { digest } = await fixture.pushImage('m/delete', 'one');
    await fixture.pushManifest(
      'm/delete',
      'two',
      (await fixture.send('GET', manifestPath('m/delete', 'one'))).body,
    );
    expect((await fixture.send('DELETE', manifestPath('m/delete', 'one'))).status).toBe(202);
    expect((await fixture.send('GET', manifestPath('m/delete', 'one'))).status).toBe(404);
    expect((await fixture.send('GET', manifestPath('m/delete', digest))).status).toBe(200);
    expect((await fixture.send('DELETE', manifestPath('m/delete', digest))).status).toBe(202);
    for (const reference of ['two', digest]) {
      expect((await fixture.send('GET', manifestPath('m/delete', reference))).status).toBe(404);
      expect((await fixture.send('DELETE', manifestPath('m/delete', reference))).status).toBe(404);
    }
  });

  it('refuses a manifest whose digest is not the one in the path', async () => {
    const { bytes } = await fixture.pushImage('m/digest', 'v1');
    const put = await fixture.pushManifest('m/digest', digestOf('other'), bytes);
    expect([put.status, errorCode(put)]).toEqual([400, 'DIGEST_INVALID']);
  });

  it('refuses a manifest of which a blob is missing or of another size', async () => {
    const { config, layer } = await parts('m/missing');
    const cases = [
      [imageOf(config, { digest: digestOf('nowhere'), size: 5 }), 'MANIFEST_BLOB_UNKNOWN'],
      [imageOf(digestOf('nowhere'), layer), 'MANIFEST_BLOB_UNKNOWN'],
      [imageOf(config, { ...layer, size: 6 }), 'MANIFEST_INVALID'],
    ] as const;
    for (const [bytes, code] of cases) {
      const put = await fixture.pushManifest('m/missing', 'v1', bytes);
      expect([put.status, errorCode(put)]).toEqual([400, code]);
    }
    const elsewhere = await fixture.pushManifest('m/empty', 'v1', imageOf(config, layer));
    expect(errorCode(elsewhere)).toBe('MANIFEST_BLOB_UNKNOWN');
    expect((await fixture.send('GET', manifestPath('m/missing', 'v1'))).status).toBe(404);
  });

  it('takes non-distributable layers, indexes of absent manifests, and missing blobs where it is told to', async () => {
    const { config } = await parts('m/sparse');
    const foreign = imageOf(config, { digest: digestOf('far'), size: 9 }).replace(
      '"application/octet-stream"',
      '"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"',
    );
    expect((await fixture.pushManifest('m/sparse', 'foreign', foreign)).status).toBe(201);
    const child = { mediaType: IMAGE, digest: digestOf('absent'), size: 9 };
    const index = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [child] });
    expect((await fixture.pushManifest('m/sparse', 'index', index, INDEX)).status).toBe(201);
    const lenient = await RegistryFixture.start({ sparseManifests: true });
    try {
      const image = imageOf(digestOf('a'), { digest: digestOf('b'), size: 1 });
      expect((await lenient.pushManifest('m/sparse', 'v1', image)).status).toBe(201);
    } finally {
      await lenient.stop();
    }
  });

  it.each([
    ['no JSON', IMAGE, () => '{'],
    ['no object', IMAGE, () => '[]'],
    ['no UTF-8', IMAGE, () => Buffer.from([0x7b, 0xff, 0x7d])],
    ['both a manifest and an index', IMAGE, (image: string) => image.replace('{', '{"manifests":[],')],
    ['of another media type than its Content-Type', INDEX, (image: string) => image],
    ['of a Content-Type that is no manifest', 'text/html', (image: string) => image],
    ['with a field in another case', IMAGE, (image: string) => image.replace('{', '{"Layers":[],')],
    [
      'with a digest that is none',
      IMAGE,
      (image: string) => image.replace(/sha256:[0-9a-f]{64}/, 'sha256:1'),
    ],
    ['with a negative size', IMAGE, (image: string) => image.replace('"size":5', '"size":-5')],
    ['of schema 1', IMAGE, (image: string) => image.replace('"schemaVersion":2', '"schemaVersion":1')],
  ])('refuses a document that is %s', async (_name, type, change) => {
    const { config, layer } = await parts('m/invalid');
    const put = await fixture.pushManifest('m/invalid', 'v1', change(imageOf(config, layer)), type);
    expect([put.status, errorCode(put)]).toEqual([400, 'MANIFEST_INVALID']);
    expect((await fixture.send('GET', manifestPath('m/invalid', 'v1'))).status).toBe(404);
  });

  it('ignores parameters of the Content-Type and serves the bare type', async () => {
    const { config, layer } = await parts('m/type');
    const put = await fixture.pushManifest('m/type', 'v1', imageOf(config, layer), `${IMAGE}; charset=utf-8`);
    expect(put.status).toBe(201);
    expect((await fixture.send('HEAD', manifestPath('m/type', 'v1'))).headers['content-type']).toBe(IMAGE);
  });

  it('takes 4 MiB and answers 413 beyond, whether the length is announced or not', async () => {
    const { config, layer } = await parts('m/large');
    const image = imageOf(config, layer, { annotations: { pad: '' } });
    const padded = (size: number): string =>
      image.replace('"pad":"', `"pad":"${'x'.repeat(size - image.length)}`);
    const limit = 4 * 1024 * 1024;
    expect((await fixture.pushManifest('m/large', 'v1', padded(limit))).status).toBe(201);
    expect((await fixture.pushManifest('m/large', 'v2', padded(limit + 1))).status).toBe(413);
    const streamed = await fetch(`${fixture.registry.url}${manifestPath('m/large', 'v3')}`, {
      method: 'PUT',
      headers: { 'content-type': IMAGE },
      body: new Blob([padded(limit + 1)]).stream(),
      duplex: 'half',
    });
    expect(streamed.status).toBe(413);
  });

  it('keeps everything over a restart', async () => {
    const pushed = await fixture.pushImage('m/kept', 'v1', {
      subject: { mediaType: IMAGE, digest: digestOf('subject'), size: 3 },
    });
    await fixture.restart();
    const get = await fixture.send('GET', manifestPath('m/kept', 'v1'));
    expect([String(get.body), get.headers['content-type']]).toEqual([pushed.bytes, IMAGE]);
    const referrers = await fixture.send('GET', `/v2/m/kept/referrers/${digestOf('subject')}`);
    expect(String(referrers.body)).toContain(pushed.digest);
    expect((await fixture.send('GET', `/v2/m/kept/blobs/${pushed.layer}`)).status).toBe(200);
  });
});
