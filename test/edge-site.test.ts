import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mapLimit } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  parsePublishedRoot,
  PUBLISHED_ROOT_ANNOTATION,
  SECRETS,
  type Spoke,
  SPOKES,
  type SpokeStatus,
  type UnstructuredObject,
} from '@mural/kube';
import { applyBootstrap } from '@mural/spoke';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { credentialOf, type RegistryProcess, startExternalRegistry } from './support/external-registry.ts';
import { Line } from './support/line.ts';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  mural,
  restartSpoke,
  type SpokeProcess,
  startHub,
  temporaryFolder,
} from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile, objectsOf } from './support/objects.ts';
import {
  bootstrapOf,
  type LocalSpoke,
  secretText,
  type SiteRegistry,
  startLocalSpoke,
  startSite,
} from './support/site.ts';

const SPOKES_OF_THE_SITE = Array.from({ length: 10 }, (_, index) => `edge-${index + 1}`);
const INTERVAL_MS = 1000;
const TAG_TTL_MS = 2000;
/** What a loaded machine takes besides. */
const SLACK_MS = 4000;
const APP = { name: 'app', namespace: 'default' };
const SYSTEM = 'mural-system';

let hub: Hub;
let line: Line;
let site: SiteRegistry;
/** Where the hub moves to in the end. */
let other: RegistryProcess;
let siteUrl: string;
let first: SpokeProcess;
let others: LocalSpoke[] = [];
/** What `mural spoke bootstrap` printed for each. */
let bootstraps: readonly string[] = [];

function clusters(): readonly KubeClient[] {
  return [first.client, ...others.map(({ cluster }) => cluster)];
}

async function value(cluster: KubeClient): Promise<string | undefined> {
  const found = await cluster.find<UnstructuredObject>(CONFIG_MAPS, APP);
  return (found?.['data'] as { readonly value?: string } | undefined)?.value;
}

async function everywhere(wanted: string, timeoutMs = 60_000): Promise<void> {
  try {
    await eventually(async () => {
      const values = await Promise.all(clusters().map(async (cluster) => value(cluster)));
      return values.every((found) => found === wanted);
    }, timeoutMs);
  } catch (cause) {
    const sources = await sourcesOf(first.client);
    throw new Error(JSON.stringify(sources, null, 1), { cause });
  }
}

async function sourcesOf(cluster: KubeClient): Promise<readonly OCIRepository[]> {
  return (await cluster.list<OCIRepository>(OCI_REPOSITORIES, { namespace: SYSTEM })).items;
}

async function roll(version: string): Promise<void> {
  await apply(hub.client, manifestsProfile('app', configMap('app', { value: version })));
}

/** What `kubectl apply` of the values does. */
async function setValues(values: object): Promise<void> {
  const data = { 'values.yaml': Buffer.from(stringify(values)).toString('base64') };
  const metadata = { name: 'mural-values', namespace: SYSTEM };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata, data } as UnstructuredObject;
  await hub.client.apply(SECRETS, secret, { fieldManager: 'kubectl', force: true });
}

/** Values that name spokes of the site, and others. */
function valuesWith(ofSite: readonly string[], others: readonly string[] = []): object {
  const labels = { tier: 'edge' };
  const ociRegistry = {
    endpoint: `oci://${site.host}/mural`,
    repository: 'workloads',
    basicAuth: site.login,
    ca: site.ca,
  };
  return {
    hue: { ociRegistry: { interval: `${INTERVAL_MS / 1000}s`, timeout: '10s' } },
    fleetConfig: {
      spokes: [
        ...ofSite.map((name) => ({ name, labels, ociRegistry })),
        ...others.map((name) => ({ name, labels })),
      ],
    },
  };
}

