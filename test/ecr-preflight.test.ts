import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { PreflightCheck } from '@mural/oci';
import type { Policy } from '@mural/values';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Ran, run } from '../packages/cli/src/testing/run.ts';
import { type AccessKey, type Aws, type Repository, startAws } from './fixtures/ecr/index.ts';

type Kind = 'private' | 'public';
type Role = 'push' | 'pull' | 'push-and-pull';

const trusted = getCACertificates('default');
const NAME = { private: 'team/workloads', public: 'workloads' } as const;
let aws: Aws;
let folder: string;
let count = 0;

beforeAll(async () => {
  aws = await startAws({ accounts: ['123456789012', '210987654321'] });
  setDefaultCACertificates([...trusted, aws.ca]);
  folder = await mkdtemp(join(tmpdir(), 'mural-preflight-'));
  for (const kind of ['private', 'public'] as const) {
    await writeFile(join(folder, `${kind}.yaml`), valuesFor(kind));
  }
});
afterAll(async () => {
  setDefaultCACertificates(trusted);
  await aws.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  for (const kind of ['private', 'public'] as const) {
    registry(kind).repositories.delete(NAME[kind]);
    registry(kind).create(NAME[kind]);
  }
});

function registry(kind: Kind) {
  return kind === 'private'
    ? aws.registries.private(aws.account, aws.region)
    : aws.registries.public(aws.account);
}

function endpointOf(kind: Kind): string {
  return kind === 'private'
    ? `${aws.registryHost()}/team`
    : `public.ecr.aws/${aws.registries.aliasOf(aws.account)}`;
}

function valuesFor(kind: Kind, repository = 'workloads'): string {
  const common = `      provider: aws\n      endpoint: oci://${endpointOf(kind)}\n      repository: ${repository}\n`;
  return [
    `hue:\n  ociRegistry:\n${common.replaceAll('      ', '    ')}`,
    `fleetConfig:\n  spokes:\n${['edge-1', 'edge-2'].map((name) => `    - name: ${name}\n      ociRegistry:\n${common.replaceAll('      ', '        ')}`).join('')}`,
    'zot:\n  enabled: false\n',
  ].join('');
}

const repositoryOf = (kind: Kind): Repository => registry(kind).repository(NAME[kind]);

/** The least policy, as the command prints it. */
async function policyOf(kind: Kind, role: Role): Promise<Policy> {
  const args = ['ecr', 'policy', '--values', join(folder, `${kind}.yaml`), '--role', role];
  const { out, code } = await run([...args, '--account', aws.account]);
  expect(code).toBe(0);
  return JSON.parse(out) as Policy;
}

function without(policy: Policy, missing: string): string {
  const Statement = policy.Statement.map((statement) => ({
    ...statement,
    Action: [statement.Action].flat().filter((action) => action !== missing),
  }));
  return JSON.stringify({ ...policy, Statement });
}

function userWith(policies: readonly string[], account?: string): AccessKey {
  count += 1;
  const name = `operator-${count}`;
  return aws.iam.createUser({ name, policies, ...(account === undefined ? {} : { account }) }).accessKey;
}

async function preflight(
  file: string,
  who: AccessKey | undefined,
  ...args: readonly string[]
): Promise<Ran & { readonly checks: readonly PreflightCheck[] }> {
  const env = { HOME: folder, ...aws.environment(who) };
  const ran = await run(['ecr', 'preflight', '--values', join(folder, file), '--format', 'json', ...args], {
    env,
  });
  return { ...ran, checks: JSON.parse(ran.out) as PreflightCheck[] };
}

function failed(checks: readonly PreflightCheck[]): string[] {
  return checks.filter(({ status }) => status === 'fail').map(({ check }) => check);
}

/** Everything that the registries hold: files of blobs and uploads, images and tags. */
async function held(kind: Kind): Promise<unknown> {
  const files = await readdir(aws.storeFolder, { recursive: true });
  const { images, tags } = repositoryOf(kind);
  const names = [...registry(kind).repositories.keys()];
  return {
    files: files.filter((file) => /sha256|uploads\/./.test(file)).sort(),
    images: [...images.keys()],
    tags: [...tags.keys()],
    names,
  };
}

describe.each(['private', 'public'] as const)('the preflight of a repository of ECR %s', (kind) => {
  const file = `${kind}.yaml`;

  it.each(['push', 'pull', 'push-and-pull'] as const)(
    'finds nothing wrong with the policy for %s, and leaves nothing behind',
    async (role) => {
      const policy = await policyOf(kind, role);
      const before = await held(kind);
      const calls = aws.calls.length;
      const { code, checks } = await preflight(file, userWith([JSON.stringify(policy)]), '--role', role);
      expect(failed(checks)).toEqual([]);
      expect(code).toBe(0);
      const actions = policy.Statement.flatMap(({ Action }) => Action);
      const asked = aws.calls.slice(calls).map(({ action }) => action);
      for (const action of actions.filter((one) => !one.startsWith('sts:'))) expect(asked).toContain(action);
      expect(checks.map(({ check }) => check)).toEqual(
        expect.arrayContaining(['identity', 'token', 'repository']),
      );
      expect(await held(kind)).toEqual(before);
    },
  );
});

