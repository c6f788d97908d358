import { createHmac, generateKeyPairSync } from 'node:crypto';
import { FakeClock } from '@mural/core/testing';
import { hashSync } from 'bcryptjs';
import fc from 'fast-check';
import { decodeJwt, decodeProtectedHeader, exportJWK, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, RegistryFixture, type Sent } from '../fixture.ts';
import { parseScopes, scopeOf } from './scope.ts';

const USERS = [
  {
    name: 'ann',
    passwordHash: hashSync('ann', 4),
    policies: [
      { repositories: 'team/**', actions: ['read', 'create'] },
      { repositories: 'shared/base', actions: ['read'] },
    ] as const,
  },
];
const PUSH = 'scope=repository:team/app:pull,push';

interface TokenAnswer {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
}

describe('the token endpoint', () => {
  let fixture: RegistryFixture;
  let clock: FakeClock;
  beforeEach(async () => {
    clock = new FakeClock();
    fixture = await RegistryFixture.start({ anonymous: 'none', clock, users: USERS, token: {} });
  });
  afterEach(() => fixture.stop());

  const ask = (query: string, sent: Sent = { as: 'ann:ann' }): Promise<Answer> =>
    fixture.send('GET', `/token?service=mural&${query}`, sent);
  const tokenFor = async (query: string): Promise<string> =>
    (JSON.parse(String((await ask(query)).body)) as TokenAnswer).token;
  const bearer = (token: string): Sent => ({ headers: { authorization: `Bearer ${token}` } });
  const get = (path: string, token: string): Promise<Answer> => fixture.send('GET', path, bearer(token));

  it('is what a challenge asks the client to go to', async () => {
    const realm = `realm="${fixture.registry.url}/token",service="mural"`;
    const challenge = async (method: string, path: string): Promise<unknown> =>
      (await fixture.send(method, path)).headers['www-authenticate'];
    expect(await challenge('GET', '/v2/')).toBe(`Bearer ${realm}`);
    expect(await challenge('GET', '/v2/_catalog')).toBe(`Bearer ${realm},scope="registry:catalog:*"`);
    const scope = (actions: string): string => `Bearer ${realm},scope="repository:team/app:${actions}"`;
    expect(await challenge('HEAD', '/v2/team/app/manifests/v1')).toBe(scope('pull'));
    expect(await challenge('PUT', '/v2/team/app/manifests/v1')).toBe(scope('pull,push'));
    expect(await challenge('POST', '/v2/team/app/blobs/uploads/')).toBe(scope('pull,push'));
    expect(await challenge('DELETE', '/v2/team/app/manifests/v1')).toBe(scope('pull,delete'));
  });

  it('names itself by a Host that is one, and by the address otherwise', async () => {
    const challenge = async (host: string): Promise<string> =>
      String((await fixture.send('GET', '/v2/', { headers: { host } })).headers['www-authenticate']);
    expect(await challenge('registry.example:8443')).toContain('realm="http://registry.example:8443/token"');
    expect(await challenge('[::1]:5000')).toContain('realm="http://[::1]:5000/token"');
    for (const host of ['a"b', 'a b', 'user@host', 'host/path', '']) {
      expect(await challenge(host)).toContain(`realm="${fixture.registry.url}/token"`);
    }
  });

  it('gives out what was asked for and is allowed, for a short while', async () => {
    const answer = await ask(PUSH);
    expect([answer.status, answer.headers['cache-control']]).toEqual([200, 'no-store']);
    const body = JSON.parse(String(answer.body)) as TokenAnswer;
    expect(body).toMatchObject({ expires_in: 300, issued_at: '2026-01-01T00:00:00Z' });
    expect(body.access_token).toBe(body.token);
    expect(decodeProtectedHeader(body.token)).toMatchObject({ alg: 'ES256', typ: 'JWT' });
    const claims = decodeJwt(body.token);
    expect(claims).toMatchObject({ iss: 'mural', aud: 'mural', sub: 'ann' });
    expect(Number(claims.exp) - Number(claims.nbf)).toBe(300);
    const begin = await fixture.send('POST', '/v2/team/app/blobs/uploads/', bearer(body.token));
    expect(begin.status).toBe(202);
    await clock.advance(299_000);
    expect((await get('/v2/team/app/tags/list', body.token)).status).toBe(404);
    await clock.advance(2000);
    const late = await get('/v2/team/app/tags/list', body.token);
    expect([late.status, late.headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining('error="invalid_token"'),
    ]);
  });

  it('a token is good for what it was asked for: more is asked for, what is not allowed is denied', async () => {
    const token = await tokenFor('scope=repository:team/app:pull');
    const push = await fixture.send('POST', '/v2/team/app/blobs/uploads/', bearer(token));
    expect([push.status, push.headers['www-authenticate']]).toEqual([
      401,
      expect.stringMatching(/scope="repository:team\/app:pull,push",error="insufficient_scope"/),
    ]);
    expect((await get('/v2/team/other/tags/list', token)).status).toBe(401);
    const all = await tokenFor('scope=repository:shared/base:pull,push&scope=repository:other:pull');
    expect((await get('/v2/shared/base/tags/list', all)).status).toBe(404);
    expect((await fixture.send('POST', '/v2/shared/base/blobs/uploads/', bearer(all))).status).toBe(403);
    expect((await get('/v2/other/tags/list', all)).status).toBe(403);
    expect((await get('/v2/', all)).status).toBe(200);
  });

  it('mounts from what the token allows to read, and from nothing else', async () => {
    const as = 'root:root';
    await fixture.registry.setUser({
      name: 'root',
      password: 'root',
      policies: [{ repositories: '**', actions: ['read', 'create'] }],
    });
    const digest = await fixture.pushBlob('shared/base', 'layer', as);
    const mount = async (token: string): Promise<number> =>
      (
        await fixture.send(
          'POST',
          `/v2/team/app/blobs/uploads/?mount=${digest}&from=shared/base`,
          bearer(token),
        )
      ).status;
    expect(await mount(await tokenFor(PUSH))).toBe(202);
    expect(await mount(await tokenFor(`${PUSH}%20repository:shared/base:pull`))).toBe(201);
  });

  it('the catalog shows what the caller may read', async () => {
    await fixture.registry.setUser({
      name: 'root',
      password: 'root',
      policies: [{ repositories: '**', actions: ['create'] }],
    });
    for (const name of ['team/a', 'shared/base', 'secret']) await fixture.pushBlob(name, 'x', 'root:root');
    const repositories = async (token: string): Promise<unknown> =>
      (JSON.parse(String((await get('/v2/_catalog', token)).body)) as { repositories: unknown }).repositories;
    expect(await repositories(await tokenFor('scope=registry:catalog:*'))).toEqual(['shared/base', 'team/a']);
    expect(await repositories(await tokenFor('scope=repository:team/a:pull'))).toEqual(['team/a']);
  });

  it('a user who was removed keeps a token for its short life, and gets no other', async () => {
    const token = await tokenFor(PUSH);
    await fixture.registry.removeUser('ann');
    expect((await ask(PUSH)).status).toBe(401);
    expect((await get('/v2/team/app/tags/list', token)).status).toBe(404);
    await clock.advance(301_000);
    expect((await get('/v2/team/app/tags/list', token)).status).toBe(401);
  });

  it('another key signs after a rotation, and a restart; tokens of the ones before stay good', async () => {
    const first = await tokenFor(PUSH);
    await clock.advance(1000);
    fixture.registry.rotateTokenKey();
    const second = await tokenFor(PUSH);
    expect(decodeProtectedHeader(second).kid).not.toBe(decodeProtectedHeader(first).kid);
    await fixture.restart();
    for (const token of [first, second]) {
      expect((await get('/v2/team/app/tags/list', token)).status).toBe(404);
    }
    await clock.advance(31 * 24 * 3_600_000);
    const third = await tokenFor(PUSH);
    expect(decodeProtectedHeader(third).kid).not.toBe(decodeProtectedHeader(second).kid);
  });

  it('takes basic authentication beside tokens, and no token for another token', async () => {
    expect((await fixture.send('GET', '/v2/team/app/tags/list', { as: 'ann:ann' })).status).toBe(404);
    const answer = await ask(PUSH, bearer(await tokenFor(PUSH)));
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([401, 'Basic realm="mural"']);
  });

  it('takes no token of its own as a password either', async () => {
    const jwks = { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43), kid: 'one' }] };
    const rules = [{ policies: [] }];
    const oidc = [{ name: 'ci', issuer: 'https://issuer.example', audiences: ['x'], jwks, rules }];
    const other = await RegistryFixture.start({ anonymous: 'none', clock, users: USERS, token: {}, oidc });
    try {
      const first = await other.send('GET', `/token?${PUSH}`, { as: 'ann:ann' });
      const { token } = JSON.parse(String(first.body)) as TokenAnswer;
      for (const path of [`/token?${PUSH}`, '/v2/']) {
        expect((await other.send('GET', path, { as: `oidc:${token}` })).status).toBe(401);
      }
    } finally {
      await other.stop();
    }
  });

  it.each([
    [undefined, 401],
    ['ann:wrong', 401],
    ['nobody:x', 401],
  ])('refuses %s', async (as, status) => {
    const answer = await ask(PUSH, as === undefined ? {} : { as });
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([status, 'Basic realm="mural"']);
    expect(String(answer.body)).not.toContain('token"');
  });

  it.each([
    ['scope=nonsense', 400],
    ['scope=repository:UPPER:pull', 400],
    ['scope=repository:../etc:pull', 400],
    [`scope=${'a'.repeat(9000)}`, 400],
    [Array.from({ length: 65 }, (_, i) => `scope=repository:a${i}:pull`).join('&'), 400],
    ['service=other', 200],
    ['scope=repository(plugin):team/app:pull', 200],
    ['scope=something:else:pull', 200],
    ['', 200],
    ['account=ann&client_id=docker&offline_token=true', 200],
  ])('answers %.60s with %i', async (query, status) => {
    expect((await ask(query)).status).toBe(status);
  });

  it('refuses another service', async () => {
    expect((await fixture.send('GET', '/token?service=other', { as: 'ann:ann' })).status).toBe(400);
  });

  describe('by POST', () => {
    const post = (form: Record<string, string>, headers: Record<string, string> = {}): Promise<Answer> =>
      fixture.send('POST', '/token', {
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams(form).toString(),
      });
    const form = {
      grant_type: 'password',
      username: 'ann',
      password: 'ann',
      service: 'mural',
      scope: 'repository:team/app:pull,push',
    };

    it('gives a token for a password', async () => {
      const answer = await post(form);
      const body = JSON.parse(String(answer.body)) as TokenAnswer & { scope: string; token_type: string };
      expect(body).toMatchObject({
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'repository:team/app:read,create',
      });
      expect(body).not.toHaveProperty('refresh_token');
      expect((await get('/v2/team/app/tags/list', body.access_token)).status).toBe(404);
    });

    it.each([
      [{ ...form, password: 'wrong' }, 401, 'invalid_grant'],
      [{ ...form, username: '' }, 401, 'invalid_grant'],
      [{ ...form, grant_type: 'refresh_token' }, 400, 'unsupported_grant_type'],
      [{}, 400, 'unsupported_grant_type'],
    ])('refuses %j', async (given, status, error) => {
      const answer = await post(given);
      expect([answer.status, (JSON.parse(String(answer.body)) as { error: string }).error]).toEqual([
        status,
        error,
      ]);
    });

    it('takes a form, and not a large one', async () => {
      expect((await post({ ...form, x: 'x'.repeat(40_000) })).status).toBe(400);
      expect((await post(form, { 'content-type': 'application/json' })).status).toBe(415);
      expect((await fixture.send('PUT', '/token')).status).toBe(405);
    });
  });
});

