import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, IMAGE, INDEX, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';

let fixture: RegistryFixture;
beforeAll(async () => {
  fixture = await RegistryFixture.start();
  const { bytes } = await fixture.pushImage('lists/app', 'b');
  for (const tag of ['c', 'a', 'B', '1', '_', 'a-1']) await fixture.pushManifest('lists/app', tag, bytes);
});
afterAll(() => fixture.stop());

async function json(path: string): Promise<{ body: Record<string, unknown>; link: string | undefined }> {
  const answer = await fixture.send('GET', path);
  expect(answer.status).toBe(200);
  const link = answer.headers['link'];
  return {
    body: JSON.parse(String(answer.body)) as Record<string, unknown>,
    link: typeof link === 'string' ? link : undefined,
  };
}

/** Follows the `Link` headers from `path` and gathers what `pick` finds in each page. */
async function everyPage(
  path: string,
  pick: (body: Record<string, unknown>) => unknown[],
): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    const { body, link } = await json(next);
    found.push(...pick(body));
    next = /^<([^>]+)>; rel="next"$/.exec(link ?? '')?.[1];
  }
  return found;
}

const SORTED = ['1', 'B', '_', 'a', 'a-1', 'b', 'c'];

describe('lists', () => {
  it('end-8a: lists tags in ASCII order', async () => {
    expect((await json('/v2/lists/app/tags/list')).body).toEqual({ name: 'lists/app', tags: SORTED });
  });

  it('end-8b: pages', async () => {
    const tags = (body: Record<string, unknown>): unknown[] => body['tags'] as unknown[];
    expect(await everyPage('/v2/lists/app/tags/list?n=2', tags)).toEqual(SORTED);
    expect(await json('/v2/lists/app/tags/list?n=0')).toEqual({
      body: { name: 'lists/app', tags: [] },
      link: undefined,
    });
    expect((await json('/v2/lists/app/tags/list?last=a')).body['tags']).toEqual(['a-1', 'b', 'c']);
    expect((await json('/v2/lists/app/tags/list?n=1&last=aa')).body['tags']).toEqual(['b']);
    expect((await json('/v2/lists/app/tags/list?n=7')).link).toBeUndefined();
    expect((await json('/v2/lists/app/tags/list?n=100000000000')).body['tags']).toEqual(SORTED);
    for (const n of ['-1', 'abc', '1e3', '9'.repeat(40)]) {
      expect((await fixture.send('GET', `/v2/lists/app/tags/list?n=${n}`)).status).toBe(400);
    }
  });

  it('answers 404 for the tags of an unknown repository', async () => {
    const answer = await fixture.send('GET', '/v2/lists/unknown/tags/list');
    expect([answer.status, errorCode(answer)]).toEqual([404, 'NAME_UNKNOWN']);
  });

  it('lists repositories by page', async () => {
    for (const name of ['lists/z', 'lists/m', 'aaa']) await fixture.pushBlob(name, 'x');
    const names = (body: Record<string, unknown>): unknown[] => body['repositories'] as unknown[];
    const sorted = ['aaa', 'lists/app', 'lists/m', 'lists/z'];
    expect(await everyPage('/v2/_catalog', names)).toEqual(sorted);
    expect(await everyPage('/v2/_catalog?n=1', names)).toEqual(sorted);
  });

  it('end-12: lists referrers, filtered and empty ones too', async () => {
    const subject = digestOf('the subject comes later');
    const link = { mediaType: IMAGE, digest: subject, size: 23 };
    const put = await fixture.pushImage('lists/refs', 'one', {
      subject: link,
      artifactType: 'application/vnd.a',
      annotations: { note: 'hello' },
    });
    await fixture.pushImage('lists/refs', 'two', { subject: link });
    const again = await fixture.pushManifest('lists/refs', 'one', put.bytes);
    expect(again.headers['oci-subject']).toBe(subject);
    const index = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [], subject: link });
    expect((await fixture.pushManifest('lists/refs', 'three', index, INDEX)).status).toBe(201);

    const path = `/v2/lists/refs/referrers/${subject}`;
    const all = await fixture.send('GET', path);
    expect(all.headers['content-type']).toBe(INDEX);
    const { manifests } = JSON.parse(String(all.body)) as { manifests: Record<string, unknown>[] };
    expect(manifests).toHaveLength(3);
    expect(manifests.find(({ digest }) => digest === put.digest)).toEqual({
      mediaType: IMAGE,
      digest: put.digest,
      size: put.bytes.length,
      artifactType: 'application/vnd.a',
      annotations: { note: 'hello' },
    });
    expect(manifests.map(({ artifactType }) => String(artifactType)).sort()).toEqual([
      'application/vnd.a',
      'application/vnd.example.config',
      'undefined',
    ]);

    const filtered = await fixture.send('GET', `${path}?artifactType=application/vnd.a`);
    expect(filtered.headers['oci-filters-applied']).toBe('artifactType');
    expect((JSON.parse(String(filtered.body)) as { manifests: unknown[] }).manifests).toHaveLength(1);

    await fixture.send('DELETE', `/v2/lists/refs/manifests/${put.digest}`);
    expect((await json(path)).body['manifests']).toHaveLength(2);
    expect((await json(`/v2/lists/refs/referrers/${digestOf('?')}`)).body['manifests']).toEqual([]);
    expect((await json(`/v2/lists/none/referrers/${subject}`)).body['manifests']).toEqual([]);
  });

  it('end-12: pages referrers so that each page can be read', async () => {
    const subject = digestOf('popular');
    const extra = (index: number): object => ({
      subject: { mediaType: IMAGE, digest: subject, size: 7 },
      annotations: { index: String(index), pad: 'x'.repeat(1_400_000) },
    });
    for (let index = 0; index < 5; index += 1)
      await fixture.pushImage('lists/popular', `t${index}`, extra(index));
    const first = await fixture.send('GET', `/v2/lists/popular/referrers/${subject}`);
    expect(first.body.length).toBeLessThan(4 * 1024 * 1024);
    const digests = await everyPage(`/v2/lists/popular/referrers/${subject}`, (body) =>
      (body['manifests'] as { digest: string }[]).map(({ digest }) => digest),
    );
    expect([digests.length, new Set(digests).size]).toEqual([5, 5]);
  });
});
