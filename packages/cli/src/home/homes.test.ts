import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@mural/core';
import { eventually, FakeClock } from '@mural/core/testing';
import {
  createKubeClient,
  type KubeClient,
  loadKubeConfig,
  OCI_REPOSITORIES,
  type OCIRepository,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { run, type Spawned, spawnService } from '../testing/run.ts';
import type { RunningHome } from './home.ts';
import { type HubFacts, startHubHome } from './hub-home.ts';
import { startRegistryHome } from './registry-home.ts';
import { startRenewal } from './renewal.ts';
import { ensureCertificates, type KeyPair } from './certificates.ts';

const QUIET = { level: 'silent', echo: () => undefined };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-homes-'));
});
const clients: KubeClient[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map(async (client) => client.close()));
});
afterAll(async () => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

async function clientOf(kubeconfig: string): Promise<KubeClient> {
  const client = createKubeClient(await loadKubeConfig({ path: kubeconfig }));
  clients.push(client);
  return client;
}

async function ready(client: KubeClient, name: string): Promise<Spoke> {
  return eventually(async () => {
    const spoke = await client.get<Spoke>(SPOKES, { name });
    return (
      spoke.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') && spoke
    );
  }, 20_000);
}

async function rootFetched(client: KubeClient): Promise<OCIRepository> {
  return eventually(async () => {
    const ref = { name: 'mural-root', namespace: 'mural-system' };
    const source = await client.get<OCIRepository>(OCI_REPOSITORIES, ref);
    return source.status?.artifact === undefined ? undefined : source;
  }, 20_000);
}

function upArgs(data: string): string[] {
  return ['up', '--data', data, '--api-port', '0', '--registry-port', '0', '--console-port', '0'];
}

async function modesBelow(path: string): Promise<Map<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const modes = await Promise.all(
    entries.map(async (entry) => {
      const full = join(entry.parentPath, entry.name);
      return [full.slice(path.length + 1), ((await stat(full)).mode & 0o777).toString(8)] as const;
    }),
  );
  return new Map(modes);
}

