import { randomBytes } from 'node:crypto';
import { open, readdir, stat, truncate, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, RegistryFixture } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';

let fixture: RegistryFixture;
beforeAll(async () => {
  fixture = await RegistryFixture.start();
});
afterAll(() => fixture.stop());

function fileOf(digest: Digest): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(fixture.directory, 'blobs', algorithm, hex.slice(0, 2), hex);
}

describe('blobs', () => {
  it.each([0, 1, 6000, 3_500_000])(
    'end-2: serves %i bytes with digest, length and a strong tag',
    async (size) => {
      const content = randomBytes(size);
      const digest = await fixture.pushBlob('blobs', content);
      const get = await fixture.send('GET', `/v2/blobs/blobs/${digest}`);
      expect(get.body.equals(content)).toBe(true);
      const head = await fixture.send('HEAD', `/v2/blobs/blobs/${digest}`);
      for (const answer of [get, head]) {
        expect(answer.status).toBe(200);
        expect(answer.headers).toMatchObject({
          'docker-content-digest': digest,
          'content-length': String(size),
          'content-type': 'application/octet-stream',
          'x-content-type-options': 'nosniff',
          etag: `"${digest}"`,
          'accept-ranges': 'bytes',
        });
      }
      const again = await fixture.send('GET', `/v2/blobs/blobs/${digest}`, {
        headers: { 'if-none-match': `W/"x", "${digest}"` },
      });
      expect([again.status, again.body.length]).toEqual([304, 0]);
    },
  );

  describe.each([6000, 3_500_000])('ranges of %i bytes', (size) => {
    const content = randomBytes(size);
    const get = async (headers: Record<string, string>) => {
      const digest = await fixture.pushBlob('ranges', content);
      return await fixture.send('GET', `/v2/ranges/blobs/${digest}`, { headers });
    };
    it.each([
      ['bytes=500-1499', 500, 1500],
      ['bytes=500-', 500, size],
      ['bytes=-500', size - 500, size],
      ['bytes=-99999999', 0, size],
      ['bytes=2000-99999999', 2000, size],
      ['bytes=0-0', 0, 1],
    ])('serves %s', async (range, start, end) => {
      const answer = await get({ range });
      expect(answer.status).toBe(206);
      expect(answer.headers['content-range']).toBe(`bytes ${start}-${end - 1}/${size}`);
      expect(answer.body.equals(content.subarray(start, end))).toBe(true);
    });
    it.each(['bytes=500-0', 'bytes=99999999-', 'bytes=-0'])('cannot serve %s', async (range) => {
      const answer = await get({ range });
      expect([answer.status, answer.headers['content-range']]).toEqual([416, `bytes */${size}`]);
    });
    it.each(['bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', 'bytes=-'])('ignores %s', async (range) => {
      expect((await get({ range })).status).toBe(200);
    });
    it('serves all when the content is not what If-Range says', async () => {
      expect((await get({ range: 'bytes=0-9', 'if-range': '"other"' })).status).toBe(200);
      const same = `"${digestOf(content)}"`;
      expect((await get({ range: 'bytes=0-9', 'if-range': same })).status).toBe(206);
    });
  });

  it('end-10: deletes from one repository and leaves the others alone', async () => {
    const digest = await fixture.pushBlob('one', 'shared');
    await fixture.pushBlob('two', 'shared');
    expect((await fixture.send('DELETE', `/v2/one/blobs/${digest}`)).status).toBe(202);
    expect((await fixture.send('GET', `/v2/two/blobs/${digest}`)).status).toBe(200);
    const gone = await fixture.send('GET', `/v2/one/blobs/${digest}`);
    expect([gone.status, errorCode(gone)]).toEqual([404, 'BLOB_UNKNOWN']);
    expect((await fixture.send('DELETE', `/v2/one/blobs/${digest}`)).status).toBe(404);
    expect((await fixture.send('DELETE', `/v2/two/blobs/${digest}`)).status).toBe(202);
    await expect(stat(fileOf(digest))).rejects.toThrow('ENOENT');
  });

  const flip = async (path: string): Promise<void> => {
    const { mtime, atime } = await stat(path);
    const file = await open(path, 'r+');
    await file.write(Buffer.from([1, 2, 3]), 0, 3, 10);
    await file.close();
    await utimes(path, atime, mtime);
  };
  describe.each([5000, 2_500_000])('a blob of %i bytes that was', (size) => {
    it.each([
      ['changed, its time put back', flip],
      ['cut short', (path: string) => truncate(path, 100)],
      ['emptied', (path: string) => truncate(path, 0)],
      ['lengthened', (path: string) => truncate(path, size + 10)],
      ['removed', unlink],
    ])('%s is unknown until it is pushed again', async (_name, damage) => {
      const content = randomBytes(size);
      const digest = await fixture.pushBlob('damage', content);
      await fixture.pushBlob('damage-too', content);
      await fixture.restart();
      await damage(fileOf(digest));
      const path = `/v2/damage/blobs/${digest}`;
      expect((await fixture.send('HEAD', path)).status).toBe(404);
      expect((await fixture.send('GET', path)).status).toBe(404);
      const mount = await fixture.send('POST', `/v2/elsewhere/blobs/uploads/?mount=${digest}&from=damage`);
      expect(mount.status).toBe(202);
      await fixture.pushBlob('damage', content);
      expect((await fixture.send('GET', path)).body.equals(content)).toBe(true);
      const other = await fixture.send('GET', `/v2/damage-too/blobs/${digest}`);
      expect(other.body.equals(content)).toBe(true);
    });
  });

  it('finds damage by GET alone, and keeps the damaged file aside', async () => {
    const digest = await fixture.pushBlob('aside', randomBytes(1_500_000));
    await flip(fileOf(digest));
    expect((await fixture.send('GET', `/v2/aside/blobs/${digest}`)).status).toBe(404);
    const kept = await readdir(join(fixture.directory, 'quarantine'));
    expect(kept.some((name) => name.startsWith(digest.replace(':', '-')))).toBe(true);
  });

  it('serves a sound file whose times have changed, as after a restore from a backup', async () => {
    const content = randomBytes(1_500_000);
    const digest = await fixture.pushBlob('restored', content);
    await utimes(fileOf(digest), 1, 1);
    expect((await fixture.send('HEAD', `/v2/restored/blobs/${digest}`)).status).toBe(200);
    expect((await fixture.send('GET', `/v2/restored/blobs/${digest}`)).body.equals(content)).toBe(true);
  });
});
