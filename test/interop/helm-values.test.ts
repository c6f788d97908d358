import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  type KubeObject,
  MURAL_NAMESPACE,
  SECRETS,
  SERVICE_ACCOUNTS,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { parseValues } from '@mural/values';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fill, SNIPPETS, wholeFile } from '../../packages/values/src/testing/seed.ts';
import { cleanUp, type Hub, ROOT, startHub, temporaryFolder } from '../support/mural.ts';
import { type Ran, tryRun } from '../support/run.ts';

const CHART = join(ROOT, 'charts/mural');
const CRDS = join(ROOT, 'charts/mural-crds');

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(cleanUp);

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function helm(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return tryRun('helm', args, { cwd: folder, env: { HOME: folder, ...env } });
}

describe('helm and the charts', () => {
  it.each([CHART, CRDS])('lints, renders and packages %s', async (chart) => {
    expect(await helm(['lint', '--strict', chart])).toMatchObject({ code: 0 });
    expect(await helm(['template', 'mural', chart])).toMatchObject({ code: 0, stderr: '' });
    expect(await helm(['package', chart, '--destination', folder])).toMatchObject({ code: 0 });
    expect(await readdir(folder)).toContain(`${chart.split('/').at(-1) ?? ''}-0.1.0.tgz`);
  });

  it('renders the values of the guide into the Secret that the hub reads, and the roles into the accounts', async () => {
    for (const kind of ['private', 'public'] as const) {
      const values = await file(`${kind}.yaml`, wholeFile(kind));
      expect(await helm(['lint', '--strict', CHART, '--values', values])).toMatchObject({ code: 0 });
      const { stdout } = await helm(['template', 'mural', CHART, '--values', values]);
      const text = Buffer.from(/values\.yaml: (\S+)/.exec(stdout)?.[1] ?? '', 'base64').toString();
      expect(parseValues(text, 'a').values).toEqual(parseValues(wholeFile(kind), 'b').values);
      expect(stdout.match(/role-arn: arn:aws:iam::123456789012:role\/mural$/gm)).toHaveLength(2);
    }
  });

  it.each(Object.entries(SNIPPETS))('takes %s of the guide alone', async (name, text) => {
    const values = await file(`${name}.yaml`, fill(text));
    expect(await helm(['template', 'mural', CHART, '--values', values])).toMatchObject({ code: 0 });
  });

  it.each([
    ['hue: { ociregistry: {} }', 'ociregistry'],
    ['flux2: { sourceController: { serviceaccount: { create: true } } }', 'serviceaccount'],
    ['Zot: { enabled: false }', 'Zot'],
    ['zot: { enabled: "false" }', '/zot/enabled'],
    ['hue: { ociRegistry: { timeout: 60 } }', '/hue/ociRegistry/timeout'],
    ['hue: { ociRegistry: { endpoint: null } }', '/hue/ociRegistry/endpoint'],
    ['hue: { ociRegistry: { provider: AWS } }', '/hue/ociRegistry/provider'],
  ])('refuses %j, naming the key', async (text, key) => {
    const values = await file('bad.yaml', text);
    for (const command of ['lint', 'template']) {
      const { code, stdout, stderr } = await helm([command, CHART, '--values', values]);
      expect(code).not.toBe(0);
      expect(stdout + stderr).toContain(key);
    }
  });
});

