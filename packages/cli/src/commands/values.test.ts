import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ran, run } from '../testing/run.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-values-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

const mural = async (...args: string[]): Promise<Ran> => run(args, { cwd: folder });
const write = async (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
const read = async (name: string): Promise<string> => readFile(join(folder, name), 'utf8');

const HUE = `# what hue writes
hue:
  ociRegistry:
    endpoint: oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/team
    repository: workloads
    provider: aws
`;
const SPOKES = `fleetConfig:
  spokes:
    - name: spoke-1
    - name: spoke-2
`;
const OLD = `${HUE.replace('/team', '/team/')}    basicAuth: # from before
      username: admin
      password: hunter2-hunter2
  serviceaccount:
    create: true
    annotations: {}
zot:
  enabled: "false" # not yet
`;
const NEW = `${HUE}  serviceAccount:
    create: true
    annotations: {}
zot:
  enabled: false # not yet
`;

describe('mural values lint --fix', () => {
  it('writes what is certain, says so, and leaves the rest of the file as it is', async () => {
    await write('values.yaml', OLD);
    const before = await mural('values', 'lint', 'values.yaml');
    expect(before.code).toBe(1);
    expect(before.err).toContain('mural values lint --fix');
    const { code, out, err } = await mural('values', 'lint', 'values.yaml', '--fix');
    expect(out.split('\n').map((line) => line.replace(/: fixed: .*\(/, ' ('))).toEqual([
      'values.yaml:4:15 (endpoint)',
      'values.yaml:10:3 (key-case)',
      'values.yaml:14:12 (type)',
      'values.yaml:7:5 (basic-auth-provider)',
      '',
    ]);
    expect(`${out}${err}`).not.toContain('hunter2');
    expect(code).toBe(0);
    expect(await read('values.yaml')).toBe(NEW);
    expect(await mural('values', 'lint', 'values.yaml', '--fix')).toEqual({ code: 0, out: '', err: '' });
  });

  it('keeps the permissions of the file, and leaves no other behind', async () => {
    await write('values.yaml', OLD);
    await chmod(join(folder, 'values.yaml'), 0o600);
    await mural('values', 'lint', 'values.yaml', '--fix');
    expect((await stat(join(folder, 'values.yaml'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['values.yaml']);
  });

  it('tells programs what it wrote and what is left', async () => {
    await write('values.yaml', `${HUE.replace('oci://', 'https://')}zott: {}\n`);
    const { code, out } = await mural('values', 'lint', 'values.yaml', '--fix', '--format', 'json');
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject([
      { rule: 'endpoint', fixed: true, line: 4, fix: expect.stringMatching(/^oci:/) as string },
      { rule: 'unknown-key', line: 7, level: 'error', fix: 'zot' },
    ]);
  });
});

describe('mural values schema', () => {
  it('prints a JSON Schema', async () => {
    const { code, out } = await mural('values', 'schema');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
    });
  });
});

describe('mural ecr', () => {
  beforeEach(async () => write('values.yaml', HUE + SPOKES));

  it('prints one JSON document and nothing else', async () => {
    const policy = await mural('ecr', 'policy', '--values', 'values.yaml', '--role', 'pull');
    expect(policy).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(policy.out)).toMatchObject({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow' }, {}],
    });
    const trust = await mural(
      'ecr',
      'trust-policy',
      '--values',
      'values.yaml',
      '--hub-issuer',
      'https://a.example/id/1',
    );
    expect(trust.err).toBe(
      "note: taken to run in the hub's cluster, for want of a --spoke-issuer: spoke-1, spoke-2\n",
    );
    expect(JSON.parse(trust.out)).toMatchObject({ Statement: [{ Action: 'sts:AssumeRoleWithWebIdentity' }] });
  });

  it('takes an issuer and a namespace for each spoke', async () => {
    const issuers = [
      '--spoke-issuer',
      'spoke-1=https://b.example/1',
      '--spoke-issuer',
      'spoke-2=https://b.example/2',
    ];
    const names = ['--spoke-namespace', 'spoke-2=edge'];
    const { out, err } = await mural('ecr', 'trust-policy', '--values', 'values.yaml', ...issuers, ...names);
    expect(err).toBe('');
    expect(out).toContain('"b.example/1:sub": "system:serviceaccount:mural-system:source-controller"');
    expect(out).toContain('"b.example/2:sub": "system:serviceaccount:edge:source-controller"');
  });

  it('compares a policy with what is needed', async () => {
    const { out } = await mural('ecr', 'policy', '--values', 'values.yaml');
    await write('policy.json', out);
    const check = ['ecr', 'policy', '--values', 'values.yaml', '--check', 'policy.json'];
    expect(await mural(...check)).toEqual({ code: 0, out: '', err: '' });
    await write('policy.json', out.replace('"ecr:PutImage",', '"ecr:DeleteRepository",'));
    const checked = await mural(...check);
    expect(checked.code).toBe(1);
    expect(checked.out).toBe(
      'missing: ecr:PutImage on arn:aws:ecr:eu-west-1:123456789012:repository/team/workloads: no statement allows it\n' +
        'excess: statement 1: ecr:DeleteRepository is not needed\n',
    );
    expect(await mural(...check, '--role', 'pull')).toMatchObject({ code: 0 });
  });

  it.each([
    [['policy'], 2, "required option '--values <file>'"],
    [['policy', '--values', 'values.yaml', '--role', 'read'], 2, 'Allowed choices'],
    [['policy', '--values', 'none.yaml'], 1, 'cannot read none.yaml'],
    [['policy', '--values', 'bad.yaml'], 1, 'bad.yaml is not valid'],
    [
      ['policy', '--values', 'public.yaml'],
      1,
      'hint: give the 12 digits of the account that owns the registry with --account',
    ],
    [
      ['policy', '--values', 'values.yaml', '--check', 'values.yaml'],
      1,
      'values.yaml is no IAM policy: it is no JSON',
    ],
    [['trust-policy', '--values', 'values.yaml'], 1, 'hint: give the OpenID Connect issuer'],
    [['trust-policy', '--values', 'values.yaml', '--spoke-issuer', 'spoke-1'], 2, 'key=value'],
    [
      ['trust-policy', '--values', 'values.yaml', '--spoke-issuer', 'spok-1=https://a.example'],
      1,
      'did you mean spoke-1?',
    ],
  ])('%j is refused', async (args, exit, message) => {
    await write('bad.yaml', HUE.replace('123456789012', '<account-id>'));
    await write('public.yaml', HUE.replace(/oci:.*/, 'oci://public.ecr.aws/a1b2'));
    const { code, out, err } = await mural('ecr', ...args);
    expect(code).toBe(exit);
    expect(out).toBe('');
    expect(err).toContain(message);
  });
});
