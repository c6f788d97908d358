import { FakeClock } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Credential,
  type CredentialRequest,
  RegistryClient,
  type RegistryClientOptions,
} from './index.ts';
import { digestOf } from './digest.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry, TEST_TLS } from './testing.ts';

const REPO = 'mural/workloads';
const credential = { username: 'spoke-a', password: 'secret-one' };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function pair(
  registryOptions: FakeRegistryOptions,
  options: Partial<RegistryClientOptions> = {},
): Promise<{ registry: FakeRegistry; client: RegistryClient }> {
  const registry = await startFakeRegistry(registryOptions);
  const insecure = registryOptions.tls === undefined;
  const client = new RegistryClient({
    registry: registry.host,
    insecure,
    credentials: credential,
    ...options,
  });
  open.push(registry, client);
  return { registry, client };
}

describe('basic authentication', () => {
  it('is offered only after the registry has asked, and then at once', async () => {
    const { registry, client } = await pair({ credential });
    await client.headManifest(REPO, 'a');
    await client.headManifest(REPO, 'b');
    expect(registry.requests.map((request) => request.authorization !== undefined)).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('that is wrong or missing is AuthenticationFailed, without the password in the message', async () => {
    const { client } = await pair({ credential: { ...credential, password: 'secret-two' } });
    const error: unknown = await client.ping().catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'AuthenticationFailed', retryable: false });
    expect(JSON.stringify(error) + String(error)).not.toContain('secret');
    const { client: anonymous } = await pair({ credential }, { credentials: undefined });
    await expect(anonymous.ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  });

  it('without the right to do it is AccessDenied', async () => {
    const { registry, client } = await pair({ credential });
    await client.ping();
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'read only' }] });
    registry.fail({ method: 'PUT', fault: { kind: 'answer', status: 403, body } });
    const writing = client.putManifest(REPO, 'v1', Buffer.from('{}'), 'application/json');
    await expect(writing).rejects.toMatchObject({ code: 'AccessDenied', facts: { registryCode: 'DENIED' } });
    expect(registry.requests.filter((request) => request.method === 'PUT')).toHaveLength(1);
  });

  it('asks the provider anew when a token has expired, also when the registry says so with 403 (ECR)', async () => {
    let current: Credential = credential;
    const asked: (CredentialRequest | undefined)[] = [];
    const credentials = async (request?: CredentialRequest): Promise<Credential> => {
      asked.push(request);
      if (request?.rejected !== undefined) current = { ...credential, password: 'fresh' };
      return current;
    };
    const { registry, client } = await pair({ credential }, { credentials });
    await client.ping();
    const body = JSON.stringify({
      errors: [{ code: 'DENIED', message: 'Your authorization token has expired.' }],
    });
    registry.credential = { ...credential, password: 'fresh' };
    registry.fail({ times: 1, fault: { kind: 'answer', status: 403, body } });
    await client.ping();
    expect(asked.at(-1)).toEqual({ rejected: credential, to: registry.host, insecure: true });
    registry.credential = { ...credential, password: 'fresher' };
    await expect(client.ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  });
});