describe('tokens that bring their own key', () => {
  let fixture: RegistryFixture;
  let genuine: string;
  beforeEach(async () => {
    fixture = await RegistryFixture.start({ anonymous: 'none', users: USERS, token: {} });
    const answer = await fixture.send('GET', `/token?${PUSH}`, { as: 'ann:ann' });
    genuine = (JSON.parse(String(answer.body)) as TokenAnswer).token;
  });
  afterEach(() => fixture.stop());

  const status = async (token: string): Promise<number> =>
    (await fixture.send('GET', '/v2/team/app/tags/list', { headers: { authorization: `Bearer ${token}` } }))
      .status;
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

  it('are refused with jwk, jku, x5u or x5c in their header, whoever signed them', async () => {
    expect(await status(genuine)).toBe(404);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = await exportJWK(publicKey);
    const kid = decodeProtectedHeader(genuine).kid ?? '';
    for (const extra of [
      {},
      { jwk },
      { jku: 'https://evil.example/jwks' },
      { x5u: 'https://evil.example/x5u' },
      { x5c: ['AAAA'] },
      { kid: '../../etc/passwd' },
      { kid: '' },
    ]) {
      const forged = await new SignJWT(decodeJwt(genuine))
        .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid, ...extra })
        .sign(privateKey);
      expect(await status(forged)).toBe(401);
    }
  });

  it('are refused with another algorithm: none, a MAC with the public key, another curve', async () => {
    const [header = '', payload = ''] = genuine.split('.');
    const { kid } = decodeProtectedHeader(genuine);
    expect(await status(`${part({ alg: 'none', typ: 'JWT', kid })}.${payload}.`)).toBe(401);
    expect(await status(`${part({ alg: 'none', typ: 'JWT', kid })}.${payload}.AAAA`)).toBe(401);
    const mac = `${part({ alg: 'HS256', typ: 'JWT', kid })}.${payload}`;
    expect(await status(`${mac}.${createHmac('sha256', 'public').update(mac).digest('base64url')}`)).toBe(
      401,
    );
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const other = await new SignJWT(decodeJwt(genuine))
      .setProtectedHeader({ alg: 'ES384', typ: 'JWT', kid: kid ?? '' })
      .sign(privateKey);
    expect(await status(other)).toBe(401);
    expect(await status(`${header}.${payload}.AAAA`)).toBe(401);
  });

  it('are refused when any of their bytes is changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(genuine.length - 1),
        fc.constantFrom('A', 'b', '_', '.', '9'),
        async (at, by) => {
          const changed = genuine.slice(0, at) + by + genuine.slice(at + 1);
          fc.pre(changed !== genuine && !sameBytes(changed, genuine));
          expect(await status(changed)).toBe(401);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('of another registry are refused, though it has the same name', async () => {
    const other = await RegistryFixture.start({ anonymous: 'none', users: USERS, token: {} });
    try {
      const answer = await other.send('GET', `/token?${PUSH}`, { as: 'ann:ann' });
      expect(await status((JSON.parse(String(answer.body)) as TokenAnswer).token)).toBe(401);
    } finally {
      await other.stop();
    }
  });
});

