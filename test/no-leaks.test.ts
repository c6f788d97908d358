import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRecord } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  type KubeClient,
  type KubeObject,
  type OCIRepository,
  OCI_REPOSITORIES,
  SECRETS,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import { RegistryClient } from '@mural/oci';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  cleanUp,
  condition,
  deploymentReady,
  type Hub,
  mural,
  type MuralProcess,
  startHub,
  startSpoke,
  type SpokeProcess,
  temporaryFolder,
} from './support/mural.ts';
import {
  apply,
  configMap,
  deployment,
  environment,
  everySpoke,
  manifestsProfile,
} from './support/objects.ts';
import { type Leak, SecretSearch } from './support/secret-search.ts';

/** Files of a data folder that are there to hold secrets. */
const HOLDERS = /^(secrets\/|tls\/[^/]+\.key$|kubeconfig$|docker\/config\.json$)/;

const WRONG = {
  registryPassword: 'wrong-password-of-a-source-8231',
  hubPassword: 'wrong-password-of-a-hub-5512',
  token: 'wrong-token-of-a-client-90417',
  malformed: 'not-json-but-secret-77120',
  inUrl: 'password-in-a-url-31337',
  userSecret: 'secret-of-a-user-60601',
} as const;

describe('secrets', () => {
  let hub: Hub;
  let refused: Hub;
  let edge: SpokeProcess;
  const search = new SecretSearch();

  beforeAll(async () => {
    hub = await startHub();
    edge = await startSpoke(hub, 'edge-1', { labels: { tier: 'edge' } });
    await work(hub);
    await fail(hub);
    refused = await startRefusedHub(hub);
    for (const [name, value] of Object.entries(WRONG)) search.add({ name, value });
    for (const { data } of [hub, edge, refused]) await addFiles(search, data);
    for (const { client } of [hub, edge, refused]) await addSecrets(search, client);
  }, 120_000);
  afterAll(cleanUp);

  const homes = (): readonly (MuralProcess & { readonly client: KubeClient })[] => [hub, edge, refused];

  it('are many, so that there is something to be found', () => {
    expect(search.names.length).toBeGreaterThan(20);
    for (const name of [
      'admin-token',
      'encryption-key',
      'ca.key',
      'spoke-edge-1-token/token',
      'registry-readers.json',
    ]) {
      expect(search.names.some((known) => known.endsWith(name))).toBe(true);
    }
    expect(search.in(`x${Buffer.from(`hue:${WRONG.token}!`).toString('base64')}`, '').length).toBe(1);
  });

  it('are in no file but those that are there for them and closed to others', async () => {
    const leaks: Leak[] = [];
    for (const { data, log } of homes()) {
      leaks.push(...(await search.inFolder(data, HOLDERS)), ...search.in(await readFile(log), log));
    }
    expect(leaks.filter(({ secret, where }) => !(secret === 'inUrl' && /state\.db/.test(where)))).toEqual([]);
  });

  it('are in no object but Secrets, whatever kind is asked for', async () => {
    for (const { client, data } of homes()) {
      const paths = await listPaths(client);
      expect(paths.length).toBeGreaterThan(15);
      for (const path of paths) {
        const leaks = search.in(await client.raw(path), `${data}${path}`);
        expect(
          leaks.filter(({ secret }) => !(secret === 'inUrl' && path.endsWith('/ocirepositories'))),
        ).toEqual([]);
      }
    }
  });

  it('are in no condition, although somebody wrote one into a URL', async () => {
    const { items } = await hub.client.list<OCIRepository>(OCI_REPOSITORIES);
    expect(search.in(JSON.stringify(items.map(({ status }) => status)), 'status')).toEqual([]);
  });

  it('are not told by the commands', async () => {
    const kubeconfig = ['--kubeconfig', hub.ready.kubeconfig];
    for (const args of [
      ['status', ...kubeconfig],
      ['status', '--output', 'json', ...kubeconfig],
    ]) {
      const { code, stdout, stderr } = await mural(args);
      expect(code).toBe(0);
      expect(search.in(`${stdout}${stderr}`, args.join(' '))).toEqual([]);
    }
    const file = join(await temporaryFolder(), 'values.yaml');
    for (const text of [
      `hue:\n  ociRegistry:\n    basicAuth:\n      username: x\n      pasword: ${WRONG.hubPassword}\n`,
      `hue:\n  ociRegistry:\n    endpoint: oci://x:${WRONG.hubPassword}@example.org/y\n    repository: z\n`,
      `hue:\n  ociRegistry:\n    basicAuth: ["${WRONG.hubPassword}"\n`,
      `hue:\n  ociRegistry:\n    basicAuth: ${WRONG.hubPassword}\n`,
    ]) {
      await writeFile(file, text);
      const { code, stdout, stderr } = await mural(['values', 'lint', file]);
      expect(code).toBe(1);
      expect(search.in(`${stdout}${stderr}`, text)).toEqual([]);
    }
  });

  it('are on no command line', async () => {
    for (const { child } of homes()) {
      const line = await readFile(`/proc/${child.pid ?? 0}/cmdline`);
      expect(search.in(line, 'command line')).toEqual([]);
    }
  });
});