describe('helm upgrade beside a hub that runs', () => {
  const ROLE = 'eks.amazonaws.com/role-arn';
  let hub: Hub;
  beforeAll(async () => {
    const values = await file('first.yaml', 'hue: { ociRegistry: { interval: 7m } }\n');
    hub = await startHub({ args: ['--values', values] });
  });

  const env = () => ({ KUBECONFIG: hub.ready.kubeconfig });
  const ref = (name: string) => ({ name, namespace: MURAL_NAMESPACE });

  async function upgrade(text: string, ...flags: string[]): Promise<void> {
    const values = await file('values.yaml', text);
    const args = [
      'upgrade',
      'mural',
      CHART,
      '--namespace',
      MURAL_NAMESPACE,
      '--values',
      values,
      '--wait',
      ...flags,
    ];
    const { code, stderr } = await helm(args, env());
    expect(code, stderr).toBe(0);
  }

  async function valuesInForce(): Promise<string> {
    const secret = await hub.client.get<UnstructuredObject>(SECRETS, ref('mural-values'));
    const data = secret.data as Readonly<Record<string, string>>;
    return Buffer.from(data['values.yaml'] ?? '', 'base64').toString();
  }

  async function roleOf(account: string): Promise<string | undefined> {
    const object = await hub.client.get<KubeObject>(SERVICE_ACCOUNTS, ref(account));
    return object.metadata.annotations?.[ROLE];
  }

  const withRole = (role: string): string =>
    `hue:\n  serviceAccount: { annotations: { ${ROLE}: 'arn:aws:iam::123456789012:role/${role}' } }\nfleetConfig: { spokes: [{ name: spoke-${role} }] }\n`;

  it('takes over the values and accounts that the hub made, and the hub takes over the values', async () => {
    expect(parseValues(await valuesInForce(), 'v').values.hue.ociRegistry.interval).toBe('7m');
    await upgrade(withRole('a'), '--install');
    expect(await roleOf('hue')).toMatch(/role\/a$/);
    expect(parseValues(await valuesInForce(), 'v').values.fleetConfig.spokes).toEqual([{ name: 'spoke-a' }]);
    await eventually(async () => hub.client.get(SPOKES, { name: 'spoke-a' }), 30_000);
  });

  it('changes them again and again, whatever the hub wrote between', async () => {
    for (const role of ['b', 'c']) {
      await upgrade(withRole(role));
      await eventually(async () => hub.client.get(SPOKES, { name: `spoke-${role}` }), 30_000);
      await eventually(async () => (await roleOf('hue'))?.endsWith(`role/${role}`), 30_000);
    }
    // Of an empty file Helm would make the values of the release before.
    await upgrade('zot: { enabled: true }');
    await eventually(async () => (await roleOf('hue')) === undefined, 30_000);
    expect(await roleOf('source-controller')).toBeUndefined();
  });

  it('rolls back', async () => {
    expect(
      await helm(['rollback', 'mural', '1', '--namespace', MURAL_NAMESPACE, '--wait'], env()),
    ).toMatchObject({ code: 0 });
    await eventually(async () => (await roleOf('hue'))?.endsWith('role/a'), 30_000);
  });

  it('leaves the accounts of the controllers when it is uninstalled', async () => {
    expect(await helm(['uninstall', 'mural', '--namespace', MURAL_NAMESPACE], env())).toMatchObject({
      code: 0,
    });
    expect(await hub.client.get<KubeObject>(SERVICE_ACCOUNTS, ref('hue'))).toMatchObject({
      kind: 'ServiceAccount',
    });
    await upgrade(withRole('d'), '--install');
    await eventually(async () => (await roleOf('hue'))?.endsWith('role/d'), 30_000);
    await eventually(async () => hub.client.get(SPOKES, { name: 'spoke-d' }), 30_000);
  });

  it('takes over the definitions', async () => {
    const args = ['upgrade', '--install', 'mural-crds', CRDS, '--namespace', MURAL_NAMESPACE, '--wait'];
    expect(await helm([...args, '--take-ownership'], env())).toMatchObject({ code: 0 });
    expect(await helm(args, env())).toMatchObject({ code: 0 });
    expect(await helm(['uninstall', 'mural-crds', '--namespace', MURAL_NAMESPACE], env())).toMatchObject({
      code: 0,
    });
    expect((await hub.client.get<KubeObject>(SPOKES, { name: 'spoke-d' })).metadata.name).toBe('spoke-d');
  });
});
