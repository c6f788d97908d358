import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanUp, deploymentReady, type Hub, mural, startHub, temporaryFolder } from '../support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from '../support/objects.ts';
import { run } from '../support/run.ts';

describe("other people's clients on our registry", () => {
  let hub: Hub;
  let folder: string;
  let reference: string;
  let digest: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    folder = await temporaryFolder();
    hub = await startHub();
    await apply(
      hub.client,
      everySpoke('all'),
      manifestsProfile('app', configMap('app', { a: '1' })),
      deployment('app', 'app', 'all'),
    );
    const ready = await deploymentReady(hub, 'app');
    const [spoke] = ready.status?.spokes ?? [];
    const host = new URL(hub.ready.registry).host;
    digest = spoke?.digest ?? '';
    reference = `${host}/mural/workloads:${spoke?.tag ?? ''}`;
    const bundle = join(folder, 'ca.crt');
    await writeFile(bundle, await readFile(hub.ready.ca));
    await mkdir(join(folder, 'certs'));
    await writeFile(join(folder, 'certs', 'ca.crt'), await readFile(hub.ready.ca));
    env = { DOCKER_CONFIG: join(hub.ready.dockerConfig, '..'), SSL_CERT_FILE: bundle, HOME: folder };
  });
  afterAll(cleanUp);

  it('crane reads what hue pushed, copies it out and back with the same digest', async () => {
    expect((await run('crane', ['digest', reference], { env })).trim()).toBe(digest);
    const out = join(folder, 'crane');
    await run('crane', ['pull', '--format=oci', reference, out], { env });
    const back = reference.replace(/:[^:]*$/, ':crane');
    await run('crane', ['push', out, back], { env });
    expect((await run('crane', ['digest', back], { env })).trim()).toBe(digest);
    await run('crane', ['validate', '--remote', reference], { env });
  });

  it('skopeo copies it out and back with the same digest', async () => {
    const certs = ['--src-cert-dir', join(folder, 'certs'), '--authfile', hub.ready.dockerConfig];
    const layout = `oci:${join(folder, 'skopeo')}:app`;
    await run('skopeo', ['--insecure-policy', 'copy', ...certs, `docker://${reference}`, layout], { env });
    const back = reference.replace(/:[^:]*$/, ':skopeo');
    const destination = ['--dest-cert-dir', join(folder, 'certs'), '--authfile', hub.ready.dockerConfig];
    await run('skopeo', ['--insecure-policy', 'copy', ...destination, layout, `docker://${back}`], { env });
    expect((await run('crane', ['digest', back], { env })).trim()).toBe(digest);
  });

  it('oras fetches the layer, and tar reads the manifests in it', async () => {
    const manifest = JSON.parse(await run('oras', ['manifest', 'fetch', reference], { env })) as {
      config: { mediaType: string };
      layers: { mediaType: string; digest: string }[];
    };
    expect(manifest.config.mediaType).toBe('application/vnd.cncf.flux.config.v1+json');
    expect(manifest.layers[0]?.mediaType).toBe('application/vnd.cncf.flux.content.v1.tar+gzip');
    const layer = join(folder, 'layer.tgz');
    const blob = `${reference.replace(/:[^:]*$/, '')}@${manifest.layers[0]?.digest ?? ''}`;
    await run('oras', ['blob', 'fetch', '--output', layer, blob], { env });
    const listing = (await run('tar', ['-tzf', layer])).split('\n').filter((line) => line.endsWith('.yaml'));
    expect(listing.length).toBeGreaterThan(0);
    expect(await run('tar', ['-xzOf', layer, listing[0] ?? ''])).toContain('name: app');
  });

  it('mural pushes, lists, tags and pulls artifacts that they read', async () => {
    const source = join(folder, 'manifests');
    await mkdir(source);
    await writeFile(join(source, 'cm.yaml'), configMap('by-hand', { a: '1' }));
    const ours = `oci://${reference.replace(/:[^:]*$/, ':by-hand')}`;
    const flags = ['--ca', hub.ready.ca];
    const push = [
      'push',
      'artifact',
      ours,
      '--path',
      source,
      '--source',
      'test',
      '--revision',
      'main@sha1:1',
      ...flags,
    ];
    const pushed = await mural([...push, '-o', 'json'], { env });
    expect(pushed.stderr).toBe('');
    const facts = JSON.parse(pushed.stdout) as { digest: string };
    expect((await run('crane', ['digest', ours.slice('oci://'.length)], { env })).trim()).toBe(facts.digest);
    expect((await mural(['tag', 'artifact', ours, '--tag', 'again', ...flags], { env })).code).toBe(0);
    const listed = await mural(['list', 'artifacts', ours.replace(/:[^:]*$/, ''), ...flags], { env });
    expect(listed.stdout).toContain('again');
    const pulled = await mural(['pull', 'artifact', ours, '--output', join(folder, 'pulled'), ...flags], {
      env,
    });
    expect(pulled.code).toBe(0);
    expect(await readFile(join(folder, 'pulled', 'cm.yaml'), 'utf8')).toContain('by-hand');
  });
});
