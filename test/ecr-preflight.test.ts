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
