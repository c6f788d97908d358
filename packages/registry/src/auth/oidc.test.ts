import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { exportJWK, type JWK, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { selfSigned } from '../fixture-certificate.ts';
import { IssuerKeys, readKeys } from './issuer-keys.ts';
import { type OidcIssuer, subjectPattern } from './oidc.ts';

interface Signer {
  readonly kid: string;
  readonly key: KeyObject;
  readonly jwk: JWK;
}

async function signer(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid, key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig', alg: 'ES256' } };
}

/** An issuer over HTTP on loopback that counts what it is asked. */
class IssuerFixture {
  keys: readonly JWK[] = [];
  discoveries = 0;
  keyRequests = 0;
  authorization: string | undefined;
  /** Answers in place of the usual ones. */
  answer: ((path: string) => { readonly status: number; readonly body: string } | undefined) | undefined;
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start(): Promise<IssuerFixture> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const fixture = new IssuerFixture(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('request', (request, response) => {
      fixture.authorization = request.headers.authorization;
      const path = request.url ?? '';
      if (path === '/keys') fixture.keyRequests += 1;
      else fixture.discoveries += 1;
      const usual =
        path === '/keys' ? { keys: fixture.keys } : { issuer: fixture.url, jwks_uri: `${fixture.url}/keys` };
      const { status, body } = fixture.answer?.(path) ?? { status: 200, body: JSON.stringify(usual) };
      response.writeHead(status, { 'content-type': 'application/json', location: '/keys' });
      response.end(body);
    });
    return fixture;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const SUBJECT = 'system:serviceaccount:team:puller';

describe('tokens of an issuer', () => {
  let clock: FakeClock;
  let issuer: IssuerFixture;
  let fixture: RegistryFixture;
  let one: Signer;
  const lines: string[] = [];

  const options = (more: Partial<OidcIssuer> = {}): OidcIssuer => ({
    name: 'cluster',
    issuer: issuer.url,
    audiences: ['registry.example'],
    rules: [
      {
        subject: 'system:serviceaccount:team:*',
        policies: [{ repositories: 'team/**', actions: ['read', 'create'] }],
      },
      {
        groups: ['admins', 'ops:*'],
        policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] }],
      },
    ],
    ...more,
  });

  async function start(more: Partial<OidcIssuer> = {}, rest: object = {}): Promise<void> {
    const log = createLogger({ level: 'trace', destination: { write: (line) => void lines.push(line) } });
    fixture = await RegistryFixture.start({
      ...{ anonymous: 'none', clock, log, accessLog: log, oidc: [options(more)] },
      users: [{ name: 'local', password: 'secret', policies: [] }],
      ...rest,
    });
  }

  async function token(
    claims: Record<string, unknown> = {},
    { by = one, kid = by.kid, header = {} }: { by?: Signer; kid?: string; header?: object } = {},
  ): Promise<string> {
    const now = Math.floor(clock.now() / 1000);
    const payload = {
      iss: issuer.url,
      sub: SUBJECT,
      aud: ['registry.example'],
      iat: now,
      nbf: now,
      exp: now + 600,
      ...claims,
    };
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid, ...header }).sign(by.key);
  }

  const status = async (bearer: string, path = '/v2/team/app/tags/list', method = 'GET'): Promise<number> =>
    (await fixture.send(method, path, { headers: { authorization: `Bearer ${bearer}` } })).status;

  beforeEach(async () => {
    lines.length = 0;
    clock = new FakeClock();
    issuer = await IssuerFixture.start();
    one = await signer('one');
    issuer.keys = [one.jwk];
  });
  afterEach(async () => {
    await fixture.stop();
    await issuer.stop();
  });

  it('are taken as bearer tokens, and stand for what the rules say', async () => {
    await start();
    const good = await token();
    expect(await status(good)).toBe(404);
    expect(await status(good, '/v2/')).toBe(200);
    expect(await status(good, '/v2/other/tags/list')).toBe(403);
    expect(await status(good, '/v2/team/app/manifests/v1', 'DELETE')).toBe(403);
    expect(await status(await token({ sub: 'x', groups: ['ops:berlin'] }), '/v2/other/tags/list')).toBe(404);
    expect(await status(await token({ sub: 'x', groups: 'admins' }), '/v2/other/tags/list')).toBe(404);
    const logged = lines.map((line) => JSON.parse(line) as { user?: string });
    expect(logged.some(({ user }) => user === `cluster:${SUBJECT}`)).toBe(true);
    expect(lines.join('')).not.toContain(good.split('.')[2]);
  });

  it('are taken as the password of any user name, which plays no part', async () => {
    await start();
    const as = async (name: string): Promise<number> =>
      (await fixture.send('GET', '/v2/team/app/tags/list', { as: `${name}:${await token()}` })).status;
    expect(await as('oidc')).toBe(404);
    expect(await as('local')).toBe(404);
    const forged = await token({}, { by: await signer('two'), kid: 'one' });
    expect((await fixture.send('GET', '/v2/', { as: `oidc:${forged}` })).status).toBe(401);
  });

  it('that are not good do not slow down those that are, with the same user name from the same address', async () => {
    await start();
    for (let i = 0; i < 10; i += 1) {
      const expired = await token({ exp: 1_000_000 + i });
      expect((await fixture.send('GET', '/v2/', { as: `oidc:${expired}` })).status).toBe(401);
    }
    expect((await fixture.send('GET', '/v2/', { as: `oidc:${await token()}` })).status).toBe(200);
  });

  it('buy a token of the registry, which does not outlive them', async () => {
    await start({}, { token: {} });
    const now = Math.floor(clock.now() / 1000);
    const short = await token({ exp: now + 90 });
    const answer = await fixture.send('GET', '/token?scope=repository:team/app:pull', {
      as: `oidc:${short}`,
    });
    const body = JSON.parse(String(answer.body)) as { token: string; expires_in: number };
    expect(body.expires_in).toBe(90);
    expect(await status(body.token)).toBe(404);
  });

  it.each([
    ['for somebody else', { aud: ['other'] }],
    ['without an audience', { aud: undefined }],
    ['that have expired', { exp: Date.UTC(2025, 1, 1) / 1000 }],
    ['without an end', { exp: undefined }],
    ['that are not good yet', { nbf: Date.UTC(2027, 1, 1) / 1000 }],
    ['of another issuer', { iss: 'https://other.example' }],
    ['without an issuer', { iss: undefined }],
    ['that no rule fits', { sub: 'system:serviceaccount:other:puller' }],
    ['whose subject only begins like one that fits', { sub: 'system:serviceaccount:team:a:b' }],
    ['without a subject', { sub: undefined }],
    ['with a list as its subject', { sub: [SUBJECT] as unknown as string }],
  ])('%s are refused', async (_what, claims) => {
    await start();
    expect(await status(await token(claims))).toBe(401);
  });

  it('signed by another key, or bringing one, are refused', async () => {
    await start();
    const two = await signer('two');
    expect(await status(await token({}, { by: two, kid: 'one' }))).toBe(401);
    for (const header of [
      { jwk: two.jwk },
      { jku: `${issuer.url}/keys` },
      { x5u: `${issuer.url}/keys` },
      { x5c: [] },
    ]) {
      expect(await status(await token({}, { header }))).toBe(401);
    }
  });

  it('end when they expire, though they were good a moment before', async () => {
    await start();
    const good = await token({ exp: Math.floor(clock.now() / 1000) + 60 });
    expect(await status(good)).toBe(404);
    await clock.advance(100_000);
    expect(await status(good)).toBe(401);
  });

  it('that come together have the keys fetched once', async () => {
    await start();
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => token({ jti: String(i) })));
    const found = await Promise.all(tokens.map((each) => status(each)));
    expect(new Set(found)).toEqual(new Set([404]));
    expect([issuer.discoveries, issuer.keyRequests]).toEqual([1, 1]);
  });

  it('with an unknown key have the keys fetched again once a minute at most', async () => {
    await start();
    expect(await status(await token())).toBe(404);
    const two = await signer('two');
    for (let i = 0; i < 10; i += 1)
      expect(await status(await token({}, { by: two, kid: `x${i}` }))).toBe(401);
    expect(issuer.keyRequests).toBe(1);
    issuer.keys = [one.jwk, two.jwk];
    await clock.advance(61_000);
    expect(await status(await token({}, { by: two }))).toBe(404);
    expect(await status(await token({}, { by: two, kid: 'three' }))).toBe(401);
    expect(issuer.keyRequests).toBe(2);
  });

  it('are judged by the keys at hand while the issuer is away', async () => {
    await start();
    expect(await status(await token())).toBe(404);
    issuer.answer = () => ({ status: 503, body: '' });
    await clock.advance(3_600_000);
    expect(await status(await token())).toBe(404);
  });

  it.each([
    ['is away', { status: 503, body: '' }],
    [
      'names another issuer',
      { status: 200, body: '{"issuer":"https://evil.example","jwks_uri":"http://127.0.0.1:1/"}' },
    ],
    ['points at plain HTTP', { status: 200, body: '{"issuer":"ISSUER","jwks_uri":"http://192.0.2.1/keys"}' }],
    ['points at a file', { status: 200, body: '{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}' }],
    ['redirects', { status: 302, body: '' }],
    ['sends no JSON', { status: 200, body: '<html>' }],
    ['sends without end', { status: 200, body: ' '.repeat(1_000_000) }],
  ])('get 503 and no verdict when the discovery %s', async (_what, { status: code, body }) => {
    await start();
    issuer.answer = () => ({ status: code, body: body.replace('ISSUER', issuer.url) });
    const answer = await fixture.send('GET', '/v2/', {
      headers: { authorization: `Bearer ${await token()}` },
    });
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '5']);
    expect(String(answer.body)).not.toContain(issuer.url);
    // Nobody makes us ask it again at once.
    await status(await token({ jti: 'b' }));
    expect(issuer.discoveries + issuer.keyRequests).toBe(1);
    issuer.answer = undefined;
    await clock.advance(5001);
    expect(await status(await token())).toBe(404);
  });

  it('can be checked with keys from a file, and nothing is fetched', async () => {
    await start({ issuer: 'https://kubernetes.default.svc.cluster.local', jwks: { keys: [one.jwk] } });
    const good = await token({ iss: 'https://kubernetes.default.svc.cluster.local' });
    expect(await status(good)).toBe(404);
    expect(issuer.keyRequests + issuer.discoveries).toBe(0);
  });

  it('of a cluster: its token file is shown to the place that the options name only', async () => {
    await start();
    const tokenFile = join(fixture.directory, 'own-token');
    await writeFile(tokenFile, 'planted-token\n');
    const elsewhere = await IssuerFixture.start();
    const silent = createLogger({ level: 'silent' });
    try {
      elsewhere.keys = [one.jwk];
      const keys = new IssuerKeys({ issuer: issuer.url, tokenFile }, clock, silent);
      issuer.answer = (path) =>
        path === '/keys'
          ? undefined
          : { status: 200, body: JSON.stringify({ issuer: issuer.url, jwks_uri: `${elsewhere.url}/keys` }) };
      expect(await keys.keysFor('one')).toBeDefined();
      expect(issuer.authorization).toBe('Bearer planted-token');
      expect(elsewhere.authorization).toBeUndefined();
    } finally {
      await elsewhere.stop();
    }
  });
});

