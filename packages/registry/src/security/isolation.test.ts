import { hashSync } from 'bcryptjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, errorCode, imageOf, RegistryFixture, type Sent } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';

const USERS = [
  { name: 'ann', passwordHash: hashSync('ann', 4), policies: [{ repositories: 'ann/**', actions: ALL() }] },
  { name: 'bob', passwordHash: hashSync('bob', 4), policies: [{ repositories: 'bob/**', actions: ALL() }] },
  { name: 'eve', passwordHash: hashSync('eve', 4), policies: [{ repositories: 'ann/**', actions: ALL() }] },
];
function ALL(): ('read' | 'create' | 'update' | 'delete')[] {
  return ['read', 'create', 'update', 'delete'];
}
const SIZES = [['small and cached', 100] as const, ['large', 700_000] as const];

let fixture: RegistryFixture;
afterEach(() => fixture.stop());

describe('a blob through a repository that may be read, of one that may not (CVE-2024-39897)', () => {
  const SECRET = 'the secret of bob';
  let secret: Digest;
  const ann = (method: string, path: string, sent: Sent = {}): Promise<Answer> =>
    fixture.send(method, path, { ...sent, as: 'ann:ann' });

  beforeEach(async () => {
    fixture = await RegistryFixture.start({ anonymous: 'none', users: USERS });
    secret = await fixture.pushBlob('bob/app', SECRET, 'bob:bob');
    await fixture.pushBlob('ann/app', 'something', 'ann:ann');
    await fixture.send('GET', `/v2/bob/app/blobs/${secret}`, { as: 'bob:bob' });
  });

  it.each([
    ['read', 'GET', (digest: string) => `/v2/ann/app/blobs/${digest}`],
    ['looked up', 'HEAD', (digest: string) => `/v2/ann/app/blobs/${digest}`],
    ['deleted', 'DELETE', (digest: string) => `/v2/ann/app/blobs/${digest}`],
    ['mounted', 'POST', (digest: string) => `/v2/ann/app/blobs/uploads/?mount=${digest}&from=bob/app`],
    ['found and mounted', 'POST', (digest: string) => `/v2/ann/app/blobs/uploads/?mount=${digest}`],
    [
      'mounted from itself',
      'POST',
      (digest: string) => `/v2/ann/app/blobs/uploads/?mount=${digest}&from=ann/app`,
    ],
  ])('is not %s, and the answer is that to a blob that nobody has', async (_how, method, path) => {
    const shape = async (digest: string): Promise<unknown[]> => {
      const answer = await ann(method, path(digest));
      const text = String(answer.body).replaceAll(digest, '');
      const names = Object.keys(answer.headers)
        .filter((name) => name !== 'location')
        .sort();
      return [answer.status, names, text];
    };
    expect(await shape(secret)).toEqual(await shape(digestOf('nobody has this')));
    expect((await ann('GET', `/v2/ann/app/blobs/${secret}`)).status).toBe(404);
  });

  it.each([{ range: 'bytes=0-0' }, { 'if-none-match': '*' }, { 'if-none-match': '"x"' }])(
    'no condition tells that it is there: %o',
    async (headers) => {
      const tagged = {
        ...headers,
        ...('if-none-match' in headers ? { 'if-none-match': `"${secret}"` } : {}),
      };
      for (const sent of [headers, tagged])
        expect((await ann('GET', `/v2/ann/app/blobs/${secret}`, { headers: sent })).status).toBe(404);
    },
  );

  it('no manifest makes it part of another repository', async () => {
    const config = await fixture.pushBlob('ann/app', '{}', 'ann:ann');
    const manifest = imageOf(config, { digest: secret, size: SECRET.length });
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    const answer = await ann('PUT', '/v2/ann/app/manifests/v1', { headers, body: manifest });
    expect([answer.status, errorCode(answer)]).toEqual([400, 'MANIFEST_BLOB_UNKNOWN']);
    expect((await ann('GET', `/v2/ann/app/blobs/${secret}`)).status).toBe(404);
  });

  it('an upload belongs to who began it, also in a repository that another may write', async () => {
    const begun = await ann('POST', '/v2/ann/app/blobs/uploads/');
    const location = begun.headers.location ?? '';
    for (const [method, sent] of [
      ['GET', {}],
      ['PATCH', { body: 'x' }],
      ['DELETE', {}],
    ] as const)
      expect((await fixture.send(method, location, { ...sent, as: 'eve:eve' })).status).toBe(404);
    const digest = digestOf('x');
    const taken = await fixture.send('PUT', `${location}?digest=${digest}`, { body: 'x', as: 'eve:eve' });
    expect(taken.status).toBe(404);
    expect((await ann('GET', location)).status).toBe(204);
  });

  it('referrers and tags are those of a repository that may be read', async () => {
    for (const path of [`referrers/${secret}`, 'tags/list', 'manifests/v1'])
      expect((await ann('GET', `/v2/bob/app/${path}`)).status).toBe(403);
  });
});