const ROLES = ['push', 'pull', 'push-and-pull'] as const;
const KINDS = ['private', 'public'] as const;

describe.each(KINDS.flatMap((kind) => ROLES.map((role) => [kind, role] as const)))(
  'without one action of the policy for ECR %s and %s',
  (kind, role) => {
    it('the preflight names exactly that action, with the statement that is missing', async () => {
      const policy = await policyOf(kind, role);
      const actions = policy.Statement.flatMap(({ Action }) => Action);
      for (const action of actions) {
        const who = userWith([without(policy, action)]);
        const { code, checks } = await preflight(`${kind}.yaml`, who, '--role', role);
        expect([action, failed(checks)]).toEqual([action, [action]]);
        expect(code).toBe(1);
        const { fix } = checks.find(({ status }) => status === 'fail') ?? {};
        const statement = policy.Statement.find(({ Action }) => [Action].flat().includes(action));
        const needed = { Effect: 'Allow', Action: action, Resource: statement?.Resource };
        expect(fix).toContain(JSON.stringify(needed));
        expect(fix).toContain(`mural ecr policy --values ${join(folder, `${kind}.yaml`)} --role`);
      }
    }, 30_000);
  },
);

describe('what the preflight says', () => {
  const everything = { Effect: 'Allow', Action: ['ecr:*', 'ecr-public:*', 'sts:*'], Resource: '*' };
  const admin = (account?: string) => userWith([JSON.stringify({ Statement: [everything] })], account);
  const operator = async (kind: Kind, role: Role = 'push-and-pull') =>
    userWith([JSON.stringify(await policyOf(kind, role))]);
  const statusOf = (checks: readonly PreflightCheck[], check: string) =>
    checks.find((one) => one.check === check);

  it('is one line for each check, with the fix, and no token or password', async () => {
    const who = userWith([without(await policyOf('private', 'push'), 'ecr:PutImage')]);
    const ran = await run(['ecr', 'preflight', '--values', join(folder, 'private.yaml'), '--role', 'push'], {
      env: { HOME: folder, ...aws.environment(who) },
    });
    const lines = ran.out.trimEnd().split('\n');
    const [file, values, registryLine, ...checks] = lines;
    expect(file).toBe(join(folder, 'private.yaml'));
    expect(values).toMatch(/^ {2}ok {4}values {2,}nothing to say$/);
    expect(registryLine).toMatch(/\/team\/workloads$/);
    for (const line of checks) expect(line).toMatch(/^ {2}(?:ok {2}|fail|warn|skip) {2}\S+ {2,}\S/);
    expect(checks.filter((line) => line.startsWith('  fail'))).toEqual([
      expect.stringMatching(/^ {2}fail {2}ecr:PutImage {2,}denied: .*; fix: add to an IAM policy of arn:/),
    ]);
    expect(`${ran.out}${ran.err}`).not.toContain(who.secretAccessKey);
    expect(`${ran.out}${ran.err}`).not.toMatch(/eyJ|[A-Za-z0-9+/=]{80}/);
    expect(ran.code).toBe(1);
  });

  it('of a repository that is not there is the command that creates it, and does not create it', async () => {
    for (const kind of KINDS) {
      const state = registry(kind);
      state.repositories.delete(NAME[kind]);
      const prefix = { prefix: 'ROOT', appliedFor: ['CREATE_ON_PUSH'], createdAt: 0 };
      if (kind === 'private') state.templates.set('ROOT', prefix);
      const { checks, code } = await preflight(`${kind}.yaml`, await operator(kind));
      state.templates.clear();
      expect(code).toBe(1);
      const service = kind === 'private' ? 'ecr' : 'ecr-public';
      expect(statusOf(checks, 'repository')).toMatchObject({
        status: 'fail',
        fix: `aws ${service} create-repository --repository-name ${NAME[kind]} --region us-east-1`,
      });
      expect(failed(checks)).toEqual(['repository']);
      expect(state.repositories.size).toBe(0);
      state.create(NAME[kind]);
    }
  });

  it('of immutable tags is the command that lets those move that the hub moves', async () => {
    const repository = repositoryOf('private');
    const ask = async () => statusOf((await preflight('private.yaml', admin())).checks, 'tag-mutability');
    const filter = (text: string) => ({ filterType: 'WILDCARD', filter: text }) as const;
    repository.mutability = 'IMMUTABLE';
    expect(await ask()).toMatchObject({
      status: 'fail',
      fix: "aws ecr put-image-tag-mutability --repository-name team/workloads --region us-east-1 --image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters 'filterType=WILDCARD,filter=spoke-*' 'filterType=WILDCARD,filter=group-*'",
    });
    repository.mutability = 'IMMUTABLE_WITH_EXCLUSION';
    repository.exclusions = [filter('spoke-*')];
    expect(await ask()).toMatchObject({ status: 'fail', message: expect.stringContaining('group-*') });
    repository.exclusions = [filter('spoke-*'), filter('g*')];
    expect(await ask()).toMatchObject({ status: 'ok' });
    repository.mutability = 'MUTABLE_WITH_EXCLUSION';
    repository.exclusions = [filter('release-*')];
    expect(await ask()).toMatchObject({ status: 'ok' });
    repository.exclusions = [filter('*-1')];
    expect(await ask()).toMatchObject({ status: 'fail' });
    const { checks } = await preflight('private.yaml', await operator('private'));
    expect(statusOf(checks, 'tag-mutability')).toMatchObject({
      status: 'skip',
      message: expect.stringContaining('not needed in operation'),
    });
  });

  it('of a lifecycle policy is never one that expires what spokes use', async () => {
    const repository = repositoryOf('private');
    const ask = async () => statusOf((await preflight('private.yaml', admin())).checks, 'lifecycle');
    const none = await ask();
    expect(none).toMatchObject({ status: 'warn', fix: expect.stringContaining('put-lifecycle-policy') });
    repository.lifecyclePolicy = /--lifecycle-policy-text '(.*)'$/.exec(none?.fix ?? '')?.[1];
    expect(await ask()).toMatchObject({ status: 'ok' });
    repository.lifecyclePolicy = JSON.stringify({
      rules: [{ rulePriority: 7, selection: { tagStatus: 'any' }, action: { type: 'expire' } }],
    });
    expect(await ask()).toMatchObject({ status: 'warn', message: expect.stringContaining('rule 7') });
  });

  it('of another account is the policy that the repository needs, and it works', async () => {
    const allowed = await policyOf('private', 'push-and-pull');
    const who = userWith([JSON.stringify(allowed)], '210987654321');
    const { checks } = await preflight('private.yaml', who);
    const [warning] = checks.filter(({ check, status }) => check === 'identity' && status === 'warn');
    expect(warning?.message).toContain('the registry is in account 123456789012');
    expect(failed(checks)).toContain('ecr:BatchGetImage');
    const policy = /--policy-text '(.*)'$/.exec(warning?.fix ?? '')?.[1] ?? '';
    registry('private').repositories.delete(NAME.private);
    registry('private').create(NAME.private, { policy });
    const again = await preflight('private.yaml', who);
    expect(failed(again.checks)).toEqual([]);
  });

  it('of nobody is that there is no identity, and of a wrong role which one it is', async () => {
    const { checks, code } = await preflight('private.yaml', undefined);
    expect(failed(checks)).toEqual(['identity']);
    expect(code).toBe(1);
    const bound = `  serviceAccount:\n    annotations:\n      eks.amazonaws.com/role-arn: arn:aws:iam::${aws.account}:role/hue\n`;
    await writeFile(
      join(folder, 'bound.yaml'),
      valuesFor('private').replace('fleetConfig:', `${bound}fleetConfig:`),
    );
    const other = await preflight('bound.yaml', await operator('private', 'push'), '--role', 'push');
    expect(other.code).toBe(0);
    expect(
      other.checks.filter(({ status, check }) => status === 'warn' && check === 'identity'),
    ).toHaveLength(1);
  });

  it('of what could not be told is a warning', async () => {
    aws.faults.fail('ecr:PutImage', 100);
    const { checks, code } = await preflight('private.yaml', await operator('private'));
    aws.faults.clear();
    expect(code).toBe(0);
    expect(statusOf(checks, 'ecr:PutImage')).toMatchObject({ status: 'warn' });
  }, 30_000);

  it('of wrong values is what the lint says, and nothing is asked of AWS', async () => {
    await writeFile(
      join(folder, 'wrong.yaml'),
      valuesFor('private').replace('provider: aws', 'provider: amazon'),
    );
    const before = aws.calls.length;
    const { checks, code } = await preflight('wrong.yaml', await operator('private'));
    expect(code).toBe(1);
    expect(failed(checks)).toEqual([expect.stringMatching(/^values\//)]);
    expect(aws.calls).toHaveLength(before);
  });

  it('covers the registry of all spokes once, as one that pulls', async () => {
    const { checks } = await preflight('private.yaml', await operator('private', 'pull'), '--role', 'pull');
    const repositories = checks.filter(({ check }) => check === 'repository');
    expect(repositories.map(({ target }) => target)).toEqual([`${endpointOf('private')}/workloads`]);
    expect(checks.some(({ check }) => check === 'ecr:PutImage')).toBe(false);
  });

  it('has nothing to look at in the embedded registry', async () => {
    await writeFile(join(folder, 'embedded.yaml'), 'zot:\n  enabled: true\n');
    const { checks, code } = await preflight('embedded.yaml', undefined);
    expect(code).toBe(0);
    expect(statusOf(checks, 'registry')).toMatchObject({ status: 'skip' });
  });
});
