import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from './testing/run.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-cli-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

describe('the command line', () => {
  it('explains itself', async () => {
    const { code, out } = await run(['--help']);
    expect(code).toBe(0);
    for (const command of ['up', 'spoke', 'status', 'push', 'pull', 'tag', 'list', 'registry', 'values']) {
      expect(out).toMatch(new RegExp(`^ {2}${command} `, 'm'));
    }
    expect((await run(['up', '--help'])).out).toContain('--api-port <port>');
  });

  it('tells its version', async () => {
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [['upp'], 'unknown command'],
    [['up', '--api-prot', '1'], '--api-port'],
    [['up', '--api-port', '70000'], 'from 0 to 65535'],
    [['up', '--listen', 'example.com'], 'IP address'],
    [['up', '--log-level', 'loud'], 'Allowed choices'],
    [['spoke', 'run'], "required option '--data <dir>'"],
    [['spoke', 'bootstrap'], "missing required argument 'name'"],
    [['spoke', 'bootstrap', 'a', '--labels', 'tier'], 'key=value'],
    [['spoke', 'bootstrap', 'a', '--labels', 'tier=edge'], '--labels goes with --create'],
    [['spoke', 'bootstrap', 'a', '--registry', 'site:5000/b/c'], '--registry must be oci://host'],
    [['spoke', 'bootstrap', 'a', '--registry', 'oci://site:5000/b/c:v1'], 'has a tag'],
    [['spoke', 'bootstrap', 'a', '--registry', 'oci://u:pw@site/b'], 'oci://site:5000/mural/workloads'],
    [['spoke', 'bootstrap', 'a', '--registry-ca', 'ca.crt'], '--registry-ca goes with --registry'],
    [['spoke', 'bootstrap', 'a', '--creds', 'me'], 'user:password'],
    [['push', 'artifact', 'oci://a.example/b', '--path', '.'], 'names no tag'],
    [['push', 'artifact', 'a.example/b:c', '--path', '.'], 'not an OCI URL'],
    [['pull', 'artifact', 'oci://a.example/b:c', '--output', 'x', '--creds', 'me'], 'user:password'],
    [['tag', 'artifact', 'oci://a.example/b:c', '--tag', 'no tag'], 'is not a tag'],
    [['registry', 'serve', '--no-tls', '--listen', '0.0.0.0'], '--no-tls is refused'],
    [['registry', 'serve', '--anonymous', 'push', '--listen', '0.0.0.0'], '--anonymous push is refused'],
    [['registry', 'serve', '--tls-cert', 'x'], '--tls-cert and --tls-key go together'],
    [[], 'Usage: mural'],
  ])('%j makes no sense: exit code 2', async (args, message) => {
    const { code, out, err } = await run(args, { cwd: folder });
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(out).toBe('');
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    [['values', 'lint', 'none.yaml'], 'error: cannot read none.yaml: there is no such file\n'],
    [['values', 'lint', '.'], 'error: cannot read .: it is a folder\n'],
    [['status'], 'error: there is no kubeconfig: .mural/kubeconfig\nhint: '],
    [['status', '--kubeconfig', 'k'], 'error: there is no kubeconfig: k\nhint: '],
    [['up', '--values', 'none.yaml'], 'error: cannot read none.yaml'],
    [['spoke', 'run', '--data', 'd', '--bootstrap', 'b.yaml'], 'error: cannot read b.yaml'],
    [
      ['spoke', 'bootstrap', 'a', '--registry', 'oci://s/b/c', '--registry-ca', 'none.crt'],
      'error: cannot read none.crt',
    ],
    [['push', 'artifact', 'oci://127.0.0.1:1/b:c', '--path', 'none'], 'error: cannot read none'],
  ])('%j fails with one error: exit code 1', async (args, message) => {
    const { code, out, err } = await run(args, { cwd: folder });
    expect(code).toBe(1);
    expect(err.startsWith(message)).toBe(true);
    expect(err.split('error:')).toHaveLength(2);
    expect(out).toBe('');
    expect(await readdir(folder)).toEqual([]);
  });

  it('looks for a kubeconfig in $KUBECONFIG before the current folder', async () => {
    const { err } = await run(['status'], { cwd: folder, env: { KUBECONFIG: '/none/a:/none/b' } });
    expect(err).toContain('/none/a, /none/b, .mural/kubeconfig');
  });
});

describe('mural values lint', () => {
  it('prints a finding a line, and exits with 1 for an error', async () => {
    await writeFile(join(folder, 'values.yaml'), 'hue:\n  ociregistry: {}\n');
    const { code, out } = await run(['values', 'lint', 'values.yaml'], { cwd: folder });
    expect(code).toBe(1);
    expect(out).toMatch(/^values\.yaml:2:3: error: .*hue\.ociRegistry.* \(key-case\)\n$/);
  });

  it('exits with 0 for a warning', async () => {
    await writeFile(join(folder, 'values.yaml'), 'something: {}\n');
    const { code, out } = await run(['values', 'lint', 'values.yaml'], { cwd: folder });
    expect(code).toBe(0);
    expect(out).toContain('values.yaml:1:1: warning:');
  });

  it('prints JSON', async () => {
    await writeFile(join(folder, 'values.yaml'), 'zot: [\n');
    const { code, out } = await run(['values', 'lint', '--format', 'json', 'values.yaml'], { cwd: folder });
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject([{ file: 'values.yaml', level: 'error', rule: 'yaml' }]);
  });
});

describe('mural up with bad values', () => {
  it.each([
    ['hue:\n  ociRegistry: [\n', /values\.yaml:\d+:\d+: error: invalid YAML/],
    ['hue:\n  ociRegistry:\n    endpont: oci://a/b\n', /values\.yaml:3:5: error: .*endpoint/],
    [
      'hue:\n  ociRegistry: { endpoint: oci://1.dkr.ecr.eu-west-1.amazonaws.com, repository: a, provider: aws }\n',
      /values\.yaml:2:\d+: error: .*hue\.ociRegistry/,
    ],
    [
      'fleetConfig:\n  spokes:\n    - name: a\n      ociRegistry: { endpoint: oci://a.example, repository: a, provider: gcp }\n',
      /error: fleetConfig\.spokes\[0\]\.ociRegistry\.provider.*gcp/,
    ],
  ])('%j starts nothing and leaves nothing', async (text, message) => {
    await writeFile(join(folder, 'values.yaml'), text);
    const args = [
      'up',
      '--data',
      'data',
      '--api-port',
      '0',
      '--registry-port',
      '0',
      '--values',
      'values.yaml',
    ];
    const { code, err } = await run(args, { cwd: folder });
    expect(code).toBe(1);
    expect(err).toMatch(message);
    expect(await readdir(folder)).toEqual(['values.yaml']);
  });
});
