import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { ProcessEnvironment } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { awsCallerIdentity, awsEcrClient, cloudCredentials } from '../index.ts';
import { startFakeProxy, TEST_TLS_NAMES } from '../testing.ts';

const PRIVATE = '123456789012.dkr.ecr.us-east-1.amazonaws.com';
const ROLE = 'arn:aws:iam::123456789012:role/mural-hue';
const KEYS = { AWS_ACCESS_KEY_ID: 'AKIDENV', AWS_SECRET_ACCESS_KEY: 'hidden-one' };

/** What AWS was asked: host, operation, key that signed. */
interface Seen {
  readonly host: string;
  readonly operation: string;
  readonly key: string | undefined;
  readonly body: string;
}

type Answer = { readonly status: number; readonly body: string };

/** STS, ECR and ECR Public as far as tokens go, under their real names behind a proxy. */
class FakeAws {
  readonly seen: Seen[] = [];
  readonly proxied: string[] = [];
  proxyUrl = '';
  fail: ((operation: string) => Answer | undefined) | undefined;
  #close: (() => Promise<void>)[] = [];

  static async start(): Promise<FakeAws> {
    const aws = new FakeAws();
    const server = createTlsServer(TEST_TLS_NAMES, (request, response) => void aws.#take(request, response));
    const port = await listen(server);
    const proxy = await startFakeProxy((target) => {
      aws.proxied.push(target);
      return port;
    });
    aws.proxyUrl = proxy.url;
    aws.#close = [async () => proxy.close(), async () => shut(server)];
    return aws;
  }

  async close(): Promise<void> {
    for (const close of this.#close) await close();
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request);
    const target = request.headers['x-amz-target'];
    const form = new URLSearchParams(body);
    const operation = typeof target === 'string' ? target : (form.get('Action') ?? '?');
    const key = /Credential=([^/]+)\//.exec(request.headers.authorization ?? '')?.[1];
    this.seen.push({ host: request.headers.host ?? '', operation, key, body });
    const { status, body: text } = this.fail?.(operation) ?? this.#answer(operation);
    response.writeHead(status, {
      'content-type': operation.includes('.') ? 'application/x-amz-json-1.1' : 'text/xml',
    });
    response.end(text);
  }

  #answer(operation: string): Answer {
    const authorizationToken = Buffer.from(`AWS:token-${this.seen.length}`).toString('base64');
    const token = { authorizationToken, expiresAt: Math.floor(Date.now() / 1000) + 43_200 };
    const bodies: Record<string, string> = {
      'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken': JSON.stringify({
        authorizationData: [token],
      }),
      'SpencerFrontendService.GetAuthorizationToken': JSON.stringify({ authorizationData: token }),
      AssumeRoleWithWebIdentity:
        '<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>' +
        '<AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>' +
        '<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>' +
        '</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>',
      GetCallerIdentity:
        '<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/op</Arn>' +
        '<UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>',
    };
    return { status: 200, body: bodies[operation] ?? '' };
  }
}

async function listen(server: Server | ReturnType<typeof createTlsServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function shut(server: Server | ReturnType<typeof createTlsServer>): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

let aws: FakeAws;
let folder: string;
const closing: (() => Promise<void>)[] = [];
const trusted = getCACertificates('default');

beforeAll(() => setDefaultCACertificates([...trusted, TEST_TLS_NAMES.ca]));
afterAll(() => setDefaultCACertificates(trusted));
beforeEach(async () => {
  aws = await FakeAws.start();
  folder = await mkdtemp(join(tmpdir(), 'mural-aws-'));
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await aws.close();
  await rm(folder, { recursive: true, force: true });
});

/** A home without shared config, and the proxy. */
function environment(more: ProcessEnvironment): ProcessEnvironment {
  return { HOME: folder, HTTPS_PROXY: aws.proxyUrl, ...more };
}

async function token(
  more: ProcessEnvironment,
  options: { registry?: string; roleArn?: string; clock?: FakeClock } = {},
): Promise<string | undefined> {
  const provider = cloudCredentials({
    provider: 'aws',
    registry: PRIVATE,
    environment: environment(more),
    ...options,
  });
  return (await provider())?.password;
}

async function failure(
  work: Promise<unknown>,
): Promise<Error & { hint: string; facts: Record<string, unknown> }> {
  return await work.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error as Error & { hint: string; facts: Record<string, unknown> },
  );
}

