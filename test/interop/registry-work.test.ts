import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, imageOf, MEDIA } from '../conformance/content.ts';
import { withQuery } from '../conformance/registry.ts';
import { cleanUp } from '../support/mural.ts';
import { type RegistryForClients, startRegistryForClients } from '../support/registry-for-clients.ts';
import { run, tryRun } from '../support/run.ts';

describe("what people do with a registry, by other people's clients", () => {
  let at: RegistryForClients;
  let layer: string;
  beforeAll(async () => {
    at = await startRegistryForClients();
    await writeFile(join(at.folder, 'file.bin'), randomBytes(3_000_000));
    layer = join(at.folder, 'layer.tar');
    await run('tar', ['-cf', layer, '-C', at.folder, 'file.bin']);
  });
  afterAll(async () => {
    at.registry.close();
    await cleanUp();
  });

  const sha256 = (bytes: Buffer | string): string =>
    `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

  it('crane pushes, pulls, lists, copies, tags and deletes', async () => {
    const crane = async (...args: string[]): Promise<string> =>
      (await run('crane', args, { env: at.env })).trim();
    const repository = `${at.host}/clients/crane`;
    await crane('append', '-f', layer, '-t', `${repository}:v1`);
    const digest = await crane('digest', `${repository}:v1`);
    expect(sha256(await run('crane', ['manifest', `${repository}:v1`], { env: at.env }))).toBe(digest);
    await crane('validate', '--remote', `${repository}:v1`);
    await crane('pull', '--format=oci', `${repository}:v1`, join(at.folder, 'crane'));
    await crane('push', join(at.folder, 'crane'), `${repository}:again`);
    expect(await crane('digest', `${repository}:again`)).toBe(digest);
    await crane('copy', `${repository}:v1`, `${at.host}/clients/crane-copy:v1`);
    expect(await crane('digest', `${at.host}/clients/crane-copy:v1`)).toBe(digest);
    await crane('tag', `${repository}:v1`, 'v2');
    expect((await crane('ls', repository)).split('\n')).toEqual(['again', 'v1', 'v2']);
    expect((await crane('catalog', at.host)).split('\n')).toContain('clients/crane');
    await crane('index', 'append', '-m', `${repository}:v1`, '-t', `${repository}:all`);
    await crane('validate', '--remote', `${repository}:all`);
    await crane('delete', `${repository}:v2`);
    await crane('delete', `${repository}@${digest}`);
    expect(await crane('ls', repository)).toBe('all');
    expect((await tryRun('crane', ['digest', `${repository}:v1`], { env: at.env })).code).not.toBe(0);
  });

  it('oras pushes, pulls, lists, attaches, discovers and deletes', async () => {
    const oras = (...args: string[]): Promise<string> => run('oras', args, { env: at.env, cwd: at.folder });
    const repository = `${at.host}/clients/oras`;
    const push = ['push', '--artifact-type', 'application/vnd.example.app', '--format', 'json'];
    const pushed = JSON.parse(await oras(...push, `${repository}:v1`, 'file.bin')) as { digest: string };
    expect(await oras('resolve', `${repository}:v1`)).toBe(`${pushed.digest}\n`);
    await oras('pull', '--output', 'oras-out', `${repository}:v1`);
    const out = await readFile(join(at.folder, 'oras-out', 'file.bin'));
    expect(out.equals(await readFile(join(at.folder, 'file.bin')))).toBe(true);
    const attach = ['attach', '--artifact-type', 'application/vnd.example.sbom', '--format', 'json'];
    await writeFile(join(at.folder, 'sbom.json'), '{}');
    const attached = JSON.parse(await oras(...attach, `${repository}:v1`, 'sbom.json')) as { digest: string };
    const discover = async (): Promise<string> =>
      await oras('discover', '--format', 'json', `${repository}:v1`);
    expect(await discover()).toContain(attached.digest);
    await oras('cp', '-r', `${repository}:v1`, `${at.host}/clients/oras-copy:v1`);
    expect(await oras('resolve', `${at.host}/clients/oras-copy:v1`)).toBe(`${pushed.digest}\n`);
    expect(await oras('discover', '--format', 'json', `${at.host}/clients/oras-copy:v1`)).toContain(
      attached.digest,
    );
    await oras('tag', `${repository}:v1`, 'v2');
    expect(await oras('repo', 'tags', repository)).toBe('v1\nv2\n');
    expect(await oras('repo', 'ls', at.host)).toContain('clients/oras');
    await oras('manifest', 'delete', '--force', `${repository}@${attached.digest}`);
    expect(await discover()).not.toContain(attached.digest);
    await oras('manifest', 'delete', '--force', `${repository}:v2`);
    const blob = sha256(await readFile(join(at.folder, 'file.bin')));
    await oras('manifest', 'delete', '--force', `${repository}@${pushed.digest}`);
    await oras('blob', 'delete', '--force', `${repository}@${blob}`);
    expect((await at.registry.send('HEAD', `/v2/clients/oras/blobs/${blob}`)).status).toBe(404);
  });

  it('skopeo copies in and out, converts, lists, inspects and deletes', async () => {
    const from = ['--src-cert-dir', at.certificates, '--src-authfile', at.dockerConfig];
    const to = ['--dest-cert-dir', at.certificates, '--dest-authfile', at.dockerConfig];
    const one = ['--cert-dir', at.certificates, '--authfile', at.dockerConfig];
    const skopeo = (...args: string[]): Promise<string> =>
      run('skopeo', ['--insecure-policy', ...args], { env: at.env });
    const config = contentOf(
      JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
    );
    await at.registry.pushBlob('clients/source', config);
    const image = imageOf(config, []);
    await at.registry.pushManifest('clients/source', image, MEDIA.image, 'v1');
    const target = `docker://${at.host}/clients/skopeo`;
    await skopeo(
      'copy',
      ...from,
      `docker://${at.host}/clients/source:v1`,
      `oci:${join(at.folder, 'skopeo')}:v1`,
    );
    await skopeo('copy', '--preserve-digests', ...to, `oci:${join(at.folder, 'skopeo')}:v1`, `${target}:v1`);
    const inspected = JSON.parse(await skopeo('inspect', ...one, `${target}:v1`)) as { Digest: string };
    expect(inspected.Digest).toBe(image.digest);
    await skopeo('copy', '--format', 'v2s2', ...from, ...to, `${target}:v1`, `${target}:docker`);
    const docker = await at.registry.getManifest('clients/skopeo', 'docker');
    expect(docker.headers['content-type']).toBe(MEDIA.dockerImage);
    expect(JSON.parse(await skopeo('list-tags', ...one, target))).toMatchObject({ Tags: ['docker', 'v1'] });
    await skopeo('delete', ...one, `${target}:v1`);
    expect((await at.registry.getManifest('clients/skopeo', image.digest)).status).toBe(404);
    expect(JSON.parse(await skopeo('list-tags', ...one, target))).toMatchObject({ Tags: ['docker'] });
  });

  it('a push as docker does it: a look, chunks without ranges, a PUT without a body', async () => {
    const { registry } = at;
    const blobs = [contentOf('{}'), contentOf(randomBytes(5_000_000))];
    for (const blob of blobs) {
      expect((await registry.send('HEAD', `/v2/clients/docker/blobs/${blob.digest}`)).status).toBe(404);
      const location = await registry.begin('clients/docker');
      const half = blob.bytes.length >> 1;
      const body = [blob.bytes.subarray(0, half), blob.bytes.subarray(half)];
      const patched = await registry.send('PATCH', location, { body });
      expect(patched.status).toBe(202);
      const put = withQuery(patched.headers.location ?? '', { digest: blob.digest });
      expect((await registry.send('PUT', put)).status).toBe(201);
    }
    const [config = contentOf(''), content = contentOf('')] = blobs;
    const image = imageOf(config, [content], { mediaType: MEDIA.dockerImage });
    await registry.pushManifest('clients/docker', image, MEDIA.dockerImage, 'latest');
    expect((await run('crane', ['digest', `${at.host}/clients/docker:latest`], { env: at.env })).trim()).toBe(
      image.digest,
    );
  });
});
