import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKubeClient, type KubeObject, loadKubeConfig, type UnstructuredObject } from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { applyBootstrap, startSpoke } from '@mural/spoke';
import { stringify } from 'yaml';
import { mural, type MuralProcess, startMural, temporaryFolder } from './mural.ts';
import { objectsOf } from './objects.ts';

/** The registry of a site: a mirror of the hub's. */
export interface SiteRegistry extends MuralProcess {
  /** `host:port`. */
  readonly host: string;
  /** PEM of its own CA. */
  readonly ca: string;
  /** Where that is. */
  readonly caFile: string;
  /** The account of the spokes there. */
  readonly login: { readonly username: string; readonly password: string };
}

/** What the registry of a site is started with. */
export interface SiteOptions {
  /** The registry of the hub, as the site reaches it. */
  readonly upstream: { readonly url: string; readonly ca: string };
  /** The account of the site there. */
  readonly login: { readonly username: string; readonly password: string };
  /** How long a tag is served without asking upstream. */
  readonly tagTtl: string;
  /** The registry that it is to be in place of, after that was stopped. */
  readonly before?: SiteRegistry;
}

/** Starts the registry of a site in a process of its own, as an operator would: from a configuration. */
export async function startSite({ upstream, login, tagTtl, before }: SiteOptions): Promise<SiteRegistry> {
  const folder = await temporaryFolder();
  const spokes = { username: 'spokes', password: 'password-of-the-site-4711' };
  const config = {
    users: [
      {
        name: spokes.username,
        passwordFile: 'spokes-password',
        policies: [{ repositories: 'mural/**', actions: ['read'] }],
      },
    ],
    mirrors: [
      {
        repositories: 'mural/**',
        upstream: upstream.url,
        credentials: { username: login.username, passwordFile: 'upstream-password' },
        caFile: 'upstream-ca.crt',
        tagTtl,
        negativeTtl: '1s',
        timeout: '10s',
      },
    ],
  };
  const files = {
    'registry.yaml': stringify(config),
    'spokes-password': spokes.password,
    'upstream-password': login.password,
    'upstream-ca.crt': upstream.ca,
  };
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o600 });
  const data = before?.data ?? join(folder, 'site');
  const port = before?.host.split(':')[1] ?? '0';
  const args = [
    'registry',
    'serve',
    '--data',
    data,
    '--config',
    join(folder, 'registry.yaml'),
    '--port',
    port,
  ];
  const { process: started, ready } = await startMural(args, data, `${data}.ready.json`);
  const caFile = ready['ca'] ?? '';
  const ca = await readFile(caFile, 'utf8');
  return { ...started, host: new URL(ready['registry'] ?? '').host, ca, caFile, login: spokes };
}

/** A spoke in this process. */
export interface LocalSpoke {
  readonly name: string;
  readonly cluster: FakeKubeApi;
  stop(): Promise<void>;
}

/** What `mural spoke bootstrap` prints. */
export async function bootstrapOf(
  hub: { readonly ready: { readonly kubeconfig: string } },
  name: string,
  ...more: readonly string[]
): Promise<string> {
  const args = ['spoke', 'bootstrap', name, '--kubeconfig', hub.ready.kubeconfig, ...more];
  const { code, stdout, stderr } = await mural(args);
  if (code !== 0) throw new Error(`mural spoke bootstrap ${name}: ${stderr}`);
  return stdout;
}

/** Starts a spoke in this process, with an API in memory, from what `mural spoke bootstrap` printed. */
export async function startLocalSpoke(name: string, bootstrap: string): Promise<LocalSpoke> {
  const objects: readonly KubeObject[] = objectsOf(bootstrap);
  const dataDir = join(await temporaryFolder(), name);
  await mkdir(dataDir);
  const cluster = createFakeKubeApi();
  await applyBootstrap(cluster, objects);
  const hub = createKubeClient(
    await loadKubeConfig({ text: secretText(objects, 'mural-hub', 'kubeconfig') }),
  );
  const spoke = await startSpoke({ client: cluster, dataDir, name, hub: { client: hub }, environment: {} });
  return {
    name,
    cluster,
    stop: async () => {
      await spoke.stop();
      await hub.close();
    },
  };
}

/** One value of a Secret among the objects of a bootstrap. */
export function secretText(objects: readonly KubeObject[], name: string, key: string): string {
  const found = objects.find(({ kind, metadata }) => kind === 'Secret' && metadata.name === name);
  const data = (found as UnstructuredObject | undefined)?.['data'] as
    | Readonly<Record<string, string>>
    | undefined;
  return Buffer.from(data?.[key] ?? '', 'base64').toString();
}
