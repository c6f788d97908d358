import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import {
  BatchGetImageCommand,
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  ECRClient,
  GetAuthorizationTokenCommand,
  GetLifecyclePolicyCommand,
  GetRepositoryPolicyCommand,
  ListImagesCommand,
  PutImageCommand,
  PutImageTagMutabilityCommand,
  PutLifecyclePolicyCommand,
  SetRepositoryPolicyCommand,
} from '@aws-sdk/client-ecr';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { eventually } from '@mural/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AccessKey, type Aws, startAws } from '../fixtures/ecr/index.ts';
import { allow, digestOf, imageManifest, IMAGE_TYPE, TestClient } from '../fixtures/ecr/test-client.ts';

/**
 * The same calls on the emulator and on moto: two readings of one documentation. What moto is known
 * to get wrong is not compared: the digest, size and artifact type of an image, the expiry of tokens,
 * and whether layers exist.
 */
let aws: Aws;
let client: TestClient;
let admin: AccessKey;
let moto: ChildProcess;
let clients: { readonly ours: ECRClient; readonly theirs: ECRClient };
let endpoint: string;
const ACCOUNT = '123456789012';
const KEY = { accessKeyId: 'test', secretAccessKey: 'test' };
const repositoryName = 'team/app';

beforeAll(async () => {
  aws = await startAws({ throttling: false });
  client = new TestClient(aws);
  admin = aws.iam.createUser({ name: 'admin', policies: [allow('*')] }).accessKey;
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  moto = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  await eventually(async () => (await fetch(`${endpoint}/moto-api/`)).ok, 60_000);
  const theirs = new ECRClient({ endpoint, region: 'us-east-1', credentials: KEY, maxAttempts: 1 });
  clients = { ours: client.ecr(admin), theirs };
});
afterAll(async () => {
  if (moto.exitCode === null) {
    moto.kill();
    await once(moto, 'exit');
  }
  client.close();
  await aws.close();
});

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

interface Result {
  /** Code of the error, or `none`. */
  readonly error: string;
  readonly message: string;
  readonly output: object;
}

