import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { FakeClock } from '@mural/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { KubeConnection } from '../http/transport.ts';
import { kubeConfigText, loadKubeConfig } from './kubeconfig.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function config(user: object, cluster: object = {}, name = 'c'): string {
  return stringify({
    clusters: [{ name, cluster: { server: 'https://api:6443', ...cluster } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: 'apps' } }],
    'current-context': name,
  });
}

async function tokenOf({ token }: KubeConnection): Promise<string | undefined> {
  return typeof token === 'function' ? await token() : token;
}

describe('loadKubeConfig', () => {
  it('reads what kubeConfigText writes', async () => {
    const connection: KubeConnection = {
      server: 'https://127.0.0.1:6443',
      ca: 'CA',
      token: 'secret',
      clientCert: 'CERT',
      clientKey: 'KEY',
      insecureSkipTlsVerify: false,
      serverName: 'api',
      namespace: 'ns',
    };
    expect(await loadKubeConfig({ text: kubeConfigText(connection) })).toMatchObject(connection);
  });

  it('reads files beside the kubeconfig, and rereads a token file', async () => {
    await writeFile(join(directory, 'ca.pem'), 'CA');
    await writeFile(join(directory, 'token'), 'one\n');
    const path = join(directory, 'config');
    await writeFile(path, config({ tokenFile: 'token' }, { 'certificate-authority': 'ca.pem' }));
    const clock = new FakeClock();
    const connection = await loadKubeConfig({ path, clock });
    expect(connection).toMatchObject({ server: 'https://api:6443', ca: 'CA', namespace: 'apps' });
    expect(await tokenOf(connection)).toBe('one');
    await writeFile(join(directory, 'token'), 'two\n');
    expect(await tokenOf(connection)).toBe('one');
    await clock.advance(61_000);
    expect(await tokenOf(connection)).toBe('two');
  });

  it('merges the files of KUBECONFIG, the first one first, and leaves out missing ones', async () => {
    const [a, b] = [join(directory, 'a'), join(directory, 'b')];
    await writeFile(a, config({ token: 'a' }, {}, 'a'));
    await writeFile(b, config({ token: 'b' }, {}, 'b'));
    const env = { KUBECONFIG: [join(directory, 'missing'), a, b].join(delimiter) };
    expect(await tokenOf(await loadKubeConfig({ env }))).toBe('a');
    expect(await tokenOf(await loadKubeConfig({ env, context: 'b' }))).toBe('b');
  });

  it('finds the file in the home directory, and the service account of a pod', async () => {
    await mkdir(join(directory, '.kube'));
    await writeFile(join(directory, '.kube', 'config'), config({ username: 'u', password: 'p' }));
    expect(await loadKubeConfig({ env: { HOME: directory } })).toMatchObject({
      basicAuth: { username: 'u', password: 'p' },
    });
    for (const [name, text] of Object.entries({ 'ca.crt': 'CA', token: 'pod', namespace: 'mine' })) {
      await writeFile(join(directory, name), text);
    }
    const env = { HOME: '/nonexistent', KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const connection = await loadKubeConfig({ env, serviceAccountDirectory: directory });
    expect(connection).toMatchObject({ server: 'https://[fd00::1]:443', ca: 'CA', namespace: 'mine' });
    expect(await tokenOf(connection)).toBe('pod');
  });

  it('asks an exec plugin', async () => {
    const command = join(directory, 'plugin');
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 't' },
    };
    await writeFile(command, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`);
    await chmod(command, 0o755);
    const exec = { apiVersion: credential.apiVersion, command, interactiveMode: 'Never' };
    expect(await tokenOf(await loadKubeConfig({ text: config({ exec }) }))).toBe('t');
    await writeFile(command, '#!/bin/sh\necho secret >&2\nexit 1\n');
    await expect(loadKubeConfig({ text: config({ exec }) })).rejects.toMatchObject({
      code: 'KubeConfigInvalid',
      message: 'the credential plugin of the kubeconfig failed',
    });
  });

  it.each([
    ['no YAML', ': [', 'the kubeconfig is not YAML'],
    ['another document', 'clusters: 3', 'the kubeconfig is not a kubeconfig: clusters:'],
    ['no current context', '{}', 'the kubeconfig names no current context'],
    ['an unknown context', 'current-context: x', 'the kubeconfig has no context "x"'],
  ])('refuses %s', async (_name, text, message) => {
    await expect(loadKubeConfig({ text })).rejects.toMatchObject({
      code: 'KubeConfigInvalid',
      message: expect.stringContaining(message),
    });
  });

  it('says what is missing', async () => {
    await expect(loadKubeConfig({ path: join(directory, 'x') })).rejects.toThrow('does not exist');
    await expect(loadKubeConfig({ env: { HOME: directory } })).rejects.toThrow('there is no kubeconfig');
    const text = config({ 'client-certificate': 'none.pem' });
    await expect(loadKubeConfig({ text })).rejects.toThrow('the file none.pem of the kubeconfig');
  });
});
