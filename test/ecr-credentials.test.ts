import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { FakeClock } from '@mural/core/testing';
import {
  awsCallerIdentity,
  cloudCredentials,
  type OciError,
  packArtifact,
  pullArtifact,
  pushArtifact,
  RegistryClient,
} from '@mural/oci';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Aws, type Identity, type PolicyDocument, startAws } from './fixtures/ecr/index.ts';

const PRIVATE_ACTIONS = [
  'ecr:GetAuthorizationToken',
  'ecr:BatchCheckLayerAvailability',
  'ecr:InitiateLayerUpload',
  'ecr:UploadLayerPart',
  'ecr:CompleteLayerUpload',
  'ecr:PutImage',
  'ecr:BatchGetImage',
  'ecr:GetDownloadUrlForLayer',
];
const PUBLIC_ACTIONS = [
  'ecr-public:GetAuthorizationToken',
  'sts:GetServiceBearerToken',
  'ecr-public:BatchCheckLayerAvailability',
  'ecr-public:InitiateLayerUpload',
  'ecr-public:UploadLayerPart',
  'ecr-public:CompleteLayerUpload',
  'ecr-public:PutImage',
];
const ALL = [...PRIVATE_ACTIONS, ...PUBLIC_ACTIONS];
const REPO = 'acme/workloads';

let aws: Aws;
let publicRepo: string;
const trusted = getCACertificates('default');
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  aws = await startAws();
  setDefaultCACertificates([...trusted, aws.ca]);
  aws.registries.private(aws.account, aws.region).create(REPO);
  aws.registries.public(aws.account).create('workloads');
  publicRepo = `${aws.registries.aliasOf(aws.account)}/workloads`;
});
afterAll(async () => {
  setDefaultCACertificates(trusted);
  await aws.close();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

function policy(actions: readonly string[]): PolicyDocument {
  return { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: [...actions], Resource: '*' }] };
}

let count = 0;

/** An identity of each kind that may do just this. */
async function identity(kind: string, actions: readonly string[]): Promise<Identity> {
  count += 1;
  const name = `mural-${count}`;
  const policies = [policy(actions)];
  if (kind === 'keys') return aws.iam.createUser({ name, policies }).accessKey;
  if (kind !== 'IRSA') {
    const role = aws.iam.createRole({ name, policies });
    return kind === 'Pod Identity'
      ? await aws.podIdentity(role.arn)
      : await aws.instance(role.arn, { hopLimit: 2 });
  }
  const issuer = await aws.oidcIssuer();
  const { arn, url } = issuer.provider;
  const trustPolicy: PolicyDocument = {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Federated: arn },
        Action: 'sts:AssumeRoleWithWebIdentity',
        Condition: {
          StringEquals: {
            [`${url}:sub`]: 'system:serviceaccount:mural-system:hue',
            [`${url}:aud`]: 'sts.amazonaws.com',
          },
        },
      },
    ],
  };
  const role = aws.iam.createRole({ name, policies, trustPolicy });
  return await issuer.serviceAccount({ namespace: 'mural-system', name: 'hue', roleArn: role.arn });
}

function client(registry: string, who: Identity): RegistryClient {
  const environment = aws.environment(who);
  const credentials = cloudCredentials({ provider: 'aws', registry, environment });
  const made = new RegistryClient({ registry, credentials, environment });
  open.push(made);
  return made;
}

async function roundTrip(one: RegistryClient, repository: string, content: string): Promise<void> {
  const packed = await packArtifact({ files: [{ path: 'a.yaml', content }] });
  const { digest } = await pushArtifact(one, repository, packed, { tags: [`v-${content}`] });
  const pulled = await pullArtifact(one, repository, digest);
  expect(pulled.layer.length).toBeGreaterThan(0);
}

