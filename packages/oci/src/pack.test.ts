import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, digestOfLarge, extractLayer, packArtifact, packDirectory, unpackLayer } from './index.ts';
import { writeTar } from './tar-write.ts';

const FILES = [
  { path: 'deploy/app.yaml', content: 'kind: Deployment\n' },
  { path: 'a.yaml', content: 'kind: ConfigMap\n' },
  { path: 'deploy.yaml', content: 'ä\n' },
  { path: 'bin/run', content: '#!/bin/sh\n', executable: true },
];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-oci-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function layerOf(artifact: Awaited<ReturnType<typeof packArtifact>>): Uint8Array {
  return artifact.layers[0]?.bytes ?? new Uint8Array();
}

describe('packArtifact', () => {
  it('gives the digests that it has always given', async () => {
    const artifact = await packArtifact({
      files: FILES,
      source: 'https://git.example/x',
      revision: 'main@sha1:0',
    });
    expect(artifact.contentDigest).toBe(
      'sha256:c4cdcce4ce8596ae2f9294d5af57f64e3a21a38b5b939c3e9bcbb382f707b306',
    );
    expect(artifact.config.digest).toBe(
      'sha256:5b943e2b943f6c81dbbd4e2eca5121f4fcc39139e3d1219d6d89bd925b77d9fe',
    );
    expect(artifact.digest).toBe('sha256:bba47bef954aef0a094b01a7bd3142fa3d216101520cc5b7c54bce2ea49d75f9');
  });

  it('does not depend on the order of files and annotations', async () => {
    const one = await packArtifact({ files: FILES, annotations: { b: '1', a: '2' } });
    const other = await packArtifact({ files: FILES.toReversed(), annotations: { a: '2', b: '1' } });
    expect(other.digest).toBe(one.digest);
  });

  it('takes the time from what it is given and never from the clock', async () => {
    const annotation = 'org.opencontainers.image.created';
    expect((await packArtifact({ files: FILES })).annotations[annotation]).toBe('1970-01-01T00:00:00Z');
    const created = '2026-01-02T03:04:05Z';
    expect((await packArtifact({ files: FILES, created })).annotations[annotation]).toBe(created);
  });

  it('writes a manifest as Flux does', async () => {
    const artifact = await packArtifact({
      files: FILES,
      source: 's',
      revision: 'r',
      annotations: { z: '1' },
    });
    const [layer] = artifact.layers;
    expect(Buffer.from(artifact.manifest).toString()).toBe(
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",' +
        `"config":{"mediaType":"application/vnd.cncf.flux.config.v1+json","size":115,"digest":"${artifact.config.digest}"},` +
        `"layers":[{"mediaType":"application/vnd.cncf.flux.content.v1.tar+gzip","size":${layer?.size ?? 0},"digest":"${layer?.digest ?? ''}"}],` +
        '"annotations":{"org.opencontainers.image.created":"1970-01-01T00:00:00Z",' +
        '"org.opencontainers.image.revision":"r","org.opencontainers.image.source":"s","z":"1"}}',
    );
    expect(artifact.digest).toBe(digestOf(artifact.manifest));
    expect(artifact.contentDigest).toBe(digestOf(gunzipSync(layerOf(artifact))));
  });

  it('writes a gzip header without time or system', async () => {
    const layer = layerOf(await packArtifact({ files: FILES }));
    expect(Buffer.from(layer.subarray(0, 10)).toString('hex')).toBe('1f8b08000000000000ff');
  });

  it('joins the pieces of a large archive to one stream that others read', async () => {
    const lines = Array.from(
      { length: 60_000 },
      (_, index) => `- name: item-${index}\n  value: ${index * 7919}\n`,
    );
    const content = lines.join('');
    const artifact = await packArtifact({ files: [{ path: 'large.yaml', content }] });
    expect(content.length).toBeGreaterThan(2_000_000);
    const unpacked = (await unpackLayer(layerOf(artifact))).get('large.yaml')?.content;
    expect(digestOf(unpacked ?? '')).toBe(digestOf(content));
    const path = join(directory, 'l.tgz');
    await writeFile(path, layerOf(artifact));
    const { stdout } = await promisify(execFile)('gzip', ['-dc', path], {
      maxBuffer: 1e8,
      encoding: 'buffer',
    });
    expect(digestOf(stdout)).toBe(artifact.contentDigest);
  });

  it('is read by tar with the modes and owners it wrote', async () => {
    const path = join(directory, 'l.tgz');
    await writeFile(path, layerOf(await packArtifact({ files: FILES })));
    const { stdout } = await promisify(execFile)('tar', ['--numeric-owner', '-tvzf', path], {
      env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
    });
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' '));
    expect(lines).toEqual(
      [
        '-rw-r--r-- 0/0 16 1970-01-01 00:00 a.yaml',
        'drwxr-xr-x 0/0 0 1970-01-01 00:00 bin',
        '-rwxr-xr-x 0/0 10 1970-01-01 00:00 bin/run',
        'drwxr-xr-x 0/0 0 1970-01-01 00:00 deploy',
        '-rw-r--r-- 0/0 3 1970-01-01 00:00 deploy.yaml',
        '-rw-r--r-- 0/0 17 1970-01-01 00:00 deploy/app.yaml',
      ].map((line) => line.replace(/ (bin|deploy)$/, ' $1')),
    );
  });

  it.each([
    '/etc/passwd',
    '../x',
    'a/../b',
    'a../b',
    'a//b',
    './a',
    'a\\b',
    'a\u0000b',
    '',
    'a/',
    'C:/x',
    '\ud800',
  ])('refuses the path %j', async (path) => {
    await expect(packArtifact({ files: [{ path, content: '' }] })).rejects.toMatchObject({
      code: 'ArchiveInvalid',
    });
  });

  it.each([
    ['twice the same', ['a', 'a']],
    ['paths that differ in case', ['a/b', 'A/c']],
    ['paths that differ in their Unicode form', ['\u00e4', 'a\u0308']],
    ['a file below a file', ['a', 'a/b']],
    ['a file where a directory is', ['a/b', 'a']],
  ])('refuses %s', async (_name, paths) => {
    const files = paths.map((path) => ({ path, content: '' }));
    await expect(packArtifact({ files })).rejects.toMatchObject({ code: 'ArchiveInvalid' });
  });

  it('divides long paths as USTAR does, and refuses those it cannot hold', async () => {
    const longest = `${'d'.repeat(100)}/${'e'.repeat(54)}/${'n'.repeat(100)}`;
    const artifact = await packArtifact({ files: [{ path: longest, content: 'x' }] });
    expect([...(await unpackLayer(layerOf(artifact))).keys()]).toEqual([longest]);
    for (const path of ['n'.repeat(101), `${'d'.repeat(156)}/n`, `d/${'n'.repeat(101)}`]) {
      await expect(packArtifact({ files: [{ path, content: '' }] })).rejects.toThrow(/too long/);
    }
  });

  it('unpacks to what was packed', async () => {
    const path = fc.stringMatching(/^[a-z]{1,6}(\/[a-z0-9]{1,6}){0,3}\.yaml$/);
    const file = fc.record({ path, content: fc.uint8Array({ maxLength: 2000 }), executable: fc.boolean() });
    const files = fc.uniqueArray(file, { selector: (one) => one.path, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(files, async (packed) => {
        const unpacked = await unpackLayer(layerOf(await packArtifact({ files: packed })));
        expect(new Map(packed.map((one) => [one.path, [Buffer.from(one.content), one.executable]]))).toEqual(
          new Map([...unpacked].map(([name, one]) => [name, [Buffer.from(one.content), one.executable]])),
        );
      }),
      { numRuns: 40 },
    );
  });
});

