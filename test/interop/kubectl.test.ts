import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanUp, type Hub, ROOT, startHub, startSpoke, temporaryFolder } from '../support/mural.ts';
import { configMap } from '../support/objects.ts';
import { type Ran, run, tryRun } from '../support/run.ts';

describe('kubectl', () => {
  let hub: Hub;
  let folder: string;

  beforeAll(async () => {
    folder = await temporaryFolder();
    hub = await startHub();
    await Promise.all(
      ['edge-1', 'edge-2'].map(async (name) => startSpoke(hub, name, { labels: { tier: 'edge' } })),
    );
    await kubectl('apply', '--filename', join(ROOT, 'examples/quickstart'));
  });
  afterAll(cleanUp);

  const env = () => ({ KUBECONFIG: hub.ready.kubeconfig, HOME: folder });
  const kubectl = async (...args: string[]): Promise<string> => run('kubectl', args, { env: env() });
  const tryKubectl = async (...args: string[]): Promise<Ran> => tryRun('kubectl', args, { env: env() });
  async function file(name: string, text: string): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  }

  it('waits for the workload of the quickstart', async () => {
    const out = await kubectl(
      'wait',
      '--for=condition=Ready',
      'workloaddeployment',
      '--all',
      '--timeout=90s',
    );
    expect(out).toContain('condition met');
  });

  it('shows the sources as Flux does', async () => {
    const out = await kubectl('get', 'ocirepository', '--namespace', 'mural-system');
    const [header, ...rows] = out.trim().split('\n');
    expect(header?.split(/\s{2,}/)).toEqual(['NAME', 'URL', 'READY', 'STATUS', 'AGE']);
    expect(rows.length).toBeGreaterThan(1);
    for (const row of rows) {
      expect(row).toMatch(/oci:\/\/\S+\s+True\s+stored artifact for digest '\S+'/);
    }
  });

  it('reads the log of hue, and finds the pushes as the guide says', async () => {
    const out = await kubectl('logs', '--namespace', 'mural-system', 'deployment/hue');
    const pushes = out.split('\n').filter((line) => /push|oci/i.test(line));
    expect(pushes.some((line) => /sha256:[0-9a-f]{64}/.test(line))).toBe(true);
    expect(
      (await kubectl('logs', '--namespace', 'mural-system', 'deployment/hue', '--tail=1')).trim().split('\n'),
    ).toHaveLength(1);
  });

  it('lists and explains what the API serves', async () => {
    const resources = await kubectl('api-resources');
    for (const name of [
      'workloaddeployments',
      'spokes',
      'environments',
      'ocirepositories',
      'kustomizations',
      'deployments',
    ]) {
      expect(resources).toContain(name);
    }
    expect(await kubectl('explain', 'workloaddeployment.spec')).toContain('profileRef');
    expect(await kubectl('explain', 'deployment.spec.replicas')).toContain('integer');
    expect(await kubectl('explain', 'ocirepository.spec', '--recursive')).toContain('secretRef');
  });

  it('describes an object with its events', async () => {
    const name = (await kubectl('get', 'workloaddeployment', '--output', 'name')).trim().split('\n')[0] ?? '';
    const out = await kubectl('describe', name);
    expect(out).toMatch(/Conditions:/);
    expect(out).toMatch(/Events:\n\s+Type\s+Reason/);
  });

  it('applies on the client and on the server, patches, replaces, labels and deletes', async () => {
    const path = await file('cm.yaml', configMap('clientside', { a: '1' }));
    expect(await kubectl('apply', '-f', path)).toContain('configmap/clientside created');
    expect(await kubectl('apply', '-f', path)).toContain('configmap/clientside unchanged');
    await file('cm.yaml', configMap('clientside', { b: '2' }));
    expect(await kubectl('apply', '-f', path)).toContain('configmap/clientside configured');
    expect(await kubectl('get', 'cm', 'clientside', '-o', 'jsonpath={.data}')).toBe('{"b":"2"}');

    const server = await file('server.yaml', configMap('serverside', { a: '1' }));
    expect(await kubectl('apply', '--server-side', '-f', server)).toContain('serverside-applied');
    await kubectl('patch', 'cm', 'serverside', '--type=merge', '-p', '{"data":{"a":"2"}}');
    const conflict = await tryKubectl('apply', '--server-side', '-f', server);
    expect(conflict.code).not.toBe(0);
    expect(conflict.stderr).toMatch(/conflict with "kubectl-patch"/);
    expect(await kubectl('apply', '--server-side', '--force-conflicts', '-f', server)).toContain(
      'serverside-applied',
    );
    await kubectl(
      'patch',
      'cm',
      'serverside',
      '--type=json',
      '-p',
      '[{"op":"replace","path":"/data/a","value":"3"}]',
    );
    expect(await kubectl('get', 'cm', 'serverside', '-o', 'jsonpath={.data.a}')).toBe('3');
    await kubectl('label', 'cm', 'serverside', 'x=y');
    expect(await kubectl('get', 'cm', '-l', 'x=y', '-o', 'name')).toBe('configmap/serverside\n');
    await kubectl('delete', 'cm', 'serverside', 'clientside');
    expect((await tryKubectl('get', 'cm', 'serverside')).stderr).toContain('(NotFound)');
  });

  it('merges a Deployment strategically and scales it', async () => {
    await kubectl('create', 'deployment', 'web', '--image=nginx:1', '--replicas=1');
    const patch = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox"}]}}}}';
    await kubectl('patch', 'deployment', 'web', '-p', patch);
    const names = await kubectl(
      'get',
      'deployment',
      'web',
      '-o',
      'jsonpath={.spec.template.spec.containers[*].name}',
    );
    expect(names.split(' ').sort()).toEqual(['nginx', 'side']);
    await kubectl('scale', 'deployment', 'web', '--replicas=3');
    expect(await kubectl('get', 'deployment', 'web', '-o', 'jsonpath={.spec.replicas}')).toBe('3');
    await kubectl('set', 'image', 'deployment/web', 'nginx=nginx:2');
    expect(await kubectl('get', 'deployment', 'web', '-o', 'wide')).toContain('nginx:2');
    await kubectl('delete', 'deployment', 'web');
  });

  it('watches', async () => {
    const watch = spawn('kubectl', ['get', 'cm', '--watch', '--output', 'name'], {
      env: { ...process.env, ...env() },
    });
    let seen = '';
    watch.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    await eventually(async () => seen.length > 0 || (await kubectl('get', 'cm', '-o', 'name')).length > 0);
    await kubectl('create', 'configmap', 'watched');
    await eventually(() => seen.includes('configmap/watched'));
    watch.kill();
    await kubectl('delete', 'configmap', 'watched');
  });

  it('is told what is wrong', async () => {
    const unknown = await file(
      'unknown.yaml',
      'apiVersion: mural.dev/v1alpha1\nkind: Environment\nmetadata:\n  name: bad\nspec:\n  spokeselector: {}\n',
    );
    const strict = await tryKubectl('apply', '-f', unknown);
    expect(strict.code).not.toBe(0);
    expect(strict.stderr).toMatch(/unknown field "spec\.spokeselector"/);
    const missing = await file(
      'missing.yaml',
      'apiVersion: mural.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata:\n  name: bad\nspec:\n  environmentRef: {name: x}\n',
    );
    expect((await tryKubectl('apply', '-f', missing)).stderr).toMatch(/spec\.profileRef: Required value/);
    expect((await tryKubectl('get', 'nothings')).stderr).toMatch(
      /the server doesn't have a resource type "nothings"/,
    );
  });

  it('empties a namespace that is deleted', async () => {
    await kubectl('create', 'namespace', 'short-lived');
    await kubectl('create', 'configmap', 'inside', '--namespace', 'short-lived');
    await kubectl('delete', 'namespace', 'short-lived', '--timeout=30s');
    expect((await tryKubectl('get', 'namespace', 'short-lived')).stderr).toContain('(NotFound)');
  });

  it('shows the fleet', async () => {
    const out = await kubectl('get', 'spokes');
    for (const name of ['hub', 'edge-1', 'edge-2']) expect(out).toMatch(new RegExp(`${name}\\s+True`));
  });
});
