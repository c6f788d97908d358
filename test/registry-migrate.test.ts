import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CONFIG_MAPS,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  credentialOf,
  EXTERNAL_REPOSITORY,
  readerOf,
  type RegistryAccount,
  type RegistryProcess,
  startExternalRegistry,
} from './support/external-registry.ts';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  mural,
  ROOT,
  type SpokeProcess,
  startHub,
  startSpoke,
  temporaryFolder,
} from './support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile, objectsOf } from './support/objects.ts';

const BIN = join(ROOT, 'packages/cli/bin/mural.js');
const EDGES = ['edge-1', 'edge-2'] as const;
const REGISTRY_SECRET = { name: 'mural-registry', namespace: 'mural-system' };

function oldValues(): string {
  const spokes = ['hub', ...EDGES].map((name) => ({ name }));
  return stringify({ hue: { ociRegistry: { interval: '1s', timeout: '10s' } }, fleetConfig: { spokes } });
}

function newValues(registry: RegistryProcess): string {
  const at = (user: RegistryAccount) => ({
    endpoint: `oci://${registry.host}/fleet`,
    repository: 'workloads',
    basicAuth: credentialOf(user),
  });
  return stringify({
    hue: { ociRegistry: { ...at('hue'), interval: '1s', timeout: '10s' } },
    fleetConfig: {
      spokes: [{ name: 'hub' }, ...EDGES.map((name) => ({ name, ociRegistry: at(name) }))],
    },
  });
}

/** A line of `--format json`. */
type Line = Readonly<Record<string, unknown>>;