describe('keys over TLS', () => {
  it('come from a server whose CA is given, and from no other', async () => {
    const key = await signer('one');
    const pair = selfSigned();
    const server = createTlsServer({ ...pair }, (_request, response) =>
      response.end(JSON.stringify({ keys: [key.jwk] })),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const jwksUri = `https://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    const keys = (ca?: string): IssuerKeys =>
      new IssuerKeys(
        { issuer: 'https://issuer.example', jwksUri, ...(ca === undefined ? {} : { ca }) },
        new FakeClock(),
        createLogger({ level: 'silent' }),
      );
    try {
      expect(await keys(pair.cert).keysFor('one')).toBeDefined();
      await expect(keys().keysFor('one')).rejects.toMatchObject({ code: 'IssuerUnavailable' });
      await expect(keys(selfSigned().cert).keysFor('one')).rejects.toMatchObject({
        code: 'IssuerUnavailable',
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('readKeys', () => {
  it.each([
    [{}],
    [{ keys: 'x' }],
    [{ keys: [] }],
    [{ keys: [{ kty: 'oct', kid: 'a', k: 'AAAA' }] }],
    [{ keys: [{ kty: 'EC', crv: 'P-256' }] }],
    [{ keys: Array.from({ length: 101 }, () => ({})) }],
    [[]],
    [null],
  ])('refuses %j', (document) => {
    expect(() => readKeys(document)).toThrow();
  });
});

describe('subjectPattern', () => {
  it.each([
    ['system:serviceaccount:team:*', 'system:serviceaccount:team:a', true],
    ['system:serviceaccount:*:hue', 'system:serviceaccount:team:hue', true],
    ['system:serviceaccount:*', 'system:serviceaccount:team:hue', false],
    ['repo:org/app:**', 'repo:org/app:ref:refs/heads/main', true],
    ['repo:org/*:**', 'repo:org/app/x:ref', false],
    ['a.b', 'axb', false],
    ['a', 'a\n', false],
    ['**', 'anything:at/all\n', true],
  ])('%s fits %j: %s', (pattern, subject, expected) => {
    expect(subjectPattern(pattern).test(subject)).toBe(expected);
  });
});

describe('an issuer', () => {
  const good: OidcIssuer = {
    name: 'ci',
    issuer: 'https://issuer.example',
    audiences: ['registry'],
    rules: [{ subject: 'a', policies: [] }],
  };
  it.each([
    ['no audience', [{ ...good, audiences: [] }]],
    ['an empty audience', [{ ...good, audiences: [''] }]],
    ['plain HTTP', [{ ...good, issuer: 'http://issuer.example' }]],
    ['a password in its URL', [{ ...good, issuer: 'https://a:b@issuer.example' }]],
    ['no rules', [{ ...good, rules: [] }]],
    ['a name with a colon', [{ ...good, name: 'a:b' }]],
    ['the name of another', [good, { ...good, issuer: 'https://other.example' }]],
    ['the URL of another', [good, { ...good, name: 'other' }]],
    ['keys that are none', [{ ...good, jwks: { keys: [] } }]],
  ])('with %s is refused', async (_what, oidc) => {
    await expect(RegistryFixture.start({ oidc })).rejects.toMatchObject({ code: 'OidcInvalid' });
  });
});