describe('tokens of ECR', () => {
  it('come from the API of the region for a private registry, through the proxy', async () => {
    expect(await token(KEYS)).toBe('token-1');
    expect(aws.seen).toMatchObject([{ host: 'api.ecr.us-east-1.amazonaws.com', key: 'AKIDENV' }]);
    expect(aws.proxied).toEqual(['api.ecr.us-east-1.amazonaws.com:443']);
  });

  it('come from us-east-1 for ECR Public, whose answer is one object', async () => {
    expect(await token(KEYS, { registry: 'public.ecr.aws' })).toBe('token-1');
    expect(aws.seen[0]?.host).toBe('api.ecr-public.us-east-1.amazonaws.com');
  });

  it('are kept: a thousand requests make one call', async () => {
    const provider = cloudCredentials({ provider: 'aws', registry: PRIVATE, environment: environment(KEYS) });
    const all = await Promise.all(Array.from({ length: 1000 }, async () => provider({ to: PRIVATE })));
    expect(new Set(all.map((one) => `${one?.username}:${one?.password}`))).toEqual(new Set(['AWS:token-1']));
    expect(aws.seen).toHaveLength(1);
  });

  it('are given for their own host alone, and never for plain HTTP', async () => {
    const provider = cloudCredentials({ provider: 'aws', registry: PRIVATE, environment: environment(KEYS) });
    for (const to of [`${PRIVATE}.evil.example`, `x.${PRIVATE}`, `${PRIVATE}:5000`, 'public.ecr.aws', '']) {
      expect(await provider({ to })).toBeUndefined();
    }
    expect(await provider({ to: PRIVATE, insecure: true })).toBeUndefined();
    expect(aws.seen).toEqual([]);
  });

  it.each([
    'registry.example',
    `${PRIVATE}.evil.example`,
    PRIVATE.toUpperCase(),
    `${PRIVATE}:443`,
    `me:pw@${PRIVATE}`,
  ])('cannot be had for %s', (registry) => {
    expect(() => cloudCredentials({ provider: 'aws', registry })).toThrow(
      expect.objectContaining({ code: 'ProviderMismatch', message: expect.not.stringContaining('pw') }),
    );
  });
});

describe('a web identity (IRSA)', () => {
  async function irsa(): Promise<ProcessEnvironment> {
    const file = join(folder, 'token');
    await writeFile(file, 'jwt-one');
    return { AWS_ROLE_ARN: ROLE, AWS_WEB_IDENTITY_TOKEN_FILE: file };
  }

  it('takes on its role in the STS of the region, and reads its token anew each time', async () => {
    const variables = await irsa();
    const provider = cloudCredentials({
      provider: 'aws',
      registry: PRIVATE,
      environment: environment(variables),
    });
    const first = await provider();
    expect(aws.seen.map(({ host, operation, key }) => [host, operation.split('.').at(-1), key])).toEqual([
      ['sts.us-east-1.amazonaws.com', 'AssumeRoleWithWebIdentity', undefined],
      ['api.ecr.us-east-1.amazonaws.com', 'GetAuthorizationToken', 'ASIAWEB'],
    ]);
    expect(aws.seen[0]?.body).toContain('jwt-one');
    await writeFile(variables['AWS_WEB_IDENTITY_TOKEN_FILE'] ?? '', 'jwt-two');
    await provider(first === undefined ? {} : { rejected: first });
    expect(aws.seen[2]?.body).toContain('jwt-two');
  });

  it('takes on the role that is asked for instead of its own', async () => {
    const roleArn = 'arn:aws:iam::123456789012:role/tenant';
    await token(await irsa(), { roleArn });
    expect(new URLSearchParams(aws.seen[0]?.body).get('RoleArn')).toBe(roleArn);
  });

  it('without a token says which variable is missing', async () => {
    const error = await failure(token({}, { roleArn: ROLE }));
    expect(error).toMatchObject({
      code: 'IdentityUnavailable',
      message: expect.stringContaining('AWS_WEB_IDENTITY_TOKEN_FILE is not set'),
    });
  });

  it('that the role does not trust names the action and the role', async () => {
    aws.fail = (operation) =>
      operation === 'AssumeRoleWithWebIdentity'
        ? {
            status: 403,
            body: '<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>',
          }
        : undefined;
    const error = await failure(token(await irsa()));
    expect(error).toMatchObject({
      code: 'AccessDenied',
      retryable: false,
      facts: { action: 'sts:AssumeRoleWithWebIdentity' },
    });
    expect(error.message).toContain(ROLE);
    expect(error.hint).toContain('trust policy');
    expect(error.message + JSON.stringify(error)).not.toContain('jwt-one');
  });
});