beforeAll(async () => {
  const values = join(await temporaryFolder(), 'values.yaml');
  await writeFile(values, 'hue: { ociRegistry: { interval: 1s, timeout: 10s } }\n');
  other = await startExternalRegistry();
  hub = await startHub({ args: ['--values', values, '--registry-ca', other.ca] });
  const robot = await mural([
    ...['registry', 'robot', 'create', 'site-1', '--allow', 'mural/**=read', '--data', hub.data],
  ]);
  expect(robot.code).toBe(0);
  const ca = await readFile(hub.ready.ca, 'utf8');
  line = await Line.open({ host: new URL(hub.ready.registry).host, ca });
  site = await startSite({
    upstream: line,
    login: { username: 'robot+site-1', password: robot.stdout.trim() },
    tagTtl: `${TAG_TTL_MS / 1000}s`,
  });
  siteUrl = `oci://${site.host}/mural/workloads`;
  await setValues(valuesWith(SPOKES_OF_THE_SITE));
  await apply(
    hub.client,
    environment('edges', { tier: 'edge' }),
    manifestsProfile('app', configMap('app', { value: '1' })),
    deployment('app', 'app', 'edges'),
  );
}, 120_000);

afterAll(async () => {
  await Promise.all(others.map(async (spoke) => spoke.stop()));
  await line.close();
  await cleanUp();
});

describe('spokes whose registry is the mirror of their site', () => {
  it('are ten at once: each blob comes over the line once, and the workload is Ready on all', async () => {
    await startSpokes();
    await everywhere('1');
    expect((await deploymentReady(hub, 'app')).status?.summary).toBe('10/10');
    await eventually(async () => {
      const statuses = await Promise.all(SPOKES_OF_THE_SITE.map(async (name) => statusOf(name)));
      return statuses.every((status) => status?.registryUrl === siteUrl);
    }, 20_000);
    const blobs = line.blobs();
    // The layers of ten roots, of their group and of the workload.
    expect(blobs.size).toBeGreaterThanOrEqual(12);
    expect([...blobs].filter(([, count]) => count !== 1)).toEqual([]);
  }, 120_000);

  it('know the site and the hub by an account each, and trust both', async () => {
    const [own = ''] = bootstraps;
    const objects = objectsOf(own);
    const { host } = new URL(hub.ready.registry);
    const { auths } = JSON.parse(secretText(objects, 'mural-registry', '.dockerconfigjson')) as {
      readonly auths: Readonly<Record<string, { readonly username: string }>>;
    };
    expect(Object.keys(auths).sort()).toEqual([host, site.host].sort());
    expect(auths[site.host]).toMatchObject(site.login);
    expect(auths[host]?.username).toBe('spoke-edge-1');
    const authorities = secretText(objects, 'mural-registry-ca', 'ca.crt');
    expect(authorities).toContain(site.ca.trim());
    expect(authorities).toContain((await readFile(hub.ready.ca, 'utf8')).trim());
    const log = await readFile(join(hub.data, 'logs', 'registry-access.log'), 'utf8');
    expect(log).toContain('"user":"robot+site-1"');
    expect(log).not.toContain('"user":"spoke-edge-');
  });

  it('have a rollout within their interval and the time that the site keeps a tag', async () => {
    const before = parsePublishedRoot(await nudgeOf('edge-1')).group;
    await roll('2');
    await eventually(async () => parsePublishedRoot(await nudgeOf('edge-1')).group !== before, 20_000);
    const begun = performance.now();
    await everywhere('2');
    const took = performance.now() - begun;
    expect(took).toBeLessThan(INTERVAL_MS + TAG_TTL_MS + SLACK_MS);
    expect((await deploymentReady(hub, 'app')).status?.summary).toBe('10/10');
    expect([...line.blobs()].filter(([, count]) => count !== 1)).toEqual([]);
  }, 60_000);

  it('never apply what was damaged on the line, and have the rollout when it is whole again', async () => {
    line.damaged = /\/blobs\//;
    await roll('3');
    const message = await eventually(async () => {
      const sources = await sourcesOf(first.client);
      const failed = sources.flatMap(({ status }) =>
        (status?.conditions ?? []).filter(
          ({ type, status: held }) => type === 'FetchFailed' && held === 'True',
        ),
      );
      return failed[0]?.message;
    }, 30_000);
    expect(message).toMatch(/sha256:[0-9a-f]{64}/);
    expect(await Promise.all(clusters().map(value))).toEqual(clusters().map(() => '2'));
    line.damaged = undefined;
    await everywhere('3', 90_000);
    expect((await deploymentReady(hub, 'app')).status?.summary).toBe('10/10');
  }, 150_000);

  it('start from nothing while the hub is away, and catch up when it is back', async () => {
    const port = (url: string) => Number(new URL(url).port);
    await first.kill();
    await hub.kill();
    await rm(first.data, { recursive: true });
    first = await restartSpoke(first.name, first.data);
    await everywhere('3');
    const sources = await eventually(async () => {
      const found = await sourcesOf(first.client);
      return found.length === 3 && found;
    });
    for (const { spec } of sources) expect(spec.url).toBe(siteUrl);

    hub = await startHub({
      data: hub.data,
      apiPort: port(hub.ready.api),
      registryPort: port(hub.ready.registry),
      args: ['--registry-ca', other.ca],
    });
    await roll('4');
    await everywhere('4', 90_000);
    expect((await deploymentReady(hub, 'app', { timeoutMs: 90_000 })).status?.summary).toBe('10/10');
  }, 240_000);
});