/** What goes well: a workload to a spoke, and a Secret of a user. */
async function work(hub: Hub): Promise<void> {
  await apply(
    hub.client,
    environment('edges', { tier: 'edge' }),
    manifestsProfile('app', configMap('app', { value: '1' })),
    deployment('app', 'app', 'edges'),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'of-a-user', namespace: 'default' },
      stringData: { key: WRONG.userSecret },
    } as KubeObject,
  );
  await deploymentReady(hub, 'app');
}

/** What goes wrong: passwords and tokens that are refused, at every door. */
async function fail(hub: Hub): Promise<void> {
  const host = new URL(hub.ready.registry).host;
  const secret = (name: string, content: string): KubeObject =>
    ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: 'default' },
      type: 'Opaque',
      stringData: { '.dockerconfigjson': content, 'ca.crt': content },
    }) as KubeObject;
  const auths = { [host]: { username: 'spoke-edge-1', password: WRONG.registryPassword } };
  await apply(
    hub.client,
    secret('wrong', JSON.stringify({ auths })),
    secret('malformed', `{"auths": {"${WRONG.malformed}`),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'ca', namespace: 'default' },
      stringData: { 'ca.crt': await readFile(hub.ready.ca, 'utf8') },
    } as KubeObject,
  );
  const source = (name: string, spec: Partial<OCIRepository['spec']>): OCIRepository =>
    ({
      apiVersion: 'source.toolkit.fluxcd.io/v1',
      kind: 'OCIRepository',
      metadata: { name, namespace: 'default' },
      spec: { url: `oci://${host}/mural/workloads`, interval: '1m', timeout: '5s', ...spec },
    }) as OCIRepository;
  const names = ['wrong', 'malformed', 'malformed-ca', 'in-url'];
  await apply(
    hub.client,
    source('wrong', { secretRef: { name: 'wrong' }, certSecretRef: { name: 'ca' } }),
    source('malformed', { secretRef: { name: 'malformed' }, certSecretRef: { name: 'ca' } }),
    source('malformed-ca', { certSecretRef: { name: 'malformed' } }),
    source('in-url', { url: `oci://user:${WRONG.inUrl}@${host}/mural/workloads` }),
  );
  for (const name of names) {
    await eventually(async () => {
      const found = await hub.client.get<OCIRepository>(OCI_REPOSITORIES, { name, namespace: 'default' });
      return found.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'False');
    }, 20_000);
  }
  const credentials = { username: 'hue', password: WRONG.registryPassword };
  const pusher = new RegistryClient({
    registry: host,
    credentials,
    ca: await readFile(hub.ready.ca, 'utf8'),
  });
  await expect(pusher.ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  await pusher.close();
  const folder = await temporaryFolder();
  const kubeconfig = (await readFile(hub.ready.kubeconfig, 'utf8')).replace(
    /token: .*/,
    `token: ${WRONG.token}`,
  );
  await writeFile(join(folder, 'kubeconfig'), kubeconfig);
  const { code, stdout, stderr } = await mural(['status', '--kubeconfig', join(folder, 'kubeconfig')]);
  expect(code).not.toBe(0);
  expect(`${stdout}${stderr}`).not.toContain(WRONG.token);
}

