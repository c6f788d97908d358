import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OciError, packArtifact, unpackLayer } from './index.ts';

interface RawEntry {
  readonly name: string | Buffer;
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly size?: number;
  readonly link?: string;
  readonly magic?: string;
}

/** A tar as a hostile or careless writer makes it. */
function rawTar(entries: readonly RawEntry[], end = true): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '');
    const header = Buffer.alloc(512);
    Buffer.from(entry.name).copy(header, 0, 0, 100);
    header.write('0000644\0', 100);
    header.write(`${(entry.size ?? content.length).toString(8).padStart(11, '0')}\0`, 124);
    header.write(entry.type ?? '0', 156, 'latin1');
    header.write(entry.link ?? '', 157);
    header.write(entry.magic ?? 'ustar\u000000', 257);
    header.fill(0x20, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(end ? 1024 : 0)]);
}

function pax(records: Record<string, string>): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + String(rest).length;
    if (rest + String(length).length !== length) length = rest + String(length).length;
    return `${length} ${key}=${value}\n`;
  });
  return Buffer.from(lines.join(''));
}

const refusal = { name: 'OciError', code: 'ArchiveInvalid' };

describe('unpackLayer', () => {
  it.each([
    ['a parent', { name: '../evil' }],
    ['a parent further in', { name: 'a/../../evil' }],
    ['a segment that ends in dots', { name: 'a../b' }],
    ['an absolute path', { name: '/etc/cron.d/x' }],
    ['a backslash', { name: 'a\\..\\b' }],
    ['a control character', { name: 'a\nb' }],
    ['a drive', { name: 'c:evil' }],
    ['an empty name', { name: '' }],
    ['a symbolic link', { name: 'l', type: '2', link: '/etc' }],
    ['a symbolic link within the tree', { name: 'l', type: '2', link: 'a' }],
    ['a hard link', { name: 'l', type: '1', link: 'a' }],
    ['a character device', { name: 'd', type: '3' }],
    ['a block device', { name: 'd', type: '4' }],
    ['a pipe', { name: 'p', type: '6' }],
    ['a sparse file', { name: 's', type: 'S' }],
    ['a kind nobody knows', { name: 'q', type: 'Q' }],
    ['a file that ends in a slash', { name: 'f/', type: '0' }],
    ['an absolute directory', { name: '/', type: '5' }],
  ] satisfies [string, RawEntry][])('refuses %s and names it', async (_name, entry) => {
    const path = entry.name;
    await expect(unpackLayer(rawTar([{ name: 'ok', content: 'x' }, entry]))).rejects.toMatchObject({
      ...refusal,
      facts: { path },
    });
  });

  it.each([
    ['a file twice', ['a', 'a']],
    ['another case', ['a.yaml', 'A.YAML']],
    ['another Unicode form', ['\u00e9', 'e\u0301']],
    ['a file as a directory', ['a', 'a/b']],
    ['a directory as a file', ['a/b', 'a']],
    ['a directory in another case', ['dir/a', 'DIR/b']],
    ['./ before the same name', ['a', './a']],
  ])('refuses %s', async (_name, names) => {
    await expect(unpackLayer(rawTar(names.map((name) => ({ name }))))).rejects.toMatchObject(refusal);
  });

  it('refuses a path that an extended header smuggles in', async () => {
    const hidden = [
      { name: 'x', type: 'x', content: pax({ path: '../../evil' }) },
      { name: 'innocent', content: 'x' },
    ];
    await expect(unpackLayer(rawTar(hidden))).rejects.toMatchObject({
      ...refusal,
      facts: { path: '../../evil' },
    });
    const long = [{ name: '././@LongLink', type: 'L', content: '/evil\0' }, { name: 'innocent' }];
    await expect(unpackLayer(rawTar(long))).rejects.toMatchObject({ ...refusal, facts: { path: '/evil' } });
  });

  it('reads the long names that Go and GNU tar write, and ignores global headers', async () => {
    const long = `${'d'.repeat(120)}/${'n'.repeat(120)}.yaml`;
    const archive = rawTar([
      { name: 'pax_global_header', type: 'g', content: pax({ comment: 'abc' }) },
      { name: './', type: '5' },
      { name: './a.yaml', content: 'a' },
      { name: 'x', type: 'x', content: pax({ path: long, mtime: '1.5' }) },
      { name: 'short', content: 'b' },
      { name: '././@LongLink', type: 'L', content: `${long}2\0`, magic: 'ustar  \0' },
      { name: 'short', content: 'c', magic: 'ustar  \0' },
    ]);
    const files = await unpackLayer(archive);
    expect([...files.keys()]).toEqual(['a.yaml', long, `${long}2`]);
  });

  it('reads what tar makes of a directory', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'mural-oci-'));
    try {
      await mkdir(join(directory, 'in/sub'), { recursive: true });
      await writeFile(join(directory, 'in/sub/a.yaml'), 'a: 1\n');
      for (const format of ['gnu', 'ustar', 'posix']) {
        const args = ['-czf', '-', `--format=${format}`, '-C', join(directory, 'in'), '.'];
        const { stdout } = await promisify(execFile)('tar', args, { encoding: 'buffer' });
        const files = await unpackLayer(stdout);
        expect([...files].map(([path, file]) => [path, Buffer.from(file.content).toString()])).toEqual([
          ['sub/a.yaml', 'a: 1\n'],
        ]);
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('keeps to its limits', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    await expect(unpackLayer(bomb, { maxBytes: 1024 * 1024 })).rejects.toThrow(/more than 1048576/);
    const plain = rawTar([{ name: 'a', content: 'x'.repeat(2000) }]);
    await expect(unpackLayer(plain, { maxBytes: 1500 })).rejects.toMatchObject(refusal);
    await expect(unpackLayer(plain, { maxFileBytes: 1999 })).rejects.toMatchObject({ facts: { path: 'a' } });
    const many = rawTar(Array.from({ length: 11 }, (_, index) => ({ name: `f${index}` })));
    await expect(unpackLayer(many, { maxEntries: 10 })).rejects.toThrow(/more than 10 entries/);
    const giant = rawTar([{ name: 'a', size: 0o77777777777 }]);
    await expect(unpackLayer(giant)).rejects.toMatchObject({ ...refusal, facts: { path: 'a' } });
  });

  it('refuses what is damaged', async () => {
    const good = rawTar([{ name: 'a', content: 'hello' }]);
    const wrongSum = Buffer.from(good);
    wrongSum[0] = 0x62;
    const packed = gzipSync(good);
    const wrongCrc = Buffer.from(packed);
    wrongCrc[wrongCrc.length - 5] = (wrongCrc[wrongCrc.length - 5] ?? 0) ^ 1;
    const damaged: Uint8Array[] = [
      wrongSum,
      wrongCrc,
      packed.subarray(0, packed.length - 9),
      good.subarray(0, 515),
      rawTar([{ name: 'a', content: 'hello' }], false),
      Buffer.concat([good.subarray(0, 1024), Buffer.alloc(512)]),
      rawTar([{ name: Buffer.from([0x61, 0xff]) }]),
      rawTar([{ name: 'x', type: 'x', content: '99 path=a\n' }, { name: 'a' }]),
      Buffer.alloc(0),
      Buffer.from('hello'),
    ];
    for (const bytes of damaged) await expect(unpackLayer(bytes)).rejects.toMatchObject(refusal);
  });

  it('gives only safe paths or an OciError, whatever bytes are turned', async () => {
    const files = [
      { path: 'dir/a.yaml', content: 'a: 1' },
      { path: 'b', content: '' },
    ];
    const artifact = await packArtifact({ files });
    const { gunzipSync } = await import('node:zlib');
    const tar = gunzipSync(artifact.layers[0]?.bytes ?? Buffer.alloc(0));
    const change = fc.record({ at: fc.nat(tar.length - 1), to: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const changed = Buffer.from(tar);
        for (const { at, to } of changes) changed[at] = to;
        try {
          for (const path of (await unpackLayer(changed)).keys()) expect(path).not.toMatch(/^\/|\.\.|\\/);
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
        }
      }),
    );
  });
});
