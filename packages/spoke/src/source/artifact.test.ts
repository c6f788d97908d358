import { rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { eventually } from '@mural/core/testing';
import { OCI_REPOSITORIES } from '@mural/kube';
import { digestOf } from '@mural/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conditionOf, NAMESPACE } from '../testing/bed.ts';
import { REPOSITORY, SourceBed } from '../testing/source-bed.ts';
import { ArtifactStorage } from './storage.ts';

let bed: SourceBed;
beforeEach(async () => {
  bed = await SourceBed.create();
});
afterEach(async () => bed.close());

const one = { 'a.yaml': 'a: 1\n' };
const two = { 'a.yaml': 'a: 2\n' };

describe('a pull that fails', () => {
  const stalls = { kind: 'stall' } as const;

  it('at a registry that is away is tried again, with back-off, and recovery is told', async () => {
    const digest = await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    const heal = bed.registry.fail({ fault: { kind: 'reset' } });
    await bed.push(two, 'v1');
    await bed.clock.advance(600_000);
    const failing = eventually(async () => {
      await bed.clock.advance(1000);
      return conditionOf(bed.get(), 'Ready')?.status === 'False';
    });
    await failing;
    const away = bed.get();
    expect(conditionOf(away, 'Ready')).toMatchObject({ reason: 'OCIArtifactPullFailed' });
    expect(conditionOf(away, 'Ready')?.message).toMatch(/^failed to determine artifact digest: /);
    expect(conditionOf(away, 'FetchFailed')?.status).toBe('True');
    expect(conditionOf(away, 'Reconciling')).toMatchObject({
      status: 'True',
      reason: 'ProgressingWithRetry',
    });
    // The last good artifact stays offered.
    expect(away?.status?.artifact?.revision).toBe(`v1@${digest}`);
    expect(conditionOf(away, 'ArtifactInStorage')?.status).toBe('True');
    heal();
    await eventually(async () => {
      await bed.clock.advance(5000);
      return conditionOf(bed.get(), 'Ready')?.status === 'True';
    });
    expect(conditionOf(bed.get(), 'FetchFailed')).toBeUndefined();
    expect((await bed.events()).map(({ type, reason }) => [type, reason])).toEqual([
      ['Normal', 'NewArtifact'],
      ['Warning', 'OCIArtifactPullFailed'],
      ['Normal', 'NewArtifact'],
    ]);
  });

  it('and comes back to what is stored tells that it succeeded', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    const heal = bed.registry.fail({ fault: { kind: 'answer', status: 404 } });
    await bed.reconcile();
    expect(conditionOf(bed.get(), 'Ready')?.message).toContain('is not in the registry');
    heal();
    await bed.clock.advance(5000);
    await bed.reason('Succeeded');
    expect((await bed.events()).at(-1)).toMatchObject({ type: 'Normal', reason: 'Succeeded' });
  });

  it.each([
    ['that never answers', { fault: stalls }],
    ['that sends half a blob', { fault: { kind: 'stall-body' }, path: /blobs/ }],
  ] as const)('at a registry %s ends at spec.timeout', async (_name, rule) => {
    await bed.push(one, 'v1');
    bed.registry.fail(rule);
    await bed.create({ ref: { tag: 'v1' }, timeout: '5s' });
    bed.start();
    const last = rule.fault.kind === 'stall' ? /manifests/ : /blobs/;
    await eventually(() => bed.registry.requests.some(({ path }) => last.test(path)));
    await bed.clock.advance(4000);
    expect(conditionOf(bed.get(), 'Ready')).toBeUndefined();
    await bed.clock.advance(1001);
    const source = await bed.reason('OCIArtifactPullFailed');
    expect(conditionOf(source, 'Ready')?.message).toMatch(/timed out after 5s/);
  });

  it('for a blob that was tampered with stores nothing', async () => {
    await bed.push(one, 'v1');
    bed.registry.fail({ fault: { kind: 'tamper' }, path: /blobs/ });
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await eventually(async () => {
      await bed.clock.advance(1000);
      return conditionOf(bed.get(), 'Ready')?.reason === 'OCIArtifactPullFailed';
    });
    expect(conditionOf(bed.get(), 'Ready')?.message).toMatch(
      /^failed to pull artifact from 'oci:.*does not match/,
    );
    expect(await bed.files()).toEqual([]);
    expect(bed.get()?.status?.artifact).toBeUndefined();
  });

  it('for a manifest that lies about a size stores nothing', async () => {
    const bytes = gzipSync('x');
    const blob = bed.registry.addBlob(REPOSITORY, bytes);
    const config = bed.registry.addBlob(REPOSITORY, '{}');
    const mediaType = 'application/vnd.cncf.flux.content.v1.tar+gzip';
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.cncf.flux.config.v1+json', digest: config, size: 2 },
      layers: [{ mediaType, digest: blob, size: bytes.length + 1 }],
    };
    bed.registry.addManifest(REPOSITORY, JSON.stringify(manifest), 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await eventually(async () => {
      await bed.clock.advance(1000);
      return conditionOf(bed.get(), 'Ready')?.reason === 'OCIArtifactPullFailed';
    });
    expect(await bed.files()).toEqual([]);
  });

  it('for an archive that leads out of itself stores nothing', async () => {
    await push(tarOf('../../etc/passwd', 'x'), 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    const source = await bed.reason('OCIArtifactLayerOperationFailed');
    expect(conditionOf(source, 'Ready')?.message).toMatch(
      /^failed to extract layer contents from artifact: /,
    );
    expect(await bed.files()).toEqual([]);
  });
});

describe('the stored artifact', () => {
  async function path(): Promise<string> {
    await bed.push(one, 'v1');
    await bed.create({ ref: { digest: await bed.push(one) } });
    bed.start();
    const source = await bed.reason('Succeeded');
    return join(bed.dataDir, source.status?.artifact?.path ?? '');
  }

  it.each([
    ['altered', async (file: string) => writeFile(file, 'altered')],
    ['cut off', async (file: string) => writeFile(file, '')],
    ['deleted', async (file: string) => rm(file)],
  ])('is fetched again when it was %s on the disk', async (_name, harm) => {
    const file = await path();
    await harm(file);
    bed.requests();
    const source = await bed.reconcile();
    expect(bed.requests().some((line) => line.includes('/blobs/'))).toBe(true);
    expect(await bed.stored(source)).toEqual(['a.yaml']);
    expect(conditionOf(source, 'Ready')?.status).toBe('True');
  });

  it('is not offered any more when it is lost and the registry is away', async () => {
    const file = await path();
    await rm(file);
    bed.registry.fail({ fault: { kind: 'answer', status: 404 } });
    const source = await bed.reconcile();
    expect(source.status?.artifact).toBeUndefined();
    expect(conditionOf(source, 'ArtifactInStorage')).toBeUndefined();
    expect(conditionOf(source, 'Ready')?.status).toBe('False');
  });

  it('outlives a restart while the registry is away', async () => {
    await path();
    const before = bed.get()?.status?.artifact;
    await bed.halt();
    bed.registry.fail({ fault: { kind: 'reset' } });
    bed.start();
    const source = await bed.reconcile();
    expect(source.status?.artifact).toEqual(before);
    expect(conditionOf(source, 'Ready')?.status).toBe('True');
  });

  it('goes with the source', async () => {
    await path();
    await bed.api.delete(OCI_REPOSITORIES, { namespace: NAMESPACE, name: 'source' });
    await eventually(() => bed.get() === undefined);
    expect(await bed.files()).toEqual([]);
  });

  it('holds what is not ignored, and is made again when what is ignored changes', async () => {
    const files = { 'a.yaml': 'a: 1', 'notes.md': 'x', 'pic.png': 'x', 'sub/b.yaml': 'b: 1' };
    await bed.create({ ref: { digest: await bed.push(files) } });
    bed.start();
    expect(await bed.stored(await bed.reason('Succeeded'))).toEqual(['a.yaml', 'notes.md', 'sub/b.yaml']);
    await bed.change({ ignore: '*.md\nsub/' });
    const source = await bed.until(({ status }) => status?.observedIgnore === '*.md\nsub/');
    expect(await bed.stored(source)).toEqual(['a.yaml', 'pic.png']);
  });

  it('is the layer that was selected, as it is for operation copy', async () => {
    const wanted = Buffer.from('not an archive');
    const digest = await push(wanted, 'v1', 'application/x.wanted');
    await bed.create({
      ref: { tag: 'v1' },
      layerSelector: { mediaType: 'application/x.wanted', operation: 'copy' },
    });
    bed.start();
    const source = await bed.reason('Succeeded');
    expect(source.status?.artifact?.digest).toBe(digestOf(wanted));
    expect(source.status?.artifact?.revision).toBe(`v1@${digest}`);
    expect(source.status?.observedLayerSelector).toEqual({
      mediaType: 'application/x.wanted',
      operation: 'copy',
    });
  });
});

describe('retention', () => {
  it('never removes what is kept, however old', async () => {
    const storage = new ArtifactStorage(bed.dataDir);
    const source = { namespace: 'a', name: 'b' };
    const old = await storage.write(source, Buffer.from('old'));
    await utimes(join(bed.dataDir, old.path), 1, 1);
    const middle = await storage.write(source, Buffer.from('middle'));
    const fresh = await storage.write(source, Buffer.from('fresh'));
    expect(await storage.collect(source, [old.digest, fresh.digest], 2)).toBe(1);
    expect(await storage.has(source, old.digest)).toBe(true);
    expect(await storage.has(source, middle.digest)).toBe(false);
  });

  it.each([
    ['..', 'x'],
    ['x', '../y'],
    ['x', 'a/b'],
    ['', 'x'],
    ['x', 'a..b'],
  ])('has no place for a source named %j/%j', async (namespace, name) => {
    const storage = new ArtifactStorage(bed.dataDir);
    await expect(storage.write({ namespace, name }, Buffer.from('x'))).rejects.toThrow(/cannot be a path/);
  });
});

/** Puts an artifact with one given layer into the registry. */
async function push(
  layer: Uint8Array,
  tag: string,
  type = 'application/vnd.cncf.flux.content.v1.tar+gzip',
): Promise<string> {
  const blob = bed.registry.addBlob(REPOSITORY, layer);
  const config = bed.registry.addBlob(REPOSITORY, '{}');
  const other = bed.registry.addBlob(REPOSITORY, 'other');
  const layers = [
    ...(type.includes('flux') ? [] : [{ mediaType: 'application/x.other', digest: other, size: 5 }]),
    { mediaType: type, digest: blob, size: layer.length },
  ];
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.cncf.flux.config.v1+json', digest: config, size: 2 },
    layers,
  };
  return bed.registry.addManifest(REPOSITORY, JSON.stringify(manifest), tag);
}

/** A gzipped ustar archive of one file. */
function tarOf(name: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const body = Buffer.alloc(512);
  body.write(content);
  return gzipSync(Buffer.concat([header, body, Buffer.alloc(1024)]));
}
