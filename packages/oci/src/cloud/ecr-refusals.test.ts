import { afterEach, describe, expect, it } from 'vitest';
import { digestOf, MEDIA_TYPES, RegistryClient } from '../index.ts';
import {
  type FakeRegistry,
  type FaultRule,
  startFakeProxy,
  startFakeRegistry,
  TEST_TLS_NAMES,
} from '../testing.ts';

const PRIVATE = '123456789012.dkr.ecr.us-east-1.amazonaws.com';
const PUBLIC = 'public.ecr.aws';
const REPO = 'acme/workloads';
const bytes = Buffer.from('{}');
const blob = { digest: digestOf(bytes), size: bytes.length, bytes };
const WHO = 'User: arn:aws:sts::123456789012:assumed-role/hub/mural is not authorized to perform:';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function pair(host: string): Promise<{ registry: FakeRegistry; client: RegistryClient }> {
  const credential = { username: 'AWS', password: 'token' };
  const registry = await startFakeRegistry({ tls: TEST_TLS_NAMES, credential });
  const port = Number(registry.host.split(':')[1]);
  const proxy = await startFakeProxy(() => port);
  const client = new RegistryClient({
    registry: host,
    ca: TEST_TLS_NAMES.ca,
    credentials: credential,
    environment: { HTTPS_PROXY: proxy.url },
    timeoutMs: 5000,
    random: () => 0,
  });
  open.push(registry, proxy, client);
  return { registry, client };
}

function answer(status: number, body: unknown, rule: Partial<FaultRule> = {}): FaultRule {
  return { ...rule, fault: { kind: 'answer', status, body: JSON.stringify(body) } };
}

function refusal(code: string, message: string): unknown {
  return { errors: [{ code, message }] };
}

const calls: readonly [string, (client: RegistryClient) => Promise<unknown>][] = [
  ['ecr:BatchGetImage', async (client) => client.getManifest(REPO, 'a')],
  ['ecr:BatchGetImage', async (client) => client.headManifest(REPO, 'a')],
  ['ecr:PutImage', async (client) => client.putManifest(REPO, 'a', bytes, MEDIA_TYPES.imageManifest)],
  ['ecr:GetDownloadUrlForLayer', async (client) => client.getBlob(REPO, blob)],
  ['ecr:BatchCheckLayerAvailability', async (client) => client.headBlob(REPO, blob)],
  ['ecr:ListImages', async (client) => client.listTags(REPO)],
];

describe('a denial of ECR', () => {
  it.each(calls)('names %s, whether or not there is a text', async (action, call) => {
    const { registry, client } = await pair(PRIVATE);
    await client.ping();
    registry.fail(answer(403, refusal('DENIED', `${WHO} ${action} on resource: arn:aws:ecr:…`)));
    const denied = { code: 'AccessDenied', facts: { action }, message: expect.stringContaining(action) };
    await expect(call(client)).rejects.toMatchObject(denied);
    registry.fail({ fault: { kind: 'answer', status: 403 } });
    await expect(call(client)).rejects.toMatchObject({
      ...denied,
      hint: `Allow ${action} on the repository ${REPO} in an IAM policy of this identity.`,
    });
  });

  it('that names its action is not taken for an expired token', async () => {
    const { registry, client } = await pair(PRIVATE);
    await client.ping();
    registry.fail(answer(403, refusal('DENIED', `${WHO} ecr:BatchGetImage on resource: x`)));
    const before = registry.requests.length;
    await expect(client.getManifest(REPO, 'a')).rejects.toMatchObject({ code: 'AccessDenied' });
    expect(registry.requests.length - before).toBe(1);
  });

  it('is in the words of ECR Public there, whose repositories IAM knows without their alias', async () => {
    const { registry, client } = await pair(PUBLIC);
    await client.ping();
    registry.fail({ method: 'PUT', fault: { kind: 'answer', status: 403 } });
    await expect(
      client.putManifest('alias/workloads', 'a', bytes, MEDIA_TYPES.imageManifest),
    ).rejects.toMatchObject({
      facts: { action: 'ecr-public:PutImage' },
      hint: 'Allow ecr-public:PutImage on the repository workloads in an IAM policy of this identity.',
    });
  });

  it('of another registry says nothing of IAM', async () => {
    const { registry, client } = await pair('registry.example');
    await client.ping();
    registry.fail({ fault: { kind: 'answer', status: 403 } });
    const error = (await client.headManifest(REPO, 'a').catch((caught: unknown) => caught)) as {
      hint: string;
    };
    expect(error.hint).not.toContain('IAM');
  });
});

describe('a repository that is not there', () => {
  it.each([
    [PRIVATE, REPO, 'aws ecr create-repository --repository-name acme/workloads --region us-east-1'],
    [
      PUBLIC,
      'alias/workloads',
      'aws ecr-public create-repository --repository-name workloads --region us-east-1',
    ],
  ])('on %s comes with the command that makes it', async (host, repository, command) => {
    const { registry, client } = await pair(host);
    const message = `The repository with name '${repository}' does not exist`;
    registry.fail(answer(404, refusal('NAME_UNKNOWN', message), { method: 'POST' }));
    await expect(client.putBlob(repository, blob)).rejects.toMatchObject({
      code: 'NameUnknown',
      message: expect.stringContaining(message),
      hint: `The repository must be created first: ${command}`,
    });
  });
});

it.each([
  [
    400,
    'TAG_INVALID',
    "The image tag 'a' already exists in the 'x' repository and cannot be overwritten because the tag is immutable.",
  ],
  [400, 'ImageTagAlreadyExistsException', 'the tag is taken'],
  [412, 'PRECONDITION', 'configured as immutable'],
])('an immutable tag (%s %s) is TagImmutable', async (status, code, message) => {
  const { registry, client } = await pair(PRIVATE);
  registry.fail(answer(status, refusal(code, message), { method: 'PUT' }));
  await expect(client.putManifest(REPO, 'a', bytes, MEDIA_TYPES.imageManifest)).rejects.toMatchObject({
    code: 'TagImmutable',
    retryable: false,
    hint: expect.stringContaining('IMMUTABLE_WITH_EXCLUSION'),
  });
});

it.each([
  [429, refusal('TOOMANYREQUESTS', 'Rate exceeded')],
  [400, { __type: 'ThrottlingException', message: 'Rate exceeded' }],
  [400, refusal('ThrottlingException', 'Rate exceeded')],
])('a throttled call (%s %o) is made again', async (status, body) => {
  const { registry, client } = await pair(PRIVATE);
  registry.fail(answer(status, body, { times: 2 }));
  expect(await client.headManifest(REPO, 'a')).toBeUndefined();
  registry.fail(answer(status, body, { times: 1 }));
  expect(await client.headBlob(REPO, blob)).toBe(false);
});

it('a tag that ECR cannot have is RequestRefused with its reason, and not tried again', async () => {
  const { registry, client } = await pair(PRIVATE);
  await client.ping();
  registry.fail(answer(400, refusal('TAG_INVALID', 'not a tag')));
  const before = registry.requests.length;
  await expect(client.headManifest(REPO, 'a')).rejects.toMatchObject({
    code: 'RequestRefused',
    message: expect.stringContaining('not a tag'),
  });
  expect(registry.requests.length - before).toBe(2);
});