describe.each(['keys', 'IRSA', 'Pod Identity', 'instance profile'])('an identity by %s', (kind) => {
  it('pushes to and pulls from a private registry', async () => {
    const who = await identity(kind, PRIVATE_ACTIONS);
    await roundTrip(client(aws.registryHost(), who), REPO, `private-${count}`);
  });

  it('pushes to and pulls from ECR Public', async () => {
    const who = await identity(kind, PUBLIC_ACTIONS);
    await roundTrip(client('public.ecr.aws', who), publicRepo, `public-${count}`);
  });

  it('is known to STS', async () => {
    const environment = aws.environment(await identity(kind, []));
    const caller = await awsCallerIdentity({ registry: aws.registryHost(), environment });
    expect(caller.account).toBe(aws.account);
    expect(caller.arn).toContain(`mural-${count}`);
  });
});

describe.each([
  ['private', PRIVATE_ACTIONS],
  ['public', PUBLIC_ACTIONS],
] as const)('a policy for ECR %s', (kind, actions) => {
  it.each(actions)('without %s fails with an error that names it', async (missing) => {
    const who = await identity(
      'keys',
      ALL.filter((action) => action !== missing),
    );
    const [registry, repository] =
      kind === 'private' ? [aws.registryHost(), REPO] : ['public.ecr.aws', publicRepo];
    const error = await roundTrip(client(registry, who), repository, `denied-${count}`).then(
      () => expect.fail('it was allowed'),
      (caught: unknown) => caught as OciError,
    );
    expect(error).toMatchObject({ code: 'AccessDenied', facts: { action: missing } });
    expect(`${error.message} ${error.hint ?? ''}`).toContain(missing);
  });
});

describe('a token', () => {
  it.each(['private', 'public'])(
    'that has expired is fetched anew once, and the call goes on (%s)',
    async (kind) => {
      const who = await identity('keys', ALL);
      const [registry, repository] =
        kind === 'private' ? [aws.registryHost(), REPO] : ['public.ecr.aws', publicRepo];
      const one = client(registry, who);
      await roundTrip(one, repository, `before-${count}`);
      const before = tokenCalls();
      aws.faults.expireTokens();
      await Promise.all(
        Array.from({ length: 8 }, async (_, index) => roundTrip(one, repository, `after-${count}-${index}`)),
      );
      expect(tokenCalls() - before).toBe(1);
    },
  );

  it('survives the rotation of its web identity', async () => {
    const who = await identity('IRSA', ALL);
    const registry = aws.registryHost();
    const provider = cloudCredentials({ provider: 'aws', registry, environment: aws.environment(who) });
    const first = await provider();
    if ('rotate' in who) await who.rotate();
    aws.faults.expireSessions();
    expect(await provider(first === undefined ? {} : { rejected: first })).toBeDefined();
  });
});

it('an instance with a hop limit of 1 tells a pod how to raise it', async () => {
  const role = aws.iam.createRole({ name: 'mural-hops', policies: [policy(ALL)] });
  const instance = await aws.instance(role.arn, { hopLimit: 1, hops: 2 });
  const clock = new FakeClock(Date.now());
  const environment = aws.environment(instance);
  const provider = cloudCredentials({ provider: 'aws', registry: aws.registryHost(), environment, clock });
  const asked = provider().then(
    () => expect.fail('it was answered'),
    (error: unknown) => error,
  );
  const moving = setInterval(() => void clock.advance(1000), 10);
  const error = await asked.finally(() => clearInterval(moving));
  expect(error).toMatchObject({
    code: 'IdentityUnavailable',
    message: expect.stringContaining('hop limit of 1'),
    hint: expect.stringContaining('--http-put-response-hop-limit 2'),
  });
  instance.setHopLimit(2);
  const fresh = cloudCredentials({ provider: 'aws', registry: aws.registryHost(), environment });
  expect(await fresh()).toMatchObject({ username: 'AWS' });
});

function tokenCalls(): number {
  return aws.calls.filter(({ action, plane }) => plane === 'api' && action.endsWith(':GetAuthorizationToken'))
    .length;
}
