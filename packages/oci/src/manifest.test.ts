import { describe, expect, it } from 'vitest';
import { MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from './index.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const descriptor = { mediaType: 'application/octet-stream', digest, size: 1 };
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const image = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.imageManifest,
  config: descriptor,
  layers: [descriptor],
};

describe('parseManifest', () => {
  it('tells images from indexes, by media type or by their members', () => {
    expect(parseManifest(bytes(image)).kind).toBe('image');
    expect(parseManifest(bytes({ schemaVersion: 2, manifests: [descriptor] }))).toMatchObject({
      kind: 'index',
      mediaType: MEDIA_TYPES.imageIndex,
    });
    const docker = { ...image, mediaType: MEDIA_TYPES.dockerManifest };
    expect(parseManifest(bytes(docker), `${MEDIA_TYPES.dockerManifest}; charset=utf-8`).kind).toBe('image');
  });

  it('keeps members that it does not know', () => {
    expect(parseManifest(bytes({ ...image, extra: { a: 1 } })).manifest).toMatchObject({ extra: { a: 1 } });
  });

  it.each([
    ['text', Buffer.from('hello')],
    ['bytes that are not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['an array', bytes([])],
    ['no layers', bytes({ schemaVersion: 2, config: descriptor })],
    ['an old schema', bytes({ ...image, schemaVersion: 1 })],
    ['a bad digest', bytes({ ...image, config: { ...descriptor, digest: 'sha256:0' } })],
    ['a negative size', bytes({ ...image, layers: [{ ...descriptor, size: -1 }] })],
    ['both kinds at once', bytes({ ...image, manifests: [] })],
    ['an unknown media type', bytes({ ...image, mediaType: 'text/html' })],
  ])('refuses %s', (_name, input) => {
    expect(() => parseManifest(input)).toThrow(expect.objectContaining({ code: 'ManifestInvalid' }) as Error);
  });

  it('refuses a document that was served as something else than it says', () => {
    expect(() => parseManifest(bytes(image), MEDIA_TYPES.imageIndex)).toThrow(/served as/);
  });

  it('reads no more than 4 MiB', () => {
    expect(() => parseManifest(Buffer.alloc(MAX_MANIFEST_BYTES + 1, ' '))).toThrow(
      expect.objectContaining({ code: 'TooLarge' }) as Error,
    );
  });
});
