import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AccessKey, type Aws, type Identity, startAws } from '../fixtures/ecr/index.ts';
import { allow } from '../fixtures/ecr/test-client.ts';
import { cleanUp, temporaryFolder } from '../support/mural.ts';
import { type Ran, run, tryRun } from '../support/run.ts';

const PUBLIC = 'public.ecr.aws';
let aws: Aws;
let admin: AccessKey;
let folder: string;
let host: string;
beforeAll(async () => {
  aws = await startAws();
  admin = aws.iam.createUser({ name: 'admin', policies: [allow('*')] }).accessKey;
  folder = await temporaryFolder();
  host = aws.registryHost();
});
afterAll(async () => {
  await aws.close();
  await cleanUp();
});

/** Environment of a process of that identity, with its own credentials for registries. */
function environment(identity: Identity | undefined, docker = 'docker'): NodeJS.ProcessEnv {
  return {
    ...aws.environment(identity),
    HOME: folder,
    DOCKER_CONFIG: join(folder, docker),
    REGISTRY_AUTH_FILE: join(folder, docker, 'config.json'),
  };
}

async function cli<T = unknown>(identity: Identity, ...args: readonly string[]): Promise<T> {
  const text = await run('aws', [...args, '--output', 'json'], { env: environment(identity) });
  return JSON.parse(text === '' ? '{}' : text) as T;
}

async function failing(identity: Identity, ...args: readonly string[]): Promise<Ran> {
  const ran = await tryRun('aws', args, { env: { ...environment(identity), AWS_MAX_ATTEMPTS: '1' } });
  expect(ran.code).not.toBe(0);
  return ran;
}

interface Details {
  readonly imageDetails: {
    readonly imageDigest: string;
    readonly imageTags: string[];
    readonly imageSizeInBytes: number;
  }[];
}

describe('the AWS CLI on the emulator', () => {
  it('says who it is, by keys, IRSA, instance profile and Pod Identity', async () => {
    const issuer = await aws.oidcIssuer();
    const { arn: provider, url } = issuer.provider;
    const subject = 'system:serviceaccount:mural-system:hue';
    const { arn: irsa } = aws.iam.createRole({
      name: 'hue',
      trustPolicy: {
        Statement: {
          Effect: 'Allow',
          Principal: { Federated: provider },
          Action: 'sts:AssumeRoleWithWebIdentity',
          Condition: { StringEquals: { [`${url}:sub`]: [subject], [`${url}:aud`]: 'sts.amazonaws.com' } },
        },
      },
    });
    const { arn: node } = aws.iam.createRole({ name: 'node' });
    const identities: readonly [Identity, RegExp][] = [
      [admin, /^arn:aws:iam::123456789012:user\/admin$/],
      [
        await issuer.serviceAccount({ namespace: 'mural-system', name: 'hue', roleArn: irsa }),
        /^arn:aws:sts::123456789012:assumed-role\/hue\/botocore-session-\d+$/,
      ],
      [await aws.instance(node), /^arn:aws:sts::123456789012:assumed-role\/node\/i-0/],
      [await aws.podIdentity(node), /^arn:aws:sts::123456789012:assumed-role\/node\/eks-/],
    ];
    for (const [identity, arn] of identities) {
      const who = await cli<{ Arn: string; Account: string }>(identity, 'sts', 'get-caller-identity');
      expect(who.Arn).toMatch(arn);
      expect(who.Account).toBe('123456789012');
    }
    const stranger = await issuer.serviceAccount({ namespace: 'default', name: 'hue', roleArn: irsa });
    const { stderr } = await failing(stranger, 'sts', 'get-caller-identity');
    expect(stderr).toContain('(AccessDenied)');
    expect(stderr).toContain('Not authorized to perform sts:AssumeRoleWithWebIdentity');
  });

  it('finds no credentials behind a hop limit of 1', async () => {
    const instance = await aws.instance(aws.iam.createRole({ name: 'far' }).arn, { hopLimit: 1 });
    const { stderr } = await failing(instance, 'sts', 'get-caller-identity');
    expect(stderr).toMatch(/Unable to locate credentials|NoCredentials/);
  });

  it('creates, describes and deletes repositories, and says what went wrong', async () => {
    const name = ['--repository-name', 'cli/app'];
    const created = await cli(
      admin,
      'ecr',
      'create-repository',
      ...name,
      '--image-tag-mutability',
      'IMMUTABLE',
    );
    expect(created).toMatchObject({
      repository: { repositoryUri: `${host}/cli/app`, imageTagMutability: 'IMMUTABLE' },
    });
    expect(await cli(admin, 'ecr', 'describe-repositories', '--repository-names', 'cli/app')).toMatchObject({
      repositories: [{ repositoryArn: 'arn:aws:ecr:us-east-1:123456789012:repository/cli/app' }],
    });
    const again = await failing(admin, 'ecr', 'create-repository', ...name);
    expect(again.stderr).toContain('(RepositoryAlreadyExistsException)');
    await cli(
      admin,
      'ecr',
      'put-image-tag-mutability',
      ...name,
      '--image-tag-mutability',
      'IMMUTABLE_WITH_EXCLUSION',
      '--image-tag-mutability-exclusion-filters',
      'filterType=WILDCARD,filter=spoke-*',
    );
    await cli(admin, 'ecr', 'delete-repository', ...name);
    const gone = await failing(admin, 'ecr', 'describe-images', ...name);
    expect(gone.stderr).toContain(
      "(RepositoryNotFoundException) when calling the DescribeImages operation: The repository with name 'cli/app' does not exist in the registry with id '123456789012'",
    );
  });

  it('is told the action that it may not take', async () => {
    const { accessKey } = aws.iam.createUser({
      name: 'reader',
      policies: [allow('ecr:GetAuthorizationToken')],
    });
    const { stderr } = await failing(accessKey, 'ecr', 'describe-repositories');
    expect(stderr).toContain(
      '(AccessDeniedException) when calling the DescribeRepositories operation: User: ',
    );
    expect(stderr).toContain('because no identity-based policy allows the ecr:DescribeRepositories action');
  });

  it('pages through what is there', async () => {
    for (let index = 0; index < 5; index += 1)
      aws.registries.private(aws.account, aws.region).create(`many/${index}`);
    const paged = await cli<{ repositories: unknown[] }>(
      admin,
      'ecr',
      'describe-repositories',
      '--page-size',
      '2',
    );
    expect(paged.repositories.length).toBeGreaterThanOrEqual(5);
  });
});