describe('a spoke that read the registry of the hub', () => {
  let spoke: LocalSpoke;
  const reads = async (url: string) =>
    eventually(async () => (await statusOf('late'))?.registryUrl === url, 60_000);

  beforeAll(async () => {
    spoke = await startLocalSpoke(
      'late',
      await bootstrapOf(hub, 'late', '--create', '--labels', 'tier=edge'),
    );
    await roll('near');
    await eventually(async () => (await value(spoke.cluster)) === 'near', 30_000);
  }, 60_000);
  afterAll(async () => spoke.stop());

  it('keeps its workloads when the values send it to its site, until its bootstrap is applied again', async () => {
    const { uid } = (await spoke.cluster.get(CONFIG_MAPS, APP)).metadata;
    await setValues(valuesWith([...SPOKES_OF_THE_SITE, 'late']));
    const message = await eventually(async () => {
      const failed = (await statusOf('late'))?.conditions?.find(({ type }) => type === 'FetchFailed');
      return failed?.status === 'True' && failed.message;
    }, 30_000);
    expect(message).toContain('mural-group');
    expect(await value(spoke.cluster)).toBe('near');
    await applyBootstrap(spoke.cluster, objectsOf(await bootstrapOf(hub, 'late')));
    await reads(siteUrl);
    expect((await spoke.cluster.get(CONFIG_MAPS, APP)).metadata.uid).toBe(uid);
    await roll('5');
    await eventually(async () => (await value(spoke.cluster)) === '5', 30_000);
  }, 120_000);

  it('goes back without one, for it has the account of both', async () => {
    await setValues(valuesWith(SPOKES_OF_THE_SITE, ['late']));
    await reads(`oci://${new URL(hub.ready.registry).host}/mural/workloads`);
    await roll('6');
    await eventually(async () => (await value(spoke.cluster)) === '6', 30_000);
  }, 120_000);
});

describe('a spoke that its bootstrap sends to the mirror of its site', () => {
  const login = () => `${site.login.username}:${site.login.password}`;
  const bootstrap = async (name: string, ...more: readonly string[]) =>
    mural(['spoke', 'bootstrap', name, '--kubeconfig', hub.ready.kubeconfig, ...more]);

  it('reads that, by an account that the hub never has', async () => {
    await roll('by hand');
    const options = ['--registry', siteUrl, '--registry-ca', site.caFile, '--creds', login()];
    const { code, stdout, stderr } = await bootstrap('hand', '--create', '--labels', 'tier=edge', ...options);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const spoke = await startLocalSpoke('hand', stdout);
    try {
      await eventually(async () => (await value(spoke.cluster)) === 'by hand', 30_000);
      await eventually(async () => (await statusOf('hand'))?.registryUrl === siteUrl, 30_000);
    } finally {
      await spoke.stop();
    }
    const ref = { name: 'spoke-hand-registry', namespace: SYSTEM };
    const kept = await hub.client.get<UnstructuredObject>(SECRETS, ref);
    expect(secretText([{ ...kept, kind: 'Secret' }], ref.name, '.dockerconfigjson')).not.toContain(site.host);
  }, 90_000);

  it('is told what does not go together', async () => {
    await setValues(valuesWith(SPOKES_OF_THE_SITE));
    const fromValues = await bootstrap('edge-1', '--registry', 'oci://other.example/mural/workloads');
    expect(fromValues.code).toBe(2);
    expect(fromValues.stderr).toContain('the values say which registry the spoke edge-1 reads');
    const needless = await bootstrap('plain', '--create', '--creds', login());
    expect(needless.code).toBe(2);
    expect(needless.stderr).toContain(
      'the spoke plain reads the registry of the hub, where it has an account',
    );
    const wrong = await bootstrap('hand', '--registry', siteUrl, '--registry-ca', hub.ready.kubeconfig);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('holds no certificate');
    for (const { stdout, stderr } of [fromValues, needless, wrong])
      expect(`${stdout}${stderr}`).not.toContain(site.login.password);
  }, 60_000);
});