describe('what AWS refuses', () => {
  it.each([
    ['ecr:GetAuthorizationToken', PRIVATE],
    ['ecr-public:GetAuthorizationToken', 'public.ecr.aws'],
    ['sts:GetServiceBearerToken', 'public.ecr.aws'],
  ])('is told with its action %s', async (action, registry) => {
    const message = `User: arn:aws:iam::123456789012:user/op is not authorized to perform: ${action} on resource: *`;
    aws.fail = () => ({ status: 400, body: JSON.stringify({ __type: 'AccessDeniedException', message }) });
    const error = await failure(token(KEYS, { registry }));
    expect(error).toMatchObject({
      code: 'AccessDenied',
      retryable: false,
      facts: { action, region: 'us-east-1' },
    });
    expect(error.hint).toBe(`Allow ${action} in an IAM policy of this identity.`);
    expect(error.message).toContain('the keys of AWS_ACCESS_KEY_ID');
    expect(error.message + JSON.stringify(error)).not.toContain('hidden-one');
  });

  it.each([
    ['ThrottlingException', 400, 'RateLimited', true],
    ['ServerException', 500, 'ServerError', true],
    ['ExpiredTokenException', 400, 'AuthenticationFailed', true],
    ['InvalidParameterException', 400, 'RequestRefused', false],
  ])(
    'as %s is %s %s, retryable %s',
    async (type, status, code, retryable) => {
      aws.fail = () => ({ status, body: JSON.stringify({ __type: type, message: 'no' }) });
      expect(await failure(token(KEYS))).toMatchObject({ code, retryable });
    },
    20_000,
  );

  it('for a signature is told without the text, which repeats the request', async () => {
    aws.fail = () => ({
      status: 403,
      body: JSON.stringify({ __type: 'InvalidSignatureException', message: 'x-amz-security-token:hidden' }),
    });
    const error = await failure(token(KEYS));
    expect(error).toMatchObject({ code: 'AuthenticationFailed' });
    expect(error.message).not.toContain('hidden');
  });

  it('by not being there is Unreachable', async () => {
    const error = await failure(token({ ...KEYS, HTTPS_PROXY: 'http://me:hunter2@127.0.0.1:1' }));
    expect(error).toMatchObject({ code: 'Unreachable', retryable: true });
    expect(`${error.message} ${String(error.cause)}`).not.toContain('hunter2');
  }, 20_000);
});

describe('the metadata of a container', () => {
  it('gives keys for its token, which is read anew (EKS Pod Identity)', async () => {
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.headers.authorization);
      response.end(
        JSON.stringify({
          AccessKeyId: 'ASIAPOD',
          SecretAccessKey: 's',
          Token: 't',
          Expiration: '2099-01-01T00:00:00Z',
        }),
      );
    });
    const port = await listen(server);
    closing.push(async () => shut(server));
    const file = join(folder, 'eks-pod-identity-token');
    await writeFile(file, 'pod-one\n');
    await token({
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file,
    });
    expect(asked).toEqual(['pod-one']);
    expect(aws.seen[0]?.key).toBe('ASIAPOD');
  });

  it.each([
    'http://evil.example/',
    'http://169.254.169.254/',
    'http://127.0.0.1.evil.example/',
    'file:///etc/x',
    'x',
  ])('is never asked at %s', async (url) => {
    const error = await failure(token({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }));
    expect(error).toMatchObject({
      code: 'IdentityUnavailable',
      message: expect.stringContaining('not safe'),
    });
  });
});