describe('pushing and pulling with a token of the AWS CLI', () => {
  let layer: string;
  const content = randomBytes(3_000_000);
  beforeAll(async () => {
    layer = join(folder, 'layer.tar');
    await writeFile(join(folder, 'content'), content);
    await run('tar', ['-cf', layer, '-C', folder, 'content']);
    aws.registries.private(aws.account, aws.region).create('team/app');
    aws.registries.public(aws.account).create('app');
    const env = environment(admin);
    for (const [service, registry, region] of [
      ['ecr', host, aws.region],
      ['ecr-public', PUBLIC, 'us-east-1'],
    ] as const) {
      const password = await run('aws', [service, 'get-login-password', '--region', region], { env });
      await run('crane', ['auth', 'login', '-u', 'AWS', '--password-stdin', registry], {
        env,
        input: password.trim(),
      });
    }
  });

  it('works for crane, skopeo and oras on a private registry', async () => {
    const env = environment(admin);
    const reference = `${host}/team/app:crane`;
    await run('crane', ['append', '-f', layer, '-t', reference, '--oci-empty-base'], { env });
    const digest = (await run('crane', ['digest', reference], { env })).trim();
    await run('crane', ['validate', '--remote', reference], { env });
    const layout = `oci:${join(folder, 'skopeo')}:app`;
    const skopeo = ['--insecure-policy', 'copy', '--preserve-digests'];
    await run('skopeo', [...skopeo, `docker://${reference}`, layout], { env });
    await run('skopeo', [...skopeo, layout, `docker://${host}/team/app:skopeo`], { env });
    await writeFile(join(folder, 'note.txt'), 'hello');
    await run('oras', ['push', `${host}/team/app:oras`, 'note.txt'], { env, cwd: folder });
    const out = join(folder, 'oras');
    await mkdir(out);
    await run('oras', ['pull', `${host}/team/app:oras`], { env, cwd: out });
    expect(await readFile(join(out, 'note.txt'), 'utf8')).toBe('hello');
    const { imageDetails } = await cli<Details>(
      admin,
      'ecr',
      'describe-images',
      '--repository-name',
      'team/app',
    );
    const copies = imageDetails.find(({ imageDigest }) => imageDigest === digest);
    expect(copies?.imageTags.sort()).toEqual(['crane', 'skopeo']);
    expect(copies?.imageSizeInBytes).toBeGreaterThan(2_900_000);
    expect(imageDetails).toHaveLength(2);
    const layers = aws.calls.filter(({ action }) => action === 'layers:GetObject');
    expect(layers.length).toBeGreaterThan(0);
  });

  it('works on ECR Public, where anybody pulls', async () => {
    const env = environment(admin);
    const reference = `${aws.registries.public(aws.account).identity.uri}/app:v1`;
    await run('crane', ['append', '-f', layer, '-t', reference], { env });
    const nobody = environment(undefined, 'nobody');
    const digest = (await run('crane', ['digest', reference], { env: nobody })).trim();
    await run('crane', ['validate', '--remote', reference], { env: nobody });
    const denied = await tryRun('crane', ['tag', reference, 'mine'], { env: nobody });
    expect(denied.code).not.toBe(0);
    expect(denied.stderr).toContain('DENIED');
    const region = ['--region', 'us-east-1'];
    const found = await cli<Details>(
      admin,
      'ecr-public',
      'describe-images',
      '--repository-name',
      'app',
      ...region,
    );
    expect(found.imageDetails).toMatchObject([{ imageDigest: digest, imageTags: ['v1'] }]);
    const registries = await cli(admin, 'ecr-public', 'describe-registries', ...region);
    expect(registries).toMatchObject({ registries: [{ registryId: '123456789012' }] });
  });

  it('fails as on AWS: no repository, immutable tag, expired token', async () => {
    const env = environment(admin);
    const other = join(folder, 'other.tar');
    await run('tar', ['-cf', other, '-C', folder, 'note.txt'], { env });
    const push = async (reference: string, file = layer) =>
      await tryRun('crane', ['append', '-f', file, '-t', reference], { env });
    expect((await push(`${host}/no/such:v1`)).stderr).toContain(
      "NAME_UNKNOWN: The repository with name 'no/such' does not exist in the registry with id '123456789012'",
    );
    aws.registries.private(aws.account, aws.region).create('team/fixed', { mutability: 'IMMUTABLE' });
    expect((await push(`${host}/team/fixed:v1`)).code).toBe(0);
    expect((await push(`${host}/team/fixed:v1`, other)).stderr).toContain(
      "TAG_INVALID: The image tag 'v1' already exists in the 'team/fixed' repository",
    );
    aws.faults.expireTokens();
    const late = await tryRun('crane', ['manifest', `${host}/team/fixed:v1`], { env });
    expect(late.stderr).toContain(
      'DENIED: Your authorization token has expired. Reauthenticate and try again.',
    );
  });

  it('goes nowhere else', () => {
    expect(aws.refusedHosts).toEqual([]);
  });
});