describe('token authentication', () => {
  it('fetches one token per scope, however many ask at once', async () => {
    const { registry, client } = await pair({ credential, auth: 'bearer' });
    await client.headManifest(REPO, 'a');
    await Promise.all(['b', 'c', 'd'].map((tag) => client.headManifest(REPO, tag)));
    const tokens = registry.requests.filter((request) => request.path.startsWith('/token'));
    expect(tokens.map((request) => new URL(request.path, registry.url).searchParams.get('scope'))).toEqual([
      `repository:${REPO}:pull`,
    ]);
    await client.putManifest(REPO, 'v1', Buffer.from('{}'), 'application/json');
    expect(registry.requests.filter((request) => request.path.includes('pull%2Cpush'))).toHaveLength(1);
  });

  it('fetches a new one ahead of its end, and when it is refused', async () => {
    const clock = new FakeClock();
    const { registry, client } = await pair({ credential, auth: 'bearer' }, { clock });
    const tokens = (): number =>
      registry.requests.filter((request) => request.path.startsWith('/token')).length;
    await client.headManifest(REPO, 'a');
    await clock.advance(269_000);
    await client.headManifest(REPO, 'a');
    expect(tokens()).toBe(1);
    await clock.advance(2000);
    await client.headManifest(REPO, 'a');
    expect(tokens()).toBe(2);
    registry.tokenGeneration += 1;
    await client.headManifest(REPO, 'a');
    expect(tokens()).toBe(3);
  });

  it('says why an upload was refused, also when the refusal ended it', async () => {
    const { registry, client } = await pair({ credential, auth: 'bearer' });
    const message = 'The quota of team/** is 1 MiB.';
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message }] });
    registry.fail({ method: 'PUT', times: 1, fault: { kind: 'answer', status: 403, body } });
    registry.fail({ method: 'PUT', fault: { kind: 'answer', status: 404 } });
    const bytes = Buffer.from('{}');
    const blob = { digest: digestOf(bytes), size: bytes.length, bytes };
    const refused = expect.stringContaining(message) as string;
    await expect(client.putBlob(REPO, blob)).rejects.toMatchObject({
      code: 'AccessDenied',
      message: refused,
    });
  });

  it('takes a refusal of the token server for what it is', async () => {
    const { client } = await pair({ credential: { ...credential, password: 'other' }, auth: 'bearer' });
    await expect(client.headManifest(REPO, 'a')).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  });

  it.each([
    ['nothing', '{}'],
    ['no text', '{"token": 1}'],
    ['a token that breaks the header', JSON.stringify({ token: 'a\r\nx: y' })],
    ['no JSON', '<html>'],
  ])('refuses %s as a token', async (_name, body) => {
    const { registry, client } = await pair({ credential, auth: 'bearer' });
    registry.fail({ path: /^\/token/, fault: { kind: 'answer', status: 200, body } });
    await expect(client.ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
  });

  it('reads no more than 64 KiB of a token', async () => {
    const { registry, client } = await pair({ credential, auth: 'bearer' });
    const body = JSON.stringify({ token: 'x'.repeat(65 * 1024) });
    registry.fail({ path: /^\/token/, fault: { kind: 'answer', status: 200, body } });
    await expect(client.ping()).rejects.toMatchObject({ code: 'TooLarge' });
  });

  it('keeps the password from a plain server elsewhere', async () => {
    const elsewhere = await startFakeRegistry();
    open.push(elsewhere);
    const challenge = (realm: string): FakeRegistryOptions => ({ credential, auth: 'bearer', ...{ realm } });
    const { registry, client } = await pair(challenge(''));
    const headers = { 'www-authenticate': `Bearer realm="${elsewhere.url}/token",service="s"` };
    registry.fail({ fault: { kind: 'answer', status: 401, headers } });
    await expect(client.ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
    expect(elsewhere.requests.map((request) => request.authorization)).toEqual([undefined]);
  });

  it.each(['http://127.0.0.1:1/token', 'ftp://h/token', 'https://u:p@h/token', 'token', ''])(
    'asks nothing of the realm %j of a registry on https',
    async (realm) => {
      const { registry, client } = await pair({ credential, tls: TEST_TLS }, { ca: TEST_TLS.ca });
      registry.fail({
        fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}"` } },
      });
      await expect(client.ping()).rejects.toThrow(/not safe/);
    },
  );

  it('uses the scope that the registry asks for when it is not about the repository (ECR Public)', async () => {
    const { registry, client } = await pair({ credential, auth: 'bearer' });
    const headers = { 'www-authenticate': `Bearer realm="${registry.url}/token",service="s",scope="aws"` };
    registry.fail({ times: 1, method: 'HEAD', fault: { kind: 'answer', status: 401, headers } });
    await client.headManifest(REPO, 'a');
    expect(registry.requests.map((request) => request.path)).toContain('/token?service=s&scope=aws');
  });
});
