import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { WORKLOAD_DEPLOYMENTS, type WorkloadDeployment } from '@mural/kube';
import { OciError, RegistryClient } from '@mural/oci';
import { type RunningRegistry, startRegistry } from '@mural/registry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { adminOf, pushLayer } from './support/hand-push.ts';
import { cleanUp, deploymentReady, type Hub, mural, startHub, temporaryFolder } from './support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';

const SITE = { username: 'site', password: 'password-of-the-site-0815' };

describe('the settings of the registry of mural up', () => {
  let folder: string;
  let upstream: RunningRegistry;
  let consumer: Server;
  let hub: Hub;
  const heard: { readonly action: string; readonly target: { readonly repository: string } }[] = [];
  const clients: RegistryClient[] = [];

  function settings(quota: string, ofHub = '1Gi'): string {
    const { port } = consumer.address() as AddressInfo;
    return stringify({
      metrics: { port: 0 },
      events: { endpoints: [{ name: 'test', url: `http://127.0.0.1:${port}/`, repositories: ['team/**'] }] },
      token: { lifetime: '5m' },
      mirrors: [
        {
          ...{ prefix: 'site', upstream: upstream.url },
          credentials: { username: SITE.username, passwordFile: 'site-password' },
        },
      ],
      maintenance: {
        quotas: [
          { repositories: 'team/**', bytes: quota },
          { repositories: 'mural/**', bytes: ofHub },
        ],
        retention: [
          { repositories: '**', tags: [{ tags: '*', keepYoungerThan: '720h' }], untagged: 'remove' },
        ],
      },
    });
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    const policies = [{ repositories: '**', actions: ['read', 'create', 'update'] as const }];
    upstream = await startRegistry({
      ...{ dataDir: join(folder, 'upstream'), port: 0 },
      users: [{ name: SITE.username, password: SITE.password, policies }],
    });
    consumer = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        heard.push(...(JSON.parse(Buffer.concat(chunks).toString()) as { events: typeof heard }).events);
        response.end();
      });
    }).listen(0, '127.0.0.1');
    await once(consumer, 'listening');
    await mkdir(join(folder, 'etc'));
    await writeFile(join(folder, 'etc', 'site-password'), `${SITE.password}\n`);
    await writeFile(join(folder, 'etc', 'registry.yaml'), settings('8Ki'));
    hub = await startHub({ args: ['--registry-config', join(folder, 'etc', 'registry.yaml')] });
  }, 120_000);
  afterAll(async () => {
    await Promise.all(clients.map(async (client) => client.close()));
    await cleanUp();
    consumer.close();
    consumer.closeAllConnections();
    await upstream.close();
  });

  async function admin(): Promise<RegistryClient> {
    const client = await adminOf(hub);
    clients.push(client);
    return client;
  }

  /** Why a push of so many bytes is refused; undefined when it was taken. */
  async function refused(
    client: RegistryClient,
    repository: string,
    bytes: number,
  ): Promise<string | undefined> {
    try {
      await pushLayer(client, repository, 'v1', randomBytes(bytes));
      return undefined;
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      return error.code;
    }
  }

  it('leave the hub to its work', async () => {
    await apply(
      hub.client,
      manifestsProfile('shop', configMap('shop', { a: '1' })),
      everySpoke('all'),
      deployment('shop', 'shop', 'all'),
    );
    await deploymentReady(hub, 'shop');
  });

  it('mirror another registry', async () => {
    const there = new RegistryClient({ registry: upstream.host, credentials: SITE, insecure: true });
    clients.push(there);
    const layer = randomBytes(50_000);
    const digest = await pushLayer(there, 'library/app', 'v1', layer);
    const here = await admin();
    const manifest = await here.getManifest('site/library/app', 'v1');
    expect(Buffer.from(manifest.bytes).toString()).toContain(digest);
    const pulled = await here.getBlob('site/library/app', { digest, size: layer.length });
    expect(layer.equals(pulled)).toBe(true);
    expect(await refused(here, 'site/library/app', 10)).toBe('RequestRefused');
  });

  it('limit what a repository may hold, and at once by another limit when the file changes', async () => {
    const client = await admin();
    expect(await refused(client, 'team/app', 20_000)).toBe('AccessDenied');
    expect(await refused(client, 'other/app', 20_000)).toBeUndefined();
    await writeFile(join(folder, 'etc', 'registry.yaml'), settings('1Mi'));
    await eventually(async () => (await refused(client, 'team/app', 20_000)) === undefined, 20_000);
    await eventually(() =>
      heard.some(({ action, target }) => action === 'push' && target.repository === 'team/app'),
    );
    expect(heard.every(({ target }) => target.repository === 'team/app')).toBe(true);
  });

  it('limit the hub too, which says so, and goes on when there is room', async () => {
    await writeFile(join(folder, 'etc', 'registry.yaml'), settings('1Mi', '1'));
    await eventually(
      async () => (await refused(await admin(), 'mural/other', 100)) === 'AccessDenied',
      20_000,
    );
    await apply(hub.client, manifestsProfile('shop', configMap('shop', { a: '2' })));
    const ref = { name: 'shop', namespace: 'default' };
    await eventually(async () => {
      const { status } = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
      return status?.conditions?.some(({ message }) => message.includes('The quota of mural/**'));
    }, 20_000);
    await writeFile(join(folder, 'etc', 'registry.yaml'), settings('1Mi'));
    await deploymentReady(hub, 'shop');
  }, 90_000);

  it('serve metrics', async () => {
    const text = await (await fetch(`${hub.ready.metrics ?? ''}/metrics`)).text();
    expect(text).toMatch(/^mural_registry_requests_total\{route="manifest",method="GET",code="2xx"\} [1-9]/m);
    expect(text).toMatch(/^mural_registry_events_delivered_total\{endpoint="test"\} [1-9]/m);
  });

  it('stay in force at the next start, and until they are given up', async () => {
    expect(await hub.stop()).toBe(0);
    await writeFile(join(folder, 'etc', 'registry.yaml'), settings('8Ki'));
    hub = await startHub({ data: hub.data });
    expect((await fetch(`${hub.ready.metrics ?? ''}/readyz`)).status).toBe(200);
    expect(await refused(await admin(), 'team/app', 20_000)).toBe('AccessDenied');
    expect(await hub.stop()).toBe(0);
    await rm(join(folder, 'etc', 'registry.yaml'));
    const lost = await mural(['up', '--data', hub.data]);
    expect(lost).toMatchObject({ code: 1, stdout: '' });
    expect(lost.stderr).toMatch(
      /registry\.yaml: there is no such file; nothing was started\nhint: .*last start/,
    );
    hub = await startHub({ data: hub.data, args: ['--no-registry-config'] });
    expect(hub.ready.metrics).toBeUndefined();
    expect(await refused(await admin(), 'team/app', 20_000)).toBeUndefined();
    expect(await hub.stop()).toBe(0);
    hub = await startHub({ data: hub.data });
    expect(hub.ready.metrics).toBeUndefined();
  }, 120_000);

  it.each([
    ['users: []', /^.*:1:1: error: users: is decided by mural up: .*\n/],
    ['anonymous: pull', /^.*:1:1: error: anonymous: is decided by mural up: .*\n/],
    ['maintenance: { quotas: [{ repositories: a }] }', /:1:25: error: maintenance\.quotas\[0\]: needs bytes/],
    ['mirrors: [{ prefix: a }]', /:1:11: error: mirrors\[0\]\.upstream: is missing/],
  ])('are refused before anything is started: %s', async (text, said) => {
    const file = join(folder, 'wrong.yaml');
    await writeFile(file, text);
    const data = join(folder, 'never');
    const { code, stdout, stderr } = await mural(['up', '--data', data, '--registry-config', file]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(said);
    await expect(stat(data)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
