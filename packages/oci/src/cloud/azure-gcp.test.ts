import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cloudCredentials } from '../index.ts';
import { type FakeProxy, startFakeProxy, TEST_TLS, TEST_TLS_NAMES } from '../testing.ts';

interface Seen {
  readonly path: string;
  readonly form: URLSearchParams;
  readonly authorization: string | undefined;
}

type Answer = { readonly status?: number; readonly body: unknown };
interface Fake {
  readonly port: number;
  readonly seen: Seen[];
}

const trusted = getCACertificates('default');
const open: (() => Promise<void> | void)[] = [];
let folder: string;
beforeAll(() => setDefaultCACertificates([...trusted, TEST_TLS.ca, TEST_TLS_NAMES.ca]));
afterAll(() => setDefaultCACertificates(trusted));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-cloud-'));
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function serve(
  tls: typeof TEST_TLS | typeof TEST_TLS_NAMES,
  answer: (seen: Seen) => Answer,
): Promise<Fake> {
  const seen: Seen[] = [];
  const server = createServer(tls, (request, response) => {
    void textOf(request).then((text) => {
      const { url = '', headers } = request;
      const one = { path: url, form: new URLSearchParams(text), authorization: headers.authorization };
      seen.push(one);
      const { status = 200, body } = answer(one);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, seen };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

async function proxyTo(port: number): Promise<FakeProxy> {
  const proxy = await startFakeProxy(() => port);
  open.push(async () => proxy.close());
  return proxy;
}

function jwt(payload: object): string {
  return `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.x`;
}

describe('Azure Container Registry', () => {
  const REGISTRY = 'contoso.azurecr.io';
  const expires = Math.floor(Date.now() / 1000) + 10_800;

  async function environment(
    exchange: Answer,
    entra?: Answer,
  ): Promise<{ variables: Record<string, string>; entra: Fake; registry: Fake }> {
    const authority: Fake = await serve(TEST_TLS, ({ path }) => {
      const base = `https://127.0.0.1:${authority.port}/tenant`;
      if (!path.includes('openid-configuration')) {
        return (
          entra ?? { body: { token_type: 'Bearer', expires_in: 3600, access_token: jwt({ aud: 'arm' }) } }
        );
      }
      return {
        body: {
          issuer: `${base}/v2.0`,
          authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
          token_endpoint: `${base}/oauth2/v2.0/token`,
          jwks_uri: `${base}/keys`,
        },
      };
    });
    const registry = await serve(TEST_TLS_NAMES, () => exchange);
    await writeFile(join(folder, 'federated'), 'projected');
    const variables = {
      HTTPS_PROXY: (await proxyTo(registry.port)).url,
      AZURE_AUTHORITY_HOST: `https://127.0.0.1:${authority.port}`,
      AZURE_TENANT_ID: 'tenant',
      AZURE_CLIENT_ID: 'client',
      AZURE_FEDERATED_TOKEN_FILE: join(folder, 'federated'),
    };
    return { variables, entra: authority, registry };
  }

  it('gives a refresh token for the Entra token of a workload identity', async () => {
    const token = jwt({ exp: expires });
    const { variables, entra, registry } = await environment({ body: { refresh_token: token } });
    const provider = cloudCredentials({ provider: 'azure', registry: REGISTRY, environment: variables });
    expect(await provider({ to: REGISTRY })).toEqual({
      username: '00000000-0000-0000-0000-000000000000',
      password: token,
    });
    const asked = entra.seen.find(({ path }) => path.includes('/token'))?.form;
    expect(asked?.get('client_assertion')).toBe('projected');
    expect(asked?.get('scope')).toContain('https://management.azure.com/.default');
    expect(registry.seen.map(({ path }) => path)).toEqual(['/oauth2/exchange']);
    expect(Object.fromEntries(registry.seen[0]?.form ?? [])).toEqual({
      grant_type: 'access_token',
      service: REGISTRY,
      access_token: jwt({ aud: 'arm' }),
    });
    expect(await provider({ to: `${REGISTRY}.evil.example` })).toBeUndefined();
  });

  it('that refuses the identity says which role it needs', async () => {
    const { variables } = await environment({ status: 403, body: {} });
    const provider = cloudCredentials({ provider: 'azure', registry: REGISTRY, environment: variables });
    await expect(provider()).rejects.toMatchObject({
      code: 'AccessDenied',
      hint: expect.stringContaining('AcrPull'),
    });
  });

  it('whose Entra gives no token is IdentityUnavailable, without the projected token', async () => {
    const refusal = { error: 'invalid_client', error_description: 'AADSTS700016: no such application' };
    const { variables } = await environment({ body: {} }, { status: 401, body: refusal });
    const provider = cloudCredentials({ provider: 'azure', registry: REGISTRY, environment: variables });
    const error: unknown = await provider().catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'IdentityUnavailable',
      message: expect.stringContaining('AADSTS700016'),
    });
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('projected');
  });
});

describe('Google Artifact Registry', () => {
  const REGISTRY = 'europe-west3-docker.pkg.dev';

  async function credentials(answer: Answer): Promise<{ variables: Record<string, string>; sts: Fake }> {
    const sts = await serve(TEST_TLS, () => answer);
    await writeFile(join(folder, 'subject'), 'projected');
    const config = {
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `https://127.0.0.1:${sts.port}/v1/token`,
      credential_source: { file: join(folder, 'subject') },
    };
    await writeFile(join(folder, 'gcp.json'), JSON.stringify(config));
    return { variables: { GOOGLE_APPLICATION_CREDENTIALS: join(folder, 'gcp.json') }, sts };
  }

  it('takes the access token of a workload identity', async () => {
    const body = {
      access_token: 'ya29.token',
      expires_in: 3600,
      token_type: 'Bearer',
      issued_token_type: 'x',
    };
    const { variables, sts } = await credentials({ body });
    const provider = cloudCredentials({ provider: 'gcp', registry: REGISTRY, environment: variables });
    expect(await provider({ to: REGISTRY })).toEqual({
      username: 'oauth2accesstoken',
      password: 'ya29.token',
    });
    expect(sts.seen[0]?.form.get('subject_token')).toBe('projected');
    expect(await provider({ to: 'gcr.io' })).toBeUndefined();
  });

  it('whose identity is refused is IdentityUnavailable, without the projected token', async () => {
    const { variables } = await credentials({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'no such pool' },
    });
    const provider = cloudCredentials({ provider: 'gcp', registry: REGISTRY, environment: variables });
    const error: unknown = await provider().catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'IdentityUnavailable',
      message: expect.stringContaining('no such pool'),
    });
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('projected');
  });
});

it('a registry of one cloud has no credentials of another', () => {
  for (const [provider, registry] of [
    ['azure', 'gcr.io'],
    ['gcp', 'contoso.azurecr.io'],
    ['azure', 'contoso.azurecr.io.evil.example'],
    ['gcp', 'evilgcr.io'],
  ] as const) {
    expect(() => cloudCredentials({ provider, registry })).toThrow(
      expect.objectContaining({ code: 'ProviderMismatch' }),
    );
  }
});