describe('mural registry migrate', () => {
  let registry: RegistryProcess;
  let hub: Hub;
  let spokes: SpokeProcess[];
  let files: { readonly old: string; readonly to: string };
  /** The files, and how to reach both registries. */
  let args: string[];
  let oldUrl: string;
  let newUrl: string;

  beforeAll(async () => {
    registry = await startExternalRegistry();
    const folder = await temporaryFolder();
    files = { old: join(folder, 'old.yaml'), to: join(folder, 'new.yaml') };
    await writeFile(files.old, oldValues());
    await writeFile(files.to, newValues(registry), { mode: 0o600 });
    hub = await startHub({ args: ['--values', files.old, '--registry-ca', registry.ca] });
    spokes = await Promise.all(EDGES.map(async (name) => startSpoke(hub, name)));
    for (const color of ['red', 'green', 'blue']) await deploy(color, color);
    for (const color of ['red', 'green', 'blue']) await deploymentReady(hub, color);
    oldUrl = `oci://${new URL(hub.ready.registry).host}/mural/workloads`;
    newUrl = `oci://${registry.host}/${EXTERNAL_REPOSITORY}`;
    args = ['--values', files.old, '--to', files.to, '--kubeconfig', hub.ready.kubeconfig];
  }, 120_000);
  afterAll(cleanUp);

  async function deploy(name: string, color: string): Promise<void> {
    await apply(
      hub.client,
      manifestsProfile(name, configMap(name, { color })),
      everySpoke('all'),
      deployment(name, name, 'all'),
    );
  }

  async function run(...more: string[]) {
    return mural(['registry', 'migrate', ...args, ...more]);
  }

  /** Runs it, and shows each line of its progress. */
  async function follow(
    more: readonly string[],
    see: (line: Line) => Promise<'go on' | 'kill'>,
  ): Promise<number | string | null> {
    const all = [BIN, 'registry', 'migrate', ...args, '--format', 'json', ...more];
    const child = spawn(process.execPath, all, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    for await (const text of createInterface({ input: child.stdout })) {
      if ((await see(JSON.parse(text) as Line)) === 'kill') child.kill('SIGKILL');
    }
    await closed;
    return child.exitCode ?? child.signalCode;
  }

  /** Runs it until a line of its progress is there, and kills it. */
  async function killAt(isThere: (line: Line) => boolean, ...more: string[]): Promise<void> {
    const ended = await follow(more, async (line) => (isThere(line) ? 'kill' : 'go on'));
    expect(ended).toBe('SIGKILL');
  }

  async function state(): Promise<Line | undefined> {
    const ref = { name: 'mural-registry-migration', namespace: 'mural-system' };
    const object = await hub.client.find<UnstructuredObject>(CONFIG_MAPS, ref);
    const text = (object?.data as { 'migration.json'?: string } | undefined)?.['migration.json'];
    return text === undefined ? undefined : (JSON.parse(text) as Line);
  }

  async function urls(): Promise<Record<string, string | undefined>> {
    const { items } = await hub.client.list<Spoke>(SPOKES);
    return Object.fromEntries(items.map(({ metadata, status }) => [metadata.name, status?.registryUrl]));
  }

  async function everythingAt(url: string): Promise<void> {
    expect(await urls()).toEqual({ hub: url, 'edge-1': url, 'edge-2': url });
    for (const client of [hub.client, ...spokes.map((spoke) => spoke.client)]) {
      const { items } = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
      for (const { spec, status } of items) {
        expect(spec.url).toBe(url);
        expect(status?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
      }
    }
  }

  it('asks for the Secrets of the spokes first, and prints them', async () => {
    const refused = await run();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('2 spokes read the new registry with Secrets');
    expect(refused.stderr).toContain('--print-secrets edge-1');
    expect(await state()).toBeUndefined();
    for (const spoke of spokes) {
      const printed = await run('--print-secrets', spoke.name);
      expect(printed.stderr).toBe('');
      const objects = objectsOf(printed.stdout);
      expect(objects.map(({ metadata }) => metadata.name)).toEqual(['mural-registry', 'mural-registry-ca']);
      for (const object of objects)
        await spoke.client.apply(SECRETS, object, { fieldManager: 'kubectl', force: true });
    }
  }, 60_000);

  it('shows with --dry-run what it would do, and changes nothing', async () => {
    const { code, stdout, stderr } = await run('--dry-run');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain(`from ${oldUrl}\nto   ${newUrl}\nphase      Copying\n`);
    expect(stdout).toMatch(/spokes {5}3 to move, 0 moved already\nwaves {6}3: 1, 1, 1\n/);
    expect(stdout).toContain('Nothing was changed.');
    expect(await state()).toBeUndefined();
    const reader = await readerOf(registry, 'hue');
    await expect(reader.listTags(EXTERNAL_REPOSITORY)).rejects.toMatchObject({ code: 'NameUnknown' });
    await reader.close();
  }, 60_000);

  it('stops at its first spoke when that cannot read the new registry, and can be taken back', async () => {
    const [edge] = spokes;
    if (edge === undefined) throw new Error('there is no spoke');
    const secret = await edge.client.get<UnstructuredObject>(SECRETS, REGISTRY_SECRET);
    const before = await edge.client.get(CONFIG_MAPS, { name: 'red', namespace: 'default' });
    await edge.client.patch(SECRETS, REGISTRY_SECRET, 'merge', {
      data: { '.dockerconfigjson': withoutPassword(secret, registry.host) },
    });
    const refused = await run('--yes', '--timeout', '8s');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(
      `spoke edge-1 does not report to read ${newUrl}: it reads its root from ${oldUrl}`,
    );
    expect(refused.stderr).toMatch(/FetchFailed, AuthenticationFailed: OCIRepository mural-group: .*/);
    expect(await state()).toMatchObject({ phase: 'SwitchingSpokes', switched: ['edge-1'], wave: ['edge-1'] });
    const { items } = await edge.client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
    const failed = items.filter(({ status }) =>
      status?.conditions?.some(({ type, status: is }) => type === 'FetchFailed' && is === 'True'),
    );
    expect(failed.map(({ metadata }) => metadata.name)).toEqual(['mural-group']);

    const back = await run('--rollback');
    expect([back.code, back.stderr]).toEqual([0, expect.stringContaining('done')]);
    await everythingAt(oldUrl);
    const after = await edge.client.get(CONFIG_MAPS, { name: 'red', namespace: 'default' });
    expect(after.metadata.uid).toBe(before.metadata.uid);
    await edge.client.patch(SECRETS, REGISTRY_SECRET, 'merge', { data: secret.data });
  }, 120_000);

  it('goes on after kills of the command and of the hub, and no spoke is ever without', async () => {
    const watch = watchSpokes(spokes);
    await killAt(({ type }) => type === 'copied', '--yes');
    expect(await state()).toMatchObject({ phase: 'Copying', switched: [] });
    await killAt(({ type }) => type === 'spoke', '--yes');
    expect(await state()).toMatchObject({ phase: 'SwitchingSpokes' });
    // A rollout in the middle: it reaches spokes on either registry.
    await deploy('red', 'crimson');
    await deploymentReady(hub, 'red');
    // The hub is killed under a running command, which waits for it and goes on.
    const ports = [new URL(hub.ready.api), new URL(hub.ready.registry)].map(({ port }) => Number(port));
    const [apiPort = 0, registryPort = 0] = ports;
    const lines: Line[] = [];
    const code = await follow(['--yes'], async (line) => {
      lines.push(line);
      const waves = lines.filter(({ step }) => step === 'wave').length;
      if (line['step'] !== 'wave' || waves > 1) return 'go on';
      await hub.kill();
      hub = await startHub({
        ...{ data: hub.data, apiPort, registryPort },
        args: ['--values', files.old, '--registry-ca', registry.ca],
      });
      return 'go on';
    });
    expect(code).toBe(0);
    expect(await state()).toMatchObject({
      phase: 'Completed',
      switched: ['edge-1', 'edge-2', 'hub'],
      wave: [],
    });
    await everythingAt(newUrl);
    await watch.end();
    expect(lines.map(({ message }) => String(message)).join('\n')).toContain(
      `Nothing needs ${oldUrl} any more: it can be removed.`,
    );
    expect(await previous(hub.client)).toBeUndefined();
  }, 180_000);

  it('says so when it is done already, and delivers through the new registry alone', async () => {
    const again = await run();
    expect([again.code, again.stderr]).toEqual([0, `✔ done: the fleet reads ${newUrl}\n`]);
    await deploy('green', 'lime');
    const { status } = await deploymentReady(hub, 'green');
    const reader = await readerOf(registry, 'edge-1');
    for (const { digest = '' } of status?.spokes ?? []) {
      expect((await reader.headManifest(EXTERNAL_REPOSITORY, digest))?.digest).toBe(digest);
    }
    await reader.close();
  }, 60_000);

  it('goes back with --rollback, with what was made since, also after a kill', async () => {
    const watch = watchSpokes(spokes);
    await killAt(({ type, step }) => type === 'step' && step === 'wave', '--rollback');
    expect(await state()).toMatchObject({ phase: 'RevertingSpokes' });
    const refused = await run('--yes');
    expect(refused.stderr).toContain('this migration is being rolled back');
    const back = await run('--rollback');
    expect(back.code).toBe(0);
    expect(await state()).toMatchObject({ phase: 'RolledBack', switched: [] });
    await everythingAt(oldUrl);
    await watch.end();
    await registry.kill();
    await rm(registry.data, { recursive: true });
    await deploy('blue', 'navy');
    await deploymentReady(hub, 'blue');
  }, 120_000);
});

async function previous(client: KubeClient): Promise<string | undefined> {
  const ref = { name: 'mural-values', namespace: 'mural-system' };
  const secret = await client.find<UnstructuredObject>(SECRETS, ref);
  return (secret?.data as Record<string, string> | undefined)?.['previous.yaml'];
}

/** A `.dockerconfigjson` with a wrong password for one registry, in base64. */
function withoutPassword({ data }: UnstructuredObject, host: string): string {
  const text = (data as Record<string, string>)['.dockerconfigjson'] ?? '';
  const config = JSON.parse(Buffer.from(text, 'base64').toString()) as {
    readonly auths: Record<string, unknown>;
  };
  expect(Object.keys(config.auths)).toContain(host);
  const auth = Buffer.from('edge-1:not-the-password').toString('base64');
  const auths = { ...config.auths, [host]: { username: 'edge-1', password: 'not-the-password', auth } };
  return Buffer.from(JSON.stringify({ auths })).toString('base64');
}

/** Looks all the time whether any source on a spoke fails to fetch what it is to have. */
function watchSpokes(spokes: readonly SpokeProcess[]): { end(): Promise<void> } {
  const stopped = new AbortController();
  const failures = new Set<string>();
  const looking = (async () => {
    while (!stopped.signal.aborted) {
      for (const { client, name } of spokes) {
        const { items } = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
        for (const { metadata, status } of items) {
          const failed = status?.conditions?.find(
            (condition) => condition.type === 'FetchFailed' && condition.status === 'True',
          );
          if (failed !== undefined) failures.add(`${name} ${metadata.name ?? ''}: ${failed.message}`);
        }
      }
      await delay(50);
    }
  })();
  return {
    async end() {
      stopped.abort();
      await looking;
      // While the hub and its embedded registry are killed, nobody can read there.
      expect([...failures].filter((text) => !/ECONNREFUSED|ECONNRESET|socket|connect/.test(text))).toEqual(
        [],
      );
    },
  };
}