describe('digestOfLarge', () => {
  it('agrees with digestOf over its slices', async () => {
    const bytes = Buffer.alloc(9 * 1024 * 1024 + 3, 'mural');
    expect(await digestOfLarge(bytes)).toBe(digestOf(bytes));
  });
});

describe('packDirectory', () => {
  it('packs as packArtifact would, whatever the modes and the order on disk', async () => {
    for (const file of FILES) {
      await mkdir(join(directory, file.path, '..'), { recursive: true });
      await writeFile(join(directory, file.path), file.content, {
        mode: file.executable === true ? 0o700 : 0o600,
      });
    }
    const packed = await packDirectory(directory, { revision: 'r' });
    expect(packed.digest).toBe((await packArtifact({ files: FILES, revision: 'r' })).digest);
  });

  it('leaves out VCS files and what .sourceignore says', async () => {
    await mkdir(join(directory, '.git'));
    await mkdir(join(directory, 'docs/deep'), { recursive: true });
    const paths = [
      '.git/config',
      '.gitignore',
      'a.yaml',
      'b.txt',
      'keep.txt',
      'docs/deep/x.md',
      'docs/y.yaml',
    ];
    for (const path of paths) await writeFile(join(directory, path), path);
    await writeFile(
      join(directory, '.sourceignore'),
      '# comment\n*.txt\n!keep.txt\n/docs/**/*.md\n.sourceignore\n',
    );
    const artifact = await packDirectory(directory);
    expect([...(await unpackLayer(layerOf(artifact))).keys()]).toEqual(['a.yaml', 'docs/y.yaml', 'keep.txt']);
  });

  it('refuses symbolic links, wherever they point', async () => {
    await symlink('/etc/hostname', join(directory, 'link.yaml'));
    await expect(packDirectory(directory)).rejects.toMatchObject({
      code: 'ArchiveInvalid',
      facts: { path: 'link.yaml' },
    });
  });

  it('keeps to its limit', async () => {
    await writeFile(join(directory, 'a'), 'x'.repeat(11));
    await expect(packDirectory(directory, { maxBytes: 10 })).rejects.toMatchObject({ code: 'TooLarge' });
  });
});

describe('extractLayer', () => {
  it('puts everything into a new directory, for its owner alone', async () => {
    const target = join(directory, 'sub/out');
    await extractLayer(layerOf(await packArtifact({ files: FILES })), target);
    expect(await readFile(join(target, 'deploy/app.yaml'), 'utf8')).toBe('kind: Deployment\n');
    expect((await stat(join(target, 'a.yaml'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(target, 'bin/run'))).mode & 0o777).toBe(0o700);
  });

  it('writes over nothing and leaves nothing behind', async () => {
    await mkdir(join(directory, 'out'));
    await writeFile(join(directory, 'out/mine'), '');
    await expect(
      extractLayer(layerOf(await packArtifact({ files: FILES })), join(directory, 'out')),
    ).rejects.toThrow();
    await expect(extractLayer(writeTar(FILES).subarray(0, 700), join(directory, 'new'))).rejects.toThrow();
    expect(await readdir(directory)).toEqual(['out']);
    expect(await readdir(join(directory, 'out'))).toEqual(['mine']);
  });
});