/** A hub whose registry, that of the other hub, does not take its password. */
async function startRefusedHub(hub: Hub): Promise<Hub> {
  const folder = await temporaryFolder();
  const values = {
    hue: {
      ociRegistry: {
        endpoint: `oci://${new URL(hub.ready.registry).host}/mural`,
        repository: 'workloads',
        basicAuth: { username: 'hue', password: WRONG.hubPassword },
      },
    },
    zot: { enabled: false },
  };
  await writeFile(join(folder, 'values.yaml'), stringify(values), { mode: 0o600 });
  const refused = await startHub({
    args: ['--values', join(folder, 'values.yaml'), '--registry-ca', hub.ready.ca],
  });
  await apply(
    refused.client,
    everySpoke('all'),
    manifestsProfile('app', configMap('app', { value: '1' })),
    deployment('app', 'app', 'all'),
  );
  await eventually(async () => {
    const ref = { name: 'app', namespace: 'default' };
    const now = await refused.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
    return condition(now, 'Ready')?.reason === 'PushFailed';
  }, 20_000);
  return refused;
}

/** Adds what the files of a data folder hold that are there to hold secrets. */
async function addFiles(search: SecretSearch, data: string): Promise<void> {
  const folder = join(data, 'secrets');
  for (const name of await readdir(folder)) {
    const content = (await readFile(join(folder, name), 'utf8')).trim();
    if (!content.startsWith('{')) search.add({ name: `${folder}/${name}`, value: content });
    else addStrings(search, `${folder}/${name}`, JSON.parse(content));
  }
  for (const name of (await readdir(join(data, 'tls'))).filter((file) => file.endsWith('.key'))) {
    const pem = await readFile(join(data, 'tls', name), 'utf8');
    const body = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
    for (const line of body.slice(1)) search.add({ name: `${data}/tls/${name}`, value: line });
  }
  const config = await readFile(join(data, 'docker', 'config.json'), 'utf8').catch(() => '{}');
  for (const [host, entry] of Object.entries((JSON.parse(config) as { auths?: object }).auths ?? {})) {
    search.add({ name: `${data}/docker/${host}`, value: (entry as { password: string }).password });
  }
}

/** Adds what the Secrets of an API hold, but for what is public. */
async function addSecrets(search: SecretSearch, client: KubeClient): Promise<void> {
  const { items } = await client.list<UnstructuredObject>(SECRETS);
  for (const { data, metadata } of items) {
    for (const [key, value] of Object.entries(isRecord(data) ? data : {})) {
      const text = Buffer.from(String(value), 'base64').toString('utf8');
      const name = `${metadata.name ?? ''}/${key}`;
      if (key === 'token') search.add({ name, value: text });
      if (key === 'kubeconfig') search.add({ name, value: /token: "?([^"\s]+)/.exec(text)?.[1] ?? '' });
      const password = /"password":\s*"([^"]+)"/.exec(text)?.[1];
      if (password !== undefined) search.add({ name: `${metadata.name ?? ''}/password`, value: password });
    }
  }
}

function addStrings(search: SecretSearch, name: string, value: unknown): void {
  if (typeof value === 'string') search.add({ name, value });
  else if (isRecord(value)) for (const inner of Object.values(value)) addStrings(search, name, inner);
}

/** The path of the list of every kind that can be listed, but Secrets. */
async function listPaths(client: KubeClient): Promise<string[]> {
  const groups = JSON.parse(await client.raw('/apis')) as {
    groups: { preferredVersion: { groupVersion: string } }[];
  };
  const roots = [
    '/api/v1',
    ...groups.groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`),
  ];
  const paths = await Promise.all(
    roots.map(async (root) => {
      const { resources } = JSON.parse(await client.raw(root)) as {
        resources: { name: string; verbs: string[] }[];
      };
      return resources
        .filter(({ name, verbs }) => verbs.includes('list') && !name.includes('/') && name !== 'secrets')
        .map(({ name }) => `${root}/${name}`);
    }),
  );
  return paths.flat();
}
