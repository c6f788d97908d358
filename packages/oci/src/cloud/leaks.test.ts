import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { basicHeader, type Credential, type CredentialProvider, digestOf, RegistryClient } from '../index.ts';
import { startFakeProxy, TEST_TLS_NAMES } from '../testing.ts';
import { sameRegistry } from './hosts.ts';

const OWN = '123456789012.dkr.ecr.us-east-1.amazonaws.com';
const S3 = 'prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com';
const EVIL = [
  'evil.example',
  `${OWN}.evil.example`,
  OWN.replace('1234', '2234'),
  `evil-${OWN}`,
  `${OWN}:444`,
  S3,
  'public.ecr.aws',
];
const REPO = 'acme/workloads';
const bytes = Buffer.from('layer');
const blob = { digest: digestOf(bytes), size: bytes.length, bytes };
const token: Credential = { username: 'AWS', password: 'the-token' };

type Answer = { readonly status: number; readonly headers?: Record<string, string>; readonly body?: Buffer };

interface Seen {
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

/** Every host of the world, each answering as the test says. */
let answer: (request: Seen) => Answer;
let seen: Seen[] = [];
let environment: Record<string, string>;
const open: { close(): Promise<void> | void }[] = [];

/** The provider of a cloud, with a token at hand: only for its own registry. */
const credentials: CredentialProvider = async ({ to, insecure } = {}) =>
  to !== undefined && insecure !== true && sameRegistry(OWN, to) ? token : undefined;

beforeEach(async () => {
  seen = [];
  answer = () => ({ status: 200 });
  const server = createServer(TEST_TLS_NAMES, (request, response) => void take(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const proxy = await startFakeProxy(() => port);
  environment = { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url };
  open.push({ close: () => (server.closeAllConnections(), void server.close()) }, proxy);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  await once(request, 'end');
  const one: Seen = {
    host: request.headers.host ?? '',
    method: request.method ?? '',
    path: request.url ?? '',
    authorization: request.headers.authorization,
  };
  seen.push(one);
  const { status, headers, body } = answer(one);
  response.writeHead(status, headers).end(body);
}

function client(registry: string): RegistryClient {
  const made = new RegistryClient({
    registry,
    credentials,
    ca: TEST_TLS_NAMES.ca,
    environment,
    timeoutMs: 3000,
  });
  open.push(made);
  return made;
}

const BASIC = { status: 401, headers: { 'www-authenticate': 'Basic realm="ecr"' } };

/** Whatever a call came to, nobody but the registry itself may have seen the token. */
function expectNoLeak(): void {
  const strangers = seen.filter(({ host }) => host !== OWN);
  expect(strangers.map(({ authorization }) => authorization).filter((one) => one !== undefined)).toEqual([]);
}

describe('a token of ECR', () => {
  it('goes to its registry, once that asks', async () => {
    answer = ({ authorization }) => (authorization === basicHeader(token) ? { status: 200 } : BASIC);
    await client(OWN).ping();
    expect(seen.at(-1)?.authorization).toBe(basicHeader(token));
  });

  it.each(EVIL)('is not given to a registry called %s', async (host) => {
    answer = () => BASIC;
    await expect(client(host).ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
    expect(seen.length).toBeGreaterThan(0);
    expectNoLeak();
  });

  it('is the same for the registry in capitals, which is the same host', async () => {
    answer = ({ authorization }) => (authorization === undefined ? BASIC : { status: 200 });
    await client(OWN.toUpperCase()).ping();
    expect(seen.every(({ host }) => host === OWN)).toBe(true);
  });

  it.each([
    `${OWN}.`,
    `me@${OWN}`,
    OWN.replace('.dkr', '．dkr'),
    OWN.replace('amazon', 'аmazon'),
    `${OWN}/x`,
  ])('cannot be asked for by %s, which is no host', (host) => {
    expect(() => client(host)).toThrow(expect.objectContaining({ code: 'ReferenceInvalid' }));
  });

  it('does not travel over plain HTTP', async () => {
    const made = new RegistryClient({
      registry: OWN,
      credentials,
      insecure: true,
      environment,
      timeoutMs: 500,
    });
    open.push(made);
    await made.ping().catch(() => undefined);
    expect(seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  });

  it.each(EVIL)('does not go with the redirect of a blob to %s', async (host) => {
    answer = (request) => {
      if (request.host === OWN) {
        if (request.authorization === undefined) return BASIC;
        return { status: 307, headers: { location: `https://${host}/layer?X-Amz-Signature=x` } };
      }
      // S3 refuses a request that is signed in two ways.
      if (request.authorization !== undefined) return { status: 400 };
      return { status: 200, body: bytes, headers: { 'content-length': String(bytes.length) } };
    };
    expect(Buffer.from(await client(OWN).getBlob(REPO, blob))).toEqual(bytes);
    expect(seen.map((one) => one.host)).toContain(host);
    expectNoLeak();
  });

  it.each(EVIL)('does not go with the Location of an upload to %s', async (host) => {
    answer = (request) => {
      if (request.host !== OWN) return { status: 201 };
      if (request.authorization === undefined) return BASIC;
      if (request.method === 'HEAD') return { status: 404 };
      return { status: 202, headers: { location: `https://${host}/upload` } };
    };
    await client(OWN)
      .putBlob(REPO, blob)
      .catch(() => undefined);
    expectNoLeak();
  });

  it.each(EVIL)('does not go with the next page of a list to %s', async (host) => {
    answer = (request) => {
      if (request.host === OWN && request.authorization === undefined) return BASIC;
      const link = request.host === OWN ? { link: `<https://${host}/v2/x/tags/list>; rel="next"` } : {};
      return { status: 200, body: Buffer.from('{"tags":[]}'), headers: link };
    };
    await client(OWN)
      .listTags(REPO)
      .catch(() => undefined);
    expectNoLeak();
  });

  it.each([...EVIL, `me@${OWN}`, `${OWN}@evil.example`])(
    'is not exchanged at a realm on %s',
    async (host) => {
      answer = (request) => {
        if (request.path.startsWith('/token')) return { status: 200, body: Buffer.from('{"token":"other"}') };
        const challenge = `Bearer realm="https://${host}/token",service="ecr"`;
        return { status: 401, headers: { 'www-authenticate': challenge } };
      };
      await client(OWN)
        .ping()
        .catch(() => undefined);
      expectNoLeak();
      expect(seen.filter(({ authorization }) => authorization === basicHeader(token))).toEqual([]);
    },
  );

  it('is not exchanged at a realm on plain HTTP', async () => {
    const challenge = `Bearer realm="http://${OWN}/token",service="ecr"`;
    answer = () => ({ status: 401, headers: { 'www-authenticate': challenge } });
    await expect(client(OWN).ping()).rejects.toMatchObject({ code: 'AuthenticationFailed' });
    expect(seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
  });
});