describe('a hub that moves to another registry', () => {
  it('has the site follow by its upstream, and no spoke of the site is moved', async () => {
    await setValues(valuesWith(SPOKES_OF_THE_SITE));
    const isOfSite = ({ metadata: { name = '' } }: Spoke) => SPOKES_OF_THE_SITE.includes(name);
    const rest = async () => (await hub.client.list<Spoke>(SPOKES)).items.filter((one) => !isOfSite(one));
    for (const { metadata } of await rest()) await hub.client.delete(SPOKES, { name: metadata.name ?? '' });
    await eventually(async () => (await rest()).length === 0, 20_000);
    await roll('before');
    await everywhere('before');
    const folder = await temporaryFolder();
    const files = { old: join(folder, 'old.yaml'), to: join(folder, 'new.yaml') };
    const ociRegistry = {
      ...{
        endpoint: `oci://${other.host}/mural`,
        repository: 'workloads',
        interval: '1s',
        timeout: '10s',
      },
      basicAuth: credentialOf('hue'),
    };
    const old = valuesWith(SPOKES_OF_THE_SITE);
    await writeFile(files.old, stringify(old), { mode: 0o600 });
    await writeFile(files.to, stringify({ ...old, hue: { ociRegistry } }), { mode: 0o600 });
    const { code, stderr } = await mural([
      ...['registry', 'migrate', '--values', files.old, '--to', files.to, '--yes'],
      ...['--kubeconfig', hub.ready.kubeconfig, '--registry-ca', other.ca],
    ]);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`10 spokes read ${siteUrl} before and after`);
    await roll('after');
    await deploymentPublished();
    expect(await Promise.all(clusters().map(value))).toEqual(clusters().map(() => 'before'));

    await site.stop();
    const upstream = { url: `https://${other.host}`, ca: await readFile(other.ca, 'utf8') };
    site = await startSite({ upstream, login: credentialOf('edge-1'), tagTtl: '2s', before: site });
    await everywhere('after');
    expect((await deploymentReady(hub, 'app')).status?.summary).toBe('10/10');
  }, 240_000);
});

/** Bootstraps the ten spokes and starts them all at the same moment. */
async function startSpokes(): Promise<void> {
  await eventually(async () => {
    const { items } = await hub.client.list<Spoke>(SPOKES);
    const told = items
      .filter(({ spec }) => spec?.ociRegistry !== undefined)
      .map(({ metadata }) => metadata.name);
    return SPOKES_OF_THE_SITE.every((name) => told.includes(name));
  }, 20_000);
  bootstraps = await mapLimit(SPOKES_OF_THE_SITE, 2, async (name) => bootstrapOf(hub, name));
  const [own = '', ...rest] = bootstraps;
  const data = join(await temporaryFolder(), 'edge-1');
  await writeFile(`${data}.bootstrap.yaml`, own, { mode: 0o600 });
  [first, ...others] = await Promise.all([
    restartSpoke('edge-1', data),
    ...rest.map(async (text, index) => startLocalSpoke(SPOKES_OF_THE_SITE[index + 1] ?? '', text)),
  ]);
}

/** Waits until the hub has told the spokes of something else than what they have. */
async function deploymentPublished(): Promise<void> {
  const { groupDigest } = (await statusOf('edge-1')) ?? {};
  await eventually(async () => parsePublishedRoot(await nudgeOf('edge-1')).group !== groupDigest, 30_000);
}

async function statusOf(name: string): Promise<SpokeStatus | undefined> {
  return (await hub.client.get<Spoke>(SPOKES, { name })).status;
}

async function nudgeOf(name: string): Promise<string> {
  const { metadata } = await hub.client.get<Spoke>(SPOKES, { name });
  return metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION] ?? '';
}
