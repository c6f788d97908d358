import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, IMAGE, imageOf, INDEX, RegistryFixture } from '../fixture.ts';
import { requireOneReading } from '../http/one-reading.ts';
import { type Digest, digestOf } from '../names.ts';

const OTHER = digestOf('another');

/** Changes to an image that some parsers read otherwise than others. */
const AMBIGUOUS: readonly (readonly [string, (image: string) => string])[] = [
  ['layers twice', (image) => image.replace('"layers":', '"layers":[],"layers":')],
  ['layers and Layers', (image) => image.replace('"layers":', '"Layers":[],"layers":')],
  ['layers and an escape of it', (image) => image.replace('"layers":', '"\\u006cayers":[],"layers":')],
  ['mediaType twice', (image) => image.replace('"mediaType":', `"mediaType":"${INDEX}","mediaType":`)],
  ['a descriptor with two digests', (image) => image.replace('"digest":', `"digest":"${OTHER}","digest":`)],
  [
    'a descriptor with Digest and digest',
    (image) => image.replace('"digest":', `"Digest":"${OTHER}","digest":`),
  ],
  ['a descriptor with two sizes', (image) => image.replace('"size":', '"size":1,"size":')],
  ['two subjects', (image) => image.replace('{', '{"subject":null,"subject":null,')],
  ['manifests and layers', (image) => image.replace('{', '{"manifests":[],')],
  ['Manifests and layers', (image) => image.replace('{', '{"Manifests":[],')],
  ['the type of an index in it', (image) => image.replace(IMAGE, INDEX)],
  ['an annotation twice', (image) => image.replace('{', '{"annotations":{"a":"1","a":"2"},')],
  ['two documents', (image) => image + image],
  ['a byte order mark', (image) => `\ufeff${image}`],
  ['a comment', (image) => `/* */${image}`],
  ['a NUL after it', (image) => `${image}\0`],
];

describe('one digest has one reading (CVE-2021-41190)', () => {
  let fixture: RegistryFixture;
  let image: string;
  beforeAll(async () => {
    fixture = await RegistryFixture.start();
    const config = await fixture.pushBlob('app', '{}');
    const layer: Digest = await fixture.pushBlob('app', 'layer');
    image = imageOf(config, { digest: layer, size: 5 });
  });
  afterAll(() => fixture.stop());

  it.each(AMBIGUOUS)('a manifest with %s is refused', async (_what, change) => {
    for (const type of [IMAGE, INDEX]) {
      const answer = await fixture.pushManifest('app', 'v1', change(image), type);
      expect([answer.status, errorCode(answer)]).toEqual([400, 'MANIFEST_INVALID']);
    }
    expect((await fixture.send('GET', '/v2/app/manifests/v1')).status).toBe(404);
  });

  it('annotations whose names differ in case are two', async () => {
    const annotated = image.replace('{', '{"annotations":{"digest":"1","Digest":"2"},');
    expect((await fixture.pushManifest('app', 'v2', annotated)).status).toBe(201);
  });

  it('is served as what it was pushed, whatever a client asks for, and not as what a browser would guess', async () => {
    await fixture.pushManifest('app', 'v3', image);
    const answer = await fixture.send('GET', '/v2/app/manifests/v3', { headers: { accept: INDEX } });
    expect(answer.headers['content-type']).toBe(IMAGE);
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    const html = await fixture.pushBlob('app', '<script>alert(1)</script>');
    const blob = await fixture.send('GET', `/v2/app/blobs/${html}`, { headers: { accept: 'text/html' } });
    expect(blob.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
    });
  });

  it('what any program writes has one reading', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain = JSON.stringify(value);
        const lower = plain.toLowerCase();
        fc.pre(!['digest', 'size', 'data', 'urls', 'config'].some((name) => lower.includes(name)));
        expect(() => requireOneReading(JSON.stringify(value, null, 2))).not.toThrow();
      }),
    );
  });

  it('a member that is there twice is found wherever it is', () => {
    const path = fc.array(fc.oneof(fc.constant('['), fc.string()), { maxLength: 6 });
    fc.assert(
      fc.property(path, fc.string(), fc.jsonValue(), (steps, name, value) => {
        const key = JSON.stringify(name);
        let text = `{${key} : ${JSON.stringify(value)},${key}:1}`;
        for (const step of steps) text = step === '[' ? `["x",${text}]` : `{${JSON.stringify(step)}:${text}}`;
        JSON.parse(text);
        expect(() => requireOneReading(text)).toThrow('twice');
      }),
    );
  });
});