describe('mural up', () => {
  const data = (): string => join(folder, 'up');
  const readyFile = (): string => join(folder, 'up.ready.json');
  let hub: Spawned;
  let secrets: readonly string[];

  async function secretsOf(): Promise<string[]> {
    const files = ['tls/ca.crt', 'tls/server.key', 'secrets/admin-token', 'secrets/encryption-key'];
    return Promise.all(
      [...files, 'secrets/registry-admin-password'].map(async (file) => readFile(join(data(), file), 'utf8')),
    );
  }

  it('serves, and says so in the ready file', async () => {
    hub = await spawnService(upArgs(data()), readyFile());
    const keys = ['api', 'registry', 'console', 'kubeconfig', 'dockerConfig', 'ca'];
    expect(Object.keys(hub.ready)).toEqual(keys);
    const client = await clientOf(hub.ready.kubeconfig ?? '');
    expect(JSON.parse(await client.raw('/version'))).toMatchObject({ gitVersion: /^v1\./ });
    await ready(client, 'hub');
    await rootFetched(client);
    secrets = await secretsOf();
  });

  it('keeps what is secret to its owner', async () => {
    expect((await stat(data())).mode & 0o777).toBe(0o700);
    const modes = await modesBelow(data());
    const closed = [
      'kubeconfig',
      'docker/config.json',
      'tls/ca.key',
      'tls/server.key',
      'secrets/admin-token',
    ];
    for (const file of [...closed, 'secrets/registry-readers.json'])
      expect([file, modes.get(file)]).toEqual([file, '600']);
    for (const directory of ['secrets', 'tls', 'api', 'registry', 'logs'])
      expect(modes.get(directory)).toBe('700');
  });

  it('shows the logs of its controllers through the API', async () => {
    const client = await clientOf(hub.ready.kubeconfig ?? '');
    const log = async (query: string): Promise<string> =>
      client.raw(`/api/v1/namespaces/mural-system/pods/hue-0/log?${query}`);
    const lines = await eventually(async () => {
      const text = await log('');
      return text.includes('oci push') && text.trimEnd().split('\n');
    });
    expect((await log('tailLines=1')).trimEnd().split('\n')).toHaveLength(1);
    expect(lines.every((line) => line.startsWith('{'))).toBe(true);
  });

  it('refuses a second process in its folder, and a port in use', async () => {
    const second = await run(upArgs(data()));
    expect(second).toMatchObject({ code: 1, out: '' });
    expect(second.err).toContain(`another mural process works in ${data()}`);
    const port = new URL(hub.ready.api ?? '').port;
    const other = join(folder, 'other');
    const third = await run([...upArgs(other), '--api-port', port]);
    expect(third).toMatchObject({ code: 1, out: '' });
    expect(third.err).toMatch(new RegExp(`^error: port ${port} .*\nhint: .*--api-port`));
    await expect(stat(other)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('gives a spoke what it needs, and runs it in a process of its own', async () => {
    const env = { KUBECONFIG: hub.ready.kubeconfig };
    const missing = await run(['spoke', 'bootstrap', 'edge-1'], { env });
    expect(missing).toMatchObject({ code: 1, out: '' });
    expect(missing.err).toMatch(/^error: the hub knows no spoke named edge-1\nhint: .*--create/);
    const bootstrap = await run(['spoke', 'bootstrap', 'edge-1', '--create', '--labels', 'a=b,c=d'], { env });
    expect(bootstrap).toMatchObject({ code: 0, err: '' });
    const file = join(folder, 'edge-1.yaml');
    await writeFile(file, bootstrap.out, { mode: 0o600 });
    const args = ['spoke', 'run', '--data', join(folder, 'edge-1'), '--bootstrap', file];
    const spoke = await spawnService(args, join(folder, 'edge-1.ready.json'));
    const client = await clientOf(hub.ready.kubeconfig ?? '');
    expect((await ready(client, 'edge-1')).metadata.labels).toEqual({ a: 'b', c: 'd' });
    await rootFetched(await clientOf(spoke.ready.kubeconfig ?? ''));
    const status = await run(['status'], { env });
    expect(status.out).toMatch(/^SPOKE .*\nedge-1 .*\nhub .*\n$/);
    const json = await run(['status', '-o', 'json'], { env });
    expect(JSON.parse(json.out)).toMatchObject([{ spoke: 'edge-1', ready: 'True' }, { spoke: 'hub' }]);
    expect((await spoke.stop('SIGTERM')).code).toBe(0);
    await expect(stat(join(folder, 'edge-1.ready.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('stops within ten seconds, and takes the ready file away', async () => {
    const { code, ms } = await hub.stop('SIGTERM');
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    await expect(stat(readyFile())).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('keeps keys, credentials and objects over a stop and over a kill', async () => {
    hub = await spawnService(upArgs(data()), readyFile());
    expect(await secretsOf()).toEqual(secrets);
    const kubeconfig = hub.ready.kubeconfig ?? '';
    await (await clientOf(kubeconfig)).get(SPOKES, { name: 'edge-1' });
    await hub.stop('SIGKILL');
    hub = await spawnService(upArgs(data()), readyFile());
    expect(await secretsOf()).toEqual(secrets);
    await (await clientOf(kubeconfig)).get(SPOKES, { name: 'edge-1' });
    expect((await hub.stop('SIGINT')).code).toBe(0);
  });
});

describe('a hub with another registry', () => {
  let home: RunningHome<HubFacts> | undefined;
  afterEach(async () => home?.stop());

  it('writes it with its credential, and spokes read it with theirs', async () => {
    const registry = await startRegistryHome({
      ...{ dataDir: join(folder, 'registry'), listen: '127.0.0.1', port: 0, anonymous: 'none' },
      ...{ tls: 'generated', log: QUIET },
    });
    try {
      const host = new URL(registry.facts.registry).host;
      const password = (
        await readFile(join(folder, 'registry/secrets/registry-admin-password'), 'utf8')
      ).trim();
      const basicAuth = `basicAuth: { username: admin, password: ${password} }`;
      const text = [
        `hue: { ociRegistry: { endpoint: 'oci://${host}/team', repository: workloads, ${basicAuth} } }`,
        'fleetConfig:',
        '  spokes:',
        `    - { name: hub-as-spoke, ociRegistry: { ${basicAuth} } }`,
        '    - { name: open, labels: { tier: edge } }',
        'zot: { enabled: false }',
      ].join('\n');
      home = await startHubHome({
        ...{
          dataDir: join(folder, 'external'),
          listen: '127.0.0.1',
          apiPort: 0,
          registryPort: 0,
          consolePort: 0,
        },
        ...{ values: { text, file: 'values.yaml' }, renderers: {}, log: QUIET },
        registryCa: await readFile(registry.facts.ca ?? '', 'utf8'),
      });
      expect(home.facts.registry).toBe(registry.facts.registry);
      const client = await clientOf(home.facts.kubeconfig);
      const source = await rootFetched(client);
      expect(source.spec).toMatchObject({
        url: `oci://${host}/team/workloads`,
        ref: { tag: 'spoke-hub-as-spoke' },
        secretRef: { name: 'mural-registry' },
        certSecretRef: { name: 'mural-registry-ca' },
      });
      await ready(client, 'hub-as-spoke');
      expect((await client.get<Spoke>(SPOKES, { name: 'open' })).metadata.labels).toEqual({ tier: 'edge' });
      await expect(stat(join(folder, 'external/registry/metadata.db'))).rejects.toMatchObject({
        code: 'ENOENT',
      });
    } finally {
      await home?.stop();
      home = undefined;
      await registry.stop();
    }
  });

  it('makes no spoke of itself when the values name other spokes only', async () => {
    const text = 'fleetConfig: { spokes: [{ name: edge-9 }] }';
    home = await startHubHome({
      ...{ dataDir: join(folder, 'pure'), listen: '127.0.0.1', apiPort: 0, registryPort: 0, consolePort: 0 },
      ...{ values: { text, file: 'values.yaml' }, renderers: {}, log: QUIET },
    });
    const client = await clientOf(home.facts.kubeconfig);
    const { items } = await client.list<Spoke>(SPOKES);
    expect(items.map((spoke) => spoke.metadata.name)).toEqual(['edge-9']);
  });
});

describe('artifacts by hand', () => {
  it('are pushed, listed, tagged and pulled', async () => {
    const data = join(folder, 'artifacts');
    const registry = await startRegistryHome({
      ...{ dataDir: data, listen: '127.0.0.1', port: 0, anonymous: 'none', tls: 'generated', log: QUIET },
    });
    try {
      const source = join(folder, 'manifests');
      await mkdir(source);
      await writeFile(join(source, 'cm.yaml'), 'kind: ConfigMap\n');
      const url = `oci://${new URL(registry.facts.registry).host}/a/b`;
      const env = { DOCKER_CONFIG: join(data, 'docker') };
      const ca = ['--ca', registry.facts.ca ?? ''];
      const push = ['push', 'artifact', `${url}:v1`, '--path', source, '--source', 's', '--revision', 'r'];
      const pushed = await run([...push, ...ca, '-o', 'json'], { env });
      expect(pushed).toMatchObject({ code: 0, err: '' });
      const { digest } = JSON.parse(pushed.out) as { digest: string };
      expect((await run([...push, ...ca], { env })).out).toContain('already there');
      expect((await run(['tag', 'artifact', `${url}:v1`, '--tag', 'v2', ...ca], { env })).code).toBe(0);
      const listed = await run(['list', 'artifacts', url, '-o', 'json', ...ca], { env });
      expect(JSON.parse(listed.out)).toEqual(
        ['v1', 'v2'].map((tag) => ({ tag, digest, source: 's', revision: 'r' })),
      );
      const output = join(folder, 'pulled');
      const pulled = await run(['pull', 'artifact', `${url}@${digest}`, '--output', output, ...ca], { env });
      expect(pulled).toMatchObject({ code: 0, err: '' });
      expect(await readFile(join(output, 'cm.yaml'), 'utf8')).toBe('kind: ConfigMap\n');
      const file = await run([...push.with(4, join(source, 'cm.yaml')).with(2, `${url}:f`), ...ca], { env });
      expect(file.code).toBe(0);
      const wrong = await run(['list', 'artifacts', url, ...ca, '--creds', 'admin:wrong-pa55'], { env });
      expect(wrong.code).toBe(1);
      expect(wrong.err).toMatch(/^error: .*401.*\nhint: /);
      expect(wrong.err).not.toContain('wrong-pa55');
      const untrusted = await run(['list', 'artifacts', url], { env });
      expect(untrusted.err).toMatch(/^error: the certificate of .*\nhint: .*--ca/);
      const absent = await run(['pull', 'artifact', `${url}:none`, '--output', output, ...ca], { env });
      expect(absent).toMatchObject({ code: 1, out: '' });
    } finally {
      await registry.stop();
    }
  });
});

describe('a registry alone', () => {
  it('takes users from an htpasswd file, and names the line that is wrong', async () => {
    const htpasswd = join(folder, 'htpasswd');
    await writeFile(htpasswd, 'ann:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n');
    const data = join(folder, 'htpasswd-registry');
    const { code, err } = await run([
      'registry',
      'serve',
      '--data',
      data,
      '--port',
      '0',
      '--htpasswd',
      htpasswd,
    ]);
    expect(code).toBe(1);
    expect(err).toMatch(/^error: htpasswd, line 1: /);
    await expect(stat(data)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('speaks plain HTTP on loopback when it is asked to, to anybody', async () => {
    const data = join(folder, 'plain');
    const args = ['registry', 'serve', '--data', data, '--port', '0', '--no-tls', '--anonymous', 'push'];
    const registry = await spawnService(args, join(folder, 'plain.ready.json'));
    expect(registry.ready.registry).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const url = `oci://${new URL(registry.ready.registry ?? '').host}/a:b`;
    const push = ['push', 'artifact', url, '--path', join(folder, 'htpasswd'), '--insecure-registry'];
    expect(await run(push)).toMatchObject({ code: 0, err: '' });
    expect((await registry.stop('SIGTERM')).code).toBe(0);
  });
});

describe('the renewal of certificates', () => {
  it('puts a new pair to use before the old one expires', async () => {
    const clock = new FakeClock();
    const tls = join(folder, 'tls');
    await mkdir(tls);
    const made = await ensureCertificates(tls, ['localhost'], clock);
    const used: KeyPair[] = [];
    const stop = startRenewal({
      ...{ folder: tls, names: ['localhost'], current: made.server, clock, log: silentLogger },
      use: (pair) => void used.push(pair),
    });
    const asleep = async () => eventually(() => clock.sleeping > 0);
    for (let day = 0; day < 260; day += 65) {
      await asleep();
      await clock.advance(65 * 86_400_000);
    }
    await asleep();
    expect(used).toEqual([]);
    await clock.advance(20 * 86_400_000);
    await asleep();
    stop();
    const [pair] = used;
    expect(pair).toBeDefined();
    const old = new X509Certificate(made.server.cert);
    expect(clock.now()).toBeLessThan(Date.parse(old.validTo));
  });
});