describe('the instance profile', () => {
  async function imds(
    answer: (method: string, path: string, session: string | undefined) => Answer | 'silence',
  ): Promise<ProcessEnvironment> {
    const server = createServer((request, response) => {
      const session = request.headers['x-aws-ec2-metadata-token'];
      const reply = answer(
        request.method ?? '',
        request.url ?? '',
        typeof session === 'string' ? session : undefined,
      );
      if (reply === 'silence') return;
      response.writeHead(reply.status).end(reply.body);
    });
    const port = await listen(server);
    closing.push(async () => shut(server));
    return { AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${port}` };
  }
  const ok = (body: string): Answer => ({ status: 200, body });

  it('is asked by IMDSv2 alone', async () => {
    const variables = await imds((method, path, session) => {
      if (method === 'PUT' && path === '/latest/api/token') return ok('session');
      if (session !== 'session') return { status: 401, body: '' };
      return path.endsWith('/node')
        ? ok(JSON.stringify({ Code: 'Success', AccessKeyId: 'ASIANODE', SecretAccessKey: 's', Token: 't' }))
        : ok('node');
    });
    await token(variables);
    expect(aws.seen[0]?.key).toBe('ASIANODE');
  });

  it('that does not answer the PUT tells of the hop limit and how to raise it', async () => {
    const variables = await imds((method) => (method === 'PUT' ? 'silence' : ok('')));
    const clock = new FakeClock(Date.now());
    const asked = failure(token(variables, { clock }));
    const moving = setInterval(() => void clock.advance(1000), 5);
    const error = await asked.finally(() => clearInterval(moving));
    expect(error).toMatchObject({ code: 'IdentityUnavailable', retryable: true });
    expect(error.message).toContain('hop limit of 1');
    expect(error.hint).toContain('aws ec2 modify-instance-metadata-options');
    expect(error.hint).toContain('--http-put-response-hop-limit 2');
  });

  it.each([
    [403, 'turned off', '--http-endpoint enabled'],
    [404, 'has no instance profile', 'associate-iam-instance-profile'],
  ])('that answers %s says so', async (status, message, hint) => {
    const variables = await imds((method) =>
      method === 'PUT' && status === 404 ? ok('session') : { status, body: '' },
    );
    const error = await failure(token(variables));
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });

  it('that is ruled out leaves no identity, and says which there could be', async () => {
    const error = await failure(token({ AWS_EC2_METADATA_DISABLED: 'true' }));
    expect(error).toMatchObject({ code: 'IdentityUnavailable' });
    expect(error.hint).toContain('AWS_WEB_IDENTITY_TOKEN_FILE');
  });
});

describe('the shared config', () => {
  it('gives the keys of its default profile', async () => {
    await writeFile(
      join(folder, 'credentials'),
      '[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n',
    );
    await token({ AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials') });
    expect(aws.seen[0]?.key).toBe('AKIDFILE');
  });

  it('gives the keys of the profile that is named, also by a process', async () => {
    const program = `echo '{"Version":1,"AccessKeyId":"AKIDPROC","SecretAccessKey":"s"}'`;
    await writeFile(
      join(folder, 'config'),
      `[profile ci]\ncredential_process = sh -c "${program.replaceAll('"', '\\"')}"\n`,
    );
    await token({ AWS_CONFIG_FILE: join(folder, 'config'), AWS_PROFILE: 'ci', ...KEYS });
    expect(aws.seen[0]?.key).toBe('AKIDPROC');
  });
});

describe('what a preflight needs', () => {
  it('says who the identity is', async () => {
    const identity = await awsCallerIdentity({ registry: PRIVATE, environment: environment(KEYS) });
    expect(identity).toEqual({
      account: '123456789012',
      arn: 'arn:aws:iam::123456789012:user/op',
      userId: 'AIDA',
    });
    expect(aws.seen[0]?.host).toBe('sts.us-east-1.amazonaws.com');
  });

  it('gives a client with the same identity, region and proxy', async () => {
    const ecr = await awsEcrClient({ registry: PRIVATE, environment: environment(KEYS) });
    if (ecr.kind !== 'private') return expect.fail('it is not private');
    await ecr.client.send(new ecr.sdk.GetAuthorizationTokenCommand({}));
    ecr.client.destroy();
    expect(aws.seen).toMatchObject([{ host: 'api.ecr.us-east-1.amazonaws.com', key: 'AKIDENV' }]);
  });
});