/** The last character of a part may hold bits that no byte takes. */
function sameBytes(one: string, two: string): boolean {
  const bytes = (token: string): string =>
    token
      .split('.')
      .map((text) => Buffer.from(text, 'base64url').toString('hex'))
      .join('.');
  return bytes(one) === bytes(two);
}

describe('an anonymous caller', () => {
  it('gets a token for what everybody may read', async () => {
    const anonymous = [{ repositories: 'public/**', actions: ['read'] }] as const;
    const fixture = await RegistryFixture.start({ anonymous, token: {} });
    try {
      const query = 'scope=repository:public/a:pull,push&scope=repository:private:pull';
      const answer = await fixture.send('GET', `/token?${query}`);
      const { token } = JSON.parse(String(answer.body)) as TokenAnswer;
      const headers = { authorization: `Bearer ${token}` };
      const status = async (method: string, path: string): Promise<number> =>
        (await fixture.send(method, path, { headers })).status;
      expect(await status('GET', '/v2/public/a/tags/list')).toBe(404);
      expect(await status('POST', '/v2/public/a/blobs/uploads/')).toBe(401);
      expect(await status('GET', '/v2/private/tags/list')).toBe(401);
    } finally {
      await fixture.stop();
    }
  });
});

describe('without the option', () => {
  it('there is no token endpoint, and no token is taken', async () => {
    const fixture = await RegistryFixture.start({ anonymous: 'none', users: USERS });
    try {
      expect((await fixture.send('GET', '/token', { as: 'ann:ann' })).status).toBe(404);
      expect((await fixture.send('GET', '/token')).status).toBe(401);
    } finally {
      await fixture.stop();
    }
  });

  it.each([{ lifetimeSeconds: 5 }, { lifetimeSeconds: 86_400 }, { service: 'a"b' }, { realm: 'ftp://x' }])(
    '%j is refused',
    async (token) => {
      await expect(RegistryFixture.start({ token })).rejects.toMatchObject({ code: 'TokenOptionsInvalid' });
    },
  );
});

describe('parseScopes', () => {
  it('joins what is asked of one repository, in Docker’s words and ours', () => {
    expect(
      parseScopes(['repository:a:pull', 'repository:a:push repository:b:*', 'repository:c:update,x']),
    ).toEqual([
      { type: 'repository', name: 'a', actions: ['read', 'create', 'update'] },
      { type: 'repository', name: 'b', actions: ['read', 'create', 'update', 'delete'] },
      { type: 'repository', name: 'c', actions: ['update'] },
    ]);
  });

  it('reads what a challenge asks for', () => {
    expect(parseScopes([scopeOf('a/b', 'delete')])).toEqual([
      { type: 'repository', name: 'a/b', actions: ['read', 'delete'] },
    ]);
  });

  it('fails with an error of the API on any text', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 60 }), { maxLength: 5 }), (texts) => {
        try {
          parseScopes(texts);
        } catch (error) {
          expect(error).toMatchObject({ name: 'RegistryError' });
        }
      }),
    );
  });
});