async function settle(call: Promise<object>): Promise<Result> {
  try {
    const { $metadata: _, ...output } = (await call) as Record<string, unknown>;
    return { error: 'none', message: '', output };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // Of two quotes at the end moto leaves one out.
    const message = error.message.replaceAll(/\s+/g, ' ').replace(/'+$/, "'");
    return { error: error.name, message, output: {} };
  }
}

async function both(
  call: (ecr: ECRClient) => Promise<object>,
): Promise<{ readonly ours: Result; readonly theirs: Result }> {
  return { ours: await settle(call(clients.ours)), theirs: await settle(call(clients.theirs)) };
}

/** Names and kinds of all members; of a list, those of its first element. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (value instanceof Date) return 'date';
  if (typeof value !== 'object' || value === null) return typeof value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined && member !== null);
  return Object.fromEntries(members.sort().map(([name, member]) => [name, shapeOf(member)]));
}

describe('the emulator and moto', () => {
  it('give a repository the same members', async () => {
    const created = await both((ecr) => ecr.send(new CreateRepositoryCommand({ repositoryName })));
    expect(created.ours.error).toBe('none');
    expect(shapeOf(created.ours.output)).toEqual(shapeOf(created.theirs.output));
    const described = await both((ecr) => ecr.send(new DescribeRepositoriesCommand({})));
    expect(shapeOf(described.ours.output)).toEqual(shapeOf(described.theirs.output));
    const names = ({ output }: Result): unknown => {
      const { repositories } = output as { repositories: { repositoryArn: string; repositoryUri: string }[] };
      return repositories.map(({ repositoryArn, repositoryUri }) => [repositoryArn, repositoryUri]);
    };
    expect(names(described.ours)).toEqual(names(described.theirs));
  });

  it.each<[string, (ecr: ECRClient) => Promise<object>]>([
    ['a second repository of a name', (ecr) => ecr.send(new CreateRepositoryCommand({ repositoryName }))],
    [
      'an unknown repository',
      (ecr) => ecr.send(new DescribeRepositoriesCommand({ repositoryNames: ['none'] })),
    ],
    [
      'images of an unknown repository',
      (ecr) => ecr.send(new DescribeImagesCommand({ repositoryName: 'none' })),
    ],
    ['a list of an unknown repository', (ecr) => ecr.send(new ListImagesCommand({ repositoryName: 'none' }))],
    [
      'deleting an unknown repository',
      (ecr) => ecr.send(new DeleteRepositoryCommand({ repositoryName: 'none' })),
    ],
    [
      'an unknown image',
      (ecr) => ecr.send(new DescribeImagesCommand({ repositoryName, imageIds: [{ imageTag: 'none' }] })),
    ],
    [
      'a lifecycle policy that is not there',
      (ecr) => ecr.send(new GetLifecyclePolicyCommand({ repositoryName })),
    ],
    ['a policy that is not there', (ecr) => ecr.send(new GetRepositoryPolicyCommand({ repositoryName }))],
    ['a wrong name', (ecr) => ecr.send(new CreateRepositoryCommand({ repositoryName: 'Wrong/Name' }))],
  ])('refuse %s with the same error, in the same words', async (_what, call) => {
    const { ours, theirs } = await both(call);
    expect(ours.error).toMatch(/Exception$/);
    expect(ours).toEqual(theirs);
  });

  it('give an image the same members', async () => {
    const base = `https://${aws.registryHost()}/v2/${repositoryName}`;
    const auth = await client.login(admin);
    for (const blob of ['{}', 'layer']) await client.pushBlob(base, auth, blob);
    const manifest = imageManifest('{}', 'layer');
    const image = {
      repositoryName,
      imageTag: 'v1',
      imageManifest: manifest,
      imageManifestMediaType: IMAGE_TYPE,
    };
    const put = await both((ecr) => ecr.send(new PutImageCommand(image)));
    expect(put.ours.error).toBe('none');
    expect(shapeOf(put.ours.output)).toEqual(shapeOf(put.theirs.output));
    const listed = await both((ecr) => ecr.send(new ListImagesCommand({ repositoryName })));
    expect(shapeOf(listed.ours.output)).toEqual(shapeOf(listed.theirs.output));
    const imageIds = [{ imageTag: 'v1' }, { imageTag: 'none' }];
    const got = await both((ecr) => ecr.send(new BatchGetImageCommand({ repositoryName, imageIds })));
    expect(shapeOf(got.theirs.output)).toMatchObject(shapeOf(got.ours.output) as object);
    const described = await both((ecr) => ecr.send(new DescribeImagesCommand({ repositoryName })));
    const [ours, theirs] = [described.ours, described.theirs].map(
      ({ output }) => (shapeOf(output) as { imageDetails: Record<string, unknown>[] }).imageDetails[0],
    );
    expect(ours).toEqual({ ...theirs, artifactMediaType: 'string', lastRecordedPullTime: 'date' });
    expect(described.ours.output).toMatchObject({ imageDetails: [{ imageDigest: digestOf(manifest) }] });
    const again = await both((ecr) => ecr.send(new PutImageCommand(image)));
    expect(again.ours.error).toBe('ImageAlreadyExistsException');
    expect(again.ours.error).toBe(again.theirs.error);
  });

  it.each<[string, (ecr: ECRClient) => Promise<object>]>([
    ['tokens', (ecr) => ecr.send(new GetAuthorizationTokenCommand({}))],
    [
      'mutability',
      (ecr) =>
        ecr.send(new PutImageTagMutabilityCommand({ repositoryName, imageTagMutability: 'IMMUTABLE' })),
    ],
    [
      'lifecycle policies',
      (ecr) => ecr.send(new PutLifecyclePolicyCommand({ repositoryName, lifecyclePolicyText: LIFECYCLE })),
    ],
    [
      'repository policies',
      (ecr) => ecr.send(new SetRepositoryPolicyCommand({ repositoryName, policyText: POLICY })),
    ],
    ['deletion', (ecr) => ecr.send(new DeleteRepositoryCommand({ repositoryName, force: true }))],
  ])('answer alike about %s', async (_what, call) => {
    const { ours, theirs } = await both(call);
    expect(ours.error).toBe('none');
    expect(shapeOf(ours.output)).toEqual(shapeOf(theirs.output));
  });

  it('give a token for the same endpoint, and say who one is', async () => {
    const token = await both((ecr) => ecr.send(new GetAuthorizationTokenCommand({})));
    for (const { output } of [token.ours, token.theirs]) {
      expect(output).toMatchObject({
        authorizationData: [{ proxyEndpoint: `https://${ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com` }],
      });
    }
    const sts = new STSClient({ endpoint, region: 'us-east-1', credentials: KEY });
    const theirs = await settle(sts.send(new GetCallerIdentityCommand({})));
    const ours = await settle(client.sts(admin).send(new GetCallerIdentityCommand({})));
    expect(shapeOf(ours.output)).toEqual(shapeOf(theirs.output));
  });
});

const LIFECYCLE = JSON.stringify({
  rules: [
    {
      rulePriority: 1,
      selection: { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 },
      action: { type: 'expire' },
    },
  ],
});
const POLICY = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { AWS: '999999999999' }, Action: ['ecr:BatchGetImage'] }],
});
