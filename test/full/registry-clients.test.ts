import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanUp } from '../support/mural.ts';
import { type RegistryForClients, startRegistryForClients } from '../support/registry-for-clients.ts';
import { run, tryRun } from '../support/run.ts';

describe('clients that take long to build', () => {
  let at: RegistryForClients;
  beforeAll(async () => {
    at = await startRegistryForClients();
    await mkdir(join(at.folder, 'source'));
    await writeFile(
      join(at.folder, 'source', 'cm.yaml'),
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n',
    );
  });
  afterAll(async () => {
    at.registry.close();
    await cleanUp();
  });

  /** Tags of a repository as the registry lists them. */
  async function tags(repository: string): Promise<string[]> {
    const answer = await at.registry.send('GET', `/v2/${repository}/tags/list`);
    return (JSON.parse(answer.body.toString()) as { tags: string[] }).tags;
  }

  it('regctl pushes, copies, lists, attaches and deletes', async () => {
    const regctl = async (args: string[], input = ''): Promise<string> =>
      (await run('regctl', args, { env: at.env, cwd: at.folder, input })).trim();
    const repository = `${at.host}/clients/regctl`;
    await regctl([
      'registry',
      'set',
      '--cacert',
      await readFile(join(at.certificates, 'ca.crt'), 'utf8'),
      at.host,
    ]);
    await regctl(
      ['artifact', 'put', '--artifact-type', 'application/vnd.example.app', `${repository}:v1`],
      'content',
    );
    const digest = await regctl(['manifest', 'head', `${repository}:v1`]);
    expect(await regctl(['artifact', 'get', `${repository}:v1`])).toBe('content');
    const attach = ['artifact', 'put', '--artifact-type', 'application/vnd.example.sbom', '--subject'];
    await regctl([...attach, `${repository}:v1`], 'sbom');
    expect(await regctl(['artifact', 'list', `${repository}:v1`])).toContain('application/vnd.example.sbom');
    await regctl(['image', 'copy', '--referrers', `${repository}:v1`, `${at.host}/clients/regctl-copy:v1`]);
    expect(await regctl(['manifest', 'head', `${at.host}/clients/regctl-copy:v1`])).toBe(digest);
    expect(await regctl(['artifact', 'list', `${at.host}/clients/regctl-copy:v1`])).toContain(
      'vnd.example.sbom',
    );
    await regctl(['image', 'copy', `${repository}:v1`, `${repository}:v2`]);
    expect(await regctl(['tag', 'ls', repository])).toBe('v1\nv2');
    expect(await regctl(['repo', 'ls', at.host])).toContain('clients/regctl');
    await regctl(['tag', 'delete', `${repository}:v2`]);
    expect(await tags('clients/regctl')).toEqual(['v1']);
    await regctl(['manifest', 'delete', `${repository}@${digest}`]);
    expect(await tags('clients/regctl')).toEqual([]);
  });

  it('flux pushes, tags, lists and pulls artifacts', async () => {
    const flux = (...args: string[]): Promise<string> => run('flux', args, { env: at.env, cwd: at.folder });
    const artifact = `oci://${at.host}/clients/flux:v1`;
    const source = ['--path', 'source', '--source', 'https://git.example/app', '--revision', 'main@sha1:1'];
    const pushed = JSON.parse(await flux('push', 'artifact', artifact, ...source, '--output', 'json')) as {
      digest: string;
    };
    const manifest = await at.registry.getManifest('clients/flux', 'v1');
    expect(manifest.headers['docker-content-digest']).toBe(pushed.digest);
    await flux('tag', 'artifact', artifact, '--tag', 'stable');
    expect(await flux('list', 'artifacts', `oci://${at.host}/clients/flux`)).toContain('stable');
    await mkdir(join(at.folder, 'pulled'));
    await flux('pull', 'artifact', artifact, '--output', 'pulled');
    expect(await readFile(join(at.folder, 'pulled', 'cm.yaml'), 'utf8')).toContain('ConfigMap');
    expect(await flux('diff', 'artifact', artifact, '--path', 'source')).toBe('');
  });

  it.each([
    ['referrers', 'true'],
    ['tags', 'false'],
  ])('cosign signs, attests, lists, verifies and cleans, by %s', async (how, bundles) => {
    const folder = join(at.folder, how);
    await mkdir(folder);
    const options = { env: { ...at.env, COSIGN_PASSWORD: '' }, cwd: folder };
    const cosign = (...args: string[]): Promise<string> => run('cosign', args, options);
    const repository = `clients/cosign-${how}`;
    const { manifest } = await at.registry.pushImage(repository, 'v1');
    const image = `${at.host}/${repository}@${manifest.digest}`;
    await cosign('generate-key-pair');
    const format = `--new-bundle-format=${bundles}`;
    const offline = [
      '--key',
      'cosign.key',
      '--yes',
      '--use-signing-config=false',
      '--tlog-upload=false',
      format,
    ];
    const check = ['--key', 'cosign.pub', '--insecure-ignore-tlog=true', format];
    expect((await tryRun('cosign', ['verify', ...check, image], options)).code).not.toBe(0);
    await cosign('sign', ...offline, image);
    await cosign('verify', ...check, image);
    await writeFile(join(folder, 'predicate.json'), '{"ok":true}');
    await cosign('attest', ...offline, '--predicate', 'predicate.json', '--type', 'custom', image);
    await cosign('verify-attestation', ...check, '--type', 'custom', image);
    expect(await cosign('tree', image)).toContain(manifest.digest);
    const listed = await at.registry.send('GET', `/v2/${repository}/referrers/${manifest.digest}`);
    const { manifests } = JSON.parse(listed.body.toString()) as { manifests: { digest: string }[] };
    expect(manifests.length).toBe(how === 'referrers' ? 2 : 0);
    const name = manifest.digest.replace(':', '-');
    expect(await tags(repository)).toEqual(how === 'tags' ? [`${name}.att`, `${name}.sig`, 'v1'] : ['v1']);
    if (how === 'tags') await cosign('clean', '--force', '--type', 'all', image);
    for (const { digest } of manifests)
      expect((await at.registry.send('DELETE', `/v2/${repository}/manifests/${digest}`)).status).toBe(202);
    expect(await tags(repository)).toEqual(['v1']);
    expect((await tryRun('cosign', ['verify', ...check, image], options)).code).not.toBe(0);
  });
});