describe.each(SIZES)('a deleted blob, %s, stays dead (CVE-2026-35172)', (_size, size) => {
  const content = Buffer.alloc(size, 'b');
  const digest = digestOf(content);
  const gone = async (): Promise<void> => {
    const path = `/v2/a/app/blobs/${digest}`;
    for (const [method, headers] of [
      ['GET', {}],
      ['HEAD', {}],
      ['GET', { range: 'bytes=0-9' }],
      ['GET', { 'if-none-match': `"${digest}"` }],
    ] as const)
      expect((await fixture.send(method, path, { headers })).status).toBe(404);
    expect((await fixture.send('DELETE', path)).status).toBe(404);
  };
  beforeEach(async () => {
    fixture = await RegistryFixture.start({ useMs: 0, maintenance: { graceMs: 0 } });
    for (const name of ['a/app', 'b/app']) await fixture.pushBlob(name, content);
    for (const name of ['a/app', 'b/app']) await fixture.send('GET', `/v2/${name}/blobs/${digest}`);
    expect((await fixture.send('DELETE', `/v2/a/app/blobs/${digest}`)).status).toBe(202);
  });

  it('when another repository that has it is read', async () => {
    expect((await fixture.send('GET', `/v2/b/app/blobs/${digest}`)).body.equals(content)).toBe(true);
    await gone();
  });

  it('when it is mounted or pushed elsewhere', async () => {
    await fixture.pushBlob('c/app', content);
    await fixture.send('POST', `/v2/d/app/blobs/uploads/?mount=${digest}&from=b/app`);
    await gone();
  });

  it('after a restart', async () => {
    await fixture.restart();
    await gone();
  });

  it('when the last repository has lost it, for mounts and manifests too', async () => {
    expect((await fixture.send('DELETE', `/v2/b/app/blobs/${digest}`)).status).toBe(202);
    await gone();
    const mount = await fixture.send('POST', `/v2/a/app/blobs/uploads/?mount=${digest}&from=b/app`);
    expect(mount.status).toBe(202);
    const config = await fixture.pushBlob('a/app', '{}');
    const answer = await fixture.pushManifest('a/app', 'v1', imageOf(config, { digest, size }));
    expect(errorCode(answer)).toBe('MANIFEST_BLOB_UNKNOWN');
    await gone();
  });

  it('when it was collected, and lives again when it is pushed again', async () => {
    await fixture.registry.maintenance.collect();
    for (const name of ['a/app', 'b/app'])
      expect((await fixture.send('GET', `/v2/${name}/blobs/${digest}`)).status).toBe(404);
    await gone();
    await fixture.pushBlob('a/app', content);
    expect((await fixture.send('GET', `/v2/a/app/blobs/${digest}`)).body.equals(content)).toBe(true);
    expect((await fixture.send('GET', `/v2/b/app/blobs/${digest}`)).status).toBe(404);
  });
});

describe('a deleted manifest stays dead', () => {
  it.each(['by its digest', 'by its tags', 'after a restart'])('%s', async (how) => {
    fixture = await RegistryFixture.start();
    const { digest, bytes } = await fixture.pushImage('a', 'v1');
    const etag = `"${digest}"`;
    expect((await fixture.send('DELETE', `/v2/a/manifests/${digest}`)).status).toBe(202);
    if (how === 'after a restart') await fixture.restart();
    const reference = how === 'by its tags' ? 'v1' : digest;
    for (const headers of [{}, { 'if-none-match': etag }])
      expect((await fixture.send('GET', `/v2/a/manifests/${reference}`, { headers })).status).toBe(404);
    expect((await fixture.pushManifest('b', 'v1', bytes)).status).toBe(400);
  });
});
