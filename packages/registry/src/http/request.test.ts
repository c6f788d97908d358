import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { digestOf, isValidRepository } from '../names.ts';
import { RegistryError } from '../errors.ts';
import { parseContentRange, parseRange } from './range.ts';
import { parsePath } from './request.ts';

const DIGEST = digestOf('x');

describe('parsePath', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list' }],
    ['/v2/a/b/manifests/v1', { kind: 'manifest', repository: 'a/b', reference: { tag: 'v1' } }],
    [`/v2/a/manifests/${DIGEST}`, { kind: 'manifest', repository: 'a', reference: { digest: DIGEST } }],
    [
      `/v2/a/manifests/${DIGEST.replace(':', '%3A')}`,
      { kind: 'manifest', repository: 'a', reference: { digest: DIGEST } },
    ],
    [`/v2/blobs/uploads/blobs/${DIGEST}`, { kind: 'blob', repository: 'blobs/uploads', digest: DIGEST }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', repository: 'a' }],
    ['/v2/a/blobs/uploads/0f', { kind: 'upload', repository: 'a', id: '0f' }],
    [`/v2/a/referrers/${DIGEST}`, { kind: 'referrers', repository: 'a', digest: DIGEST }],
  ])('reads %s', (path, route) => {
    expect(parsePath(path)).toEqual(route);
  });

  it('yields nothing but valid names, whatever is asked', () => {
    const piece = fc.constantFrom(
      'v2',
      'a',
      '..',
      '.',
      '',
      '%2e%2e',
      '%2f',
      '%00',
      'A',
      'blobs',
      'uploads',
      'tags',
    );
    const more = fc.constantFrom(
      'list',
      'manifests',
      'referrers',
      DIGEST,
      'sha256:1',
      '_catalog',
      '%',
      'ä',
      'a_b',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, more), { maxLength: 8 }), (pieces) => {
        const route = safely(`/v2/${pieces.join('/')}`);
        if (route !== undefined && 'repository' in route)
          expect(isValidRepository(route.repository)).toBe(true);
      }),
    );
  });

  it('fails with an error of the API on any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void safely(`/v2/${text}`)));
  });
});

/** The route, or undefined where the path is refused in the proper way. */
function safely(path: string): ReturnType<typeof parsePath> | undefined {
  try {
    return parsePath(path);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

describe('ranges', () => {
  it('lie within the content', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.nat(5000),
        fc.option(fc.nat(6000)),
        fc.option(fc.nat(6000)),
        (text, size, a, b) => {
          for (const header of [text, `bytes=${text}`, `bytes=${a ?? ''}-${b ?? ''}`]) {
            const range = parseRange(header, size);
            if (range === undefined || range === 'unsatisfiable') continue;
            expect(range.start).toBeGreaterThanOrEqual(0);
            expect(range.start).toBeLessThanOrEqual(range.end);
            expect(range.end).toBeLessThan(size);
          }
        },
      ),
    );
  });

  it('of chunks are read as the specification writes them', () => {
    expect(parseContentRange('0-9')).toEqual({ start: 0, end: 9 });
    expect(parseContentRange('bytes 3-9/*')).toEqual({ start: 3, end: 9 });
    for (const header of ['9-3', '-3', '3-', 'a-b', '', '1-2-3'])
      expect(parseContentRange(header)).toBeUndefined();
  });
});

describe('hostile paths', () => {
  let fixture: RegistryFixture;
  beforeAll(async () => {
    fixture = await RegistryFixture.start();
  });
  afterAll(() => fixture.stop());

  it.each([
    '/',
    '/v1/',
    '/v2/../../etc/passwd',
    '/v2/a/../b/tags/list',
    '/v2/%2e%2e/%2e%2e/etc/tags/list',
    '/v2/a%2fb/tags/list',
    '/v2//_catalog',
    '/v2/_catalog/',
    '/v2/A/tags/list',
    '/v2/a//b/tags/list',
    `/v2/${'a'.repeat(300)}/tags/list`,
    '/v2/a/tags/list/',
    '/v2/a%00/tags/list',
    '/v2/a/manifests/%',
    `/v2/a/manifests/${'t'.repeat(129)}`,
    '/v2/a/manifests/-tag',
    '/v2/a/manifests/sha256:abc',
    `/v2/a/manifests/${DIGEST.toUpperCase()}`,
    '/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e',
    `/v2/a/blobs/..%2f..%2f${DIGEST}`,
    '/v2/a/blobs/uploads/..%2f..%2fmetadata.db',
    '/v2/a/blobs/uploads/%2e%2e',
    '/v2/a/referrers/latest',
  ])('%s is refused, and never answered with a redirect', async (path) => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await fixture.send(method, path);
      expect([400, 404]).toContain(answer.status);
      expect(String(answer.body)).not.toContain(fixture.directory);
      expect(answer.headers['content-type']).toBe('application/json');
    }
  });

  it('says which methods a path has', async () => {
    const answer = await fixture.send('POST', '/v2/a/manifests/v1');
    expect([answer.status, answer.headers.allow]).toEqual([405, 'GET, HEAD, PUT, DELETE']);
  });
});
