import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { eventually } from '@mural/core/testing';
import { MAX_MANIFEST_BYTES } from '@mural/oci';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, IMAGE, imageOf, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';
import type { RegistryOptions } from '../server.ts';
import { MirrorFixture } from './fixture.ts';
import { compileMirrors, type MirrorOptions } from './options.ts';
import { onlyFor } from './upstream.ts';
import { type Origin, startOrigin } from './origin.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const CREDENTIAL = { username: 'mirror', password: 'planted-secret' };
const SENT = `Basic ${Buffer.from('mirror:planted-secret').toString('base64')}`;

async function origin(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Origin> {
  const started = await startOrigin(answer);
  cleanups.push(() => started.close());
  return started;
}

async function mirrorOf(
  upstream: Origin,
  options: Partial<MirrorOptions> = {},
  registry: Partial<RegistryOptions> = {},
): Promise<RegistryFixture> {
  const mirror = {
    repositories: '**',
    upstream: upstream.url,
    credentials: CREDENTIAL,
    timeoutMs: 2000,
    ...options,
  };
  const fixture = await RegistryFixture.start({ mirrors: [mirror], ...registry });
  cleanups.push(() => fixture.stop());
  return fixture;
}

async function start(settings: Parameters<typeof MirrorFixture.start>[0]): Promise<MirrorFixture> {
  const fixture = await MirrorFixture.start(settings);
  cleanups.push(() => fixture.stop());
  return fixture;
}

const READERS = [
  { name: 'ann', password: 'a', policies: [{ repositories: 'team/app', actions: ['read'] as const }] },
  { name: 'bob', password: 'b', policies: [{ repositories: 'team/other', actions: ['read'] as const }] },
];

describe('who may read through a mirror', () => {
  it('is decided before anything is asked upstream', async () => {
    const fixture = await start({ registry: { anonymous: 'none', users: READERS } });
    const image = await fixture.pushImage('team/app', 'v1');
    const before = fixture.upstream.requests.length;
    for (const path of ['manifests/v1', `blobs/${image.layer}`, 'tags/list', `referrers/${image.digest}`]) {
      expect((await fixture.mirror.send('GET', `/v2/team/app/${path}`)).status).toBe(401);
      expect((await fixture.mirror.send('GET', `/v2/team/app/${path}`, { as: 'bob:b' })).status).toBe(403);
    }
    expect(fixture.upstream.requests.length).toBe(before);
    expect((await fixture.mirror.send('GET', '/v2/team/app/manifests/v1', { as: 'ann:a' })).status).toBe(200);
  });

  it('does not get a blob of another repository by its digest, unless the upstream has it there too', async () => {
    const fixture = await start({ registry: { anonymous: 'none', users: READERS } });
    const image = await fixture.pushImage('team/app', 'v1');
    const layer = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`, { as: 'ann:a' });
    expect(layer.status).toBe(200);
    const path = `/v2/team/other/blobs/${image.layer}`;
    const refused = await fixture.mirror.send('GET', path, { as: 'bob:b' });
    expect([refused.status, errorCode(refused)]).toEqual([404, 'BLOB_UNKNOWN']);
    expect((await fixture.mirror.send('HEAD', path, { as: 'bob:b' })).status).toBe(404);
  });

  it('takes a shared blob over without fetching it again once the upstream has said that it is there', async () => {
    const fixture = await start({ mirror: { negativeTtlMs: 0 } });
    const image = await fixture.pushImage('team/app', 'v1', 2_000_000);
    await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`);
    await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).uploads === 0);
    await fixture.pushBlob('team/other', image.content);
    const shared = await fixture.mirror.send('GET', `/v2/team/other/blobs/${image.layer}`);
    expect(shared.body.equals(image.content)).toBe(true);
    expect(fixture.seen('GET', /blobs/)).toHaveLength(1);
  });

  it('does not get a blob that was pushed to a repository of this registry, whatever an upstream claims', async () => {
    const secret = Buffer.from('what only this registry has');
    const claims = await origin((request, response) => {
      response.writeHead(200, { 'content-length': secret.length });
      response.end(request.method === 'HEAD' ? undefined : randomBytes(secret.length));
    });
    const mirror = await mirrorOf(claims, { repositories: 'mirrored/**' });
    const digest = await mirror.pushBlob('private/app', secret);
    const answer = await mirror.send('GET', `/v2/mirrored/app/blobs/${digest}`);
    expect(answer.status).toBe(502);
    expect(String(answer.body)).not.toContain('what only');
  });
});

describe('credentials of a mirror', () => {
  it('are sent to its upstream, and those of clients are not', async () => {
    const upstream = await origin((request, response) => {
      if (request.headers.authorization === SENT) response.writeHead(404).end('{}');
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    const users = [
      {
        name: 'ann',
        password: 'of-a-client',
        policies: [{ repositories: '**', actions: ['read'] as const }],
      },
    ];
    const mirror = await mirrorOf(upstream, {}, { anonymous: 'none', users });
    const answer = await mirror.send('GET', '/v2/team/app/manifests/v1', { as: 'ann:of-a-client' });
    expect(answer.status).toBe(404);
    expect(upstream.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, SENT]);
  });

  it('are not sent to a realm elsewhere', async () => {
    const thief = await origin((_, response) => response.end(JSON.stringify({ token: 'x' })));
    const upstream = await origin((request, response) => {
      if (request.headers.authorization === 'Bearer x') response.writeHead(404).end('{}');
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${thief.url}/token"` }).end();
    });
    await (await mirrorOf(upstream)).send('GET', '/v2/team/app/manifests/v1');
    expect(thief.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it('are for the upstream and the token servers that were named', async () => {
    const refused: unknown[] = [];
    const provider = onlyFor(
      ['registry.example', 'auth.example'],
      async () => CREDENTIAL,
      (to) => refused.push(to),
    );
    expect(await provider({ to: 'registry.example' })).toBe(CREDENTIAL);
    expect(await provider({ to: 'AUTH.example' })).toBe(CREDENTIAL);
    for (const to of ['auth.example.evil', 'auth.example:8443', 'evil', '']) {
      expect(await provider({ to })).toBeUndefined();
    }
    expect(await provider()).toBeUndefined();
    expect(refused).toHaveLength(5);
  });

  it('are not sent after a redirect to another origin', async () => {
    const content = randomBytes(1000);
    const elsewhere = await origin((_, response) => response.end(content));
    const upstream = await origin((request, response) => {
      if (request.headers.authorization !== SENT) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else if (request.method === 'HEAD') response.writeHead(200, { 'content-length': 1000 }).end();
      else response.writeHead(307, { location: `${elsewhere.url}/blob` }).end();
    });
    const mirror = await mirrorOf(upstream);
    const answer = await mirror.send('GET', `/v2/team/app/blobs/${digestOf(content)}`);
    expect(answer.body.equals(content)).toBe(true);
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it('stand in no answer', async () => {
    const upstream = await origin((request, response) => {
      response
        .writeHead(500)
        .end(JSON.stringify({ errors: [{ message: request.headers.authorization ?? 'none' }] }));
    });
    const answer = await (await mirrorOf(upstream)).send('GET', '/v2/team/app/manifests/v1');
    expect(String(answer.body)).not.toMatch(/planted|Basic/);
  });
});

describe('an upstream that is hostile', () => {
  it('does not get a manifest stored under another digest', async () => {
    const bytes = imageOf(digestOf('{}'), { digest: digestOf('x'), size: 1 });
    const upstream = await origin((_, response) => {
      response.writeHead(200, { 'content-type': IMAGE, 'docker-content-digest': digestOf('other') });
      response.end(bytes);
    });
    const mirror = await mirrorOf(upstream);
    for (const reference of ['v1', digestOf('other')]) {
      const answer = await mirror.send('GET', `/v2/team/app/manifests/${reference}`);
      expect([answer.status, errorCode(answer)]).toEqual([502, 'UNAVAILABLE']);
    }
    expect((await mirror.registry.maintenance.stats()).manifests).toBe(0);
  });

  it.each([
    ['ambiguous', { layers: [], manifests: [] }],
    ['with a field in another case', { Layers: [] }],
    ['of no kind', { config: undefined, mediaType: 'text/html' }],
  ])('does not get a manifest through that is %s', async (_, extra) => {
    const bytes = imageOf(digestOf('{}'), { digest: digestOf('x'), size: 1 }, extra);
    const upstream = await origin((__, response) =>
      response.writeHead(200, { 'content-type': IMAGE }).end(bytes),
    );
    const mirror = await mirrorOf(upstream);
    expect((await mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(502);
    expect((await mirror.registry.maintenance.stats()).manifests).toBe(0);
  });

  it('cannot fill the memory with a manifest or a blob without end', async () => {
    let sent = 0;
    const upstream = await origin((request, response) => {
      if (request.method === 'HEAD') {
        response.writeHead(200, { 'content-length': 10 }).end();
        return;
      }
      response.writeHead(200, { 'content-type': IMAGE });
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, ' '))) sent += 65_536;
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    const mirror = await mirrorOf(upstream);
    expect((await mirror.send('GET', '/v2/team/app/manifests/v1')).status).toBe(502);
    expect(sent).toBeLessThan(MAX_MANIFEST_BYTES * 4);
    const blob = await mirror.send('GET', `/v2/team/app/blobs/${digestOf('0123456789')}`);
    expect(blob.status).toBe(502);
    expect((await mirror.registry.maintenance.stats()).blobs).toBe(0);
  });

  it('cannot lead a list elsewhere or let it go on for ever', async () => {
    const elsewhere = await origin((_, response) => response.end('{"tags":["planted"]}'));
    for (const link of [
      `<${elsewhere.url}/v2/x/tags/list>; rel="next"`,
      '<?again>; rel="next"',
      '<//>; rel="next"',
    ]) {
      const upstream = await origin((_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', link });
        response.end(JSON.stringify({ tags: ['../../x', 'v1', 7] }));
      });
      const mirror = await mirrorOf(upstream);
      const answer = await mirror.send('GET', '/v2/team/app/tags/list');
      expect([502, 504]).toContain(answer.status);
      expect(upstream.requests.length).toBeLessThan(1100);
    }
    expect(elsewhere.requests).toEqual([]);
  });

  it('cannot put headers or names of its own into answers', async () => {
    const upstream = await origin((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'planted=1' });
      response.end(JSON.stringify({ name: 'planted/name', tags: ['v1', 'a b', '../x', 'x'.repeat(200)] }));
    });
    const answer = await (await mirrorOf(upstream)).send('GET', '/v2/team/app/tags/list');
    expect(JSON.parse(String(answer.body))).toEqual({ name: 'team/app', tags: ['v1'] });
    expect(answer.headers['set-cookie']).toBeUndefined();
  });
});

describe('the settings of a mirror', () => {
  it.each([
    [{ upstream: 'ftp://a' }, 'mirrors[0].upstream'],
    [{ upstream: 'http://registry.example.com' }, 'mirrors[0].upstream'],
    [{ upstream: 'https://u:p@a' }, 'mirrors[0].upstream'],
    [{ upstream: 'https://a/v2/x' }, 'mirrors[0].upstream'],
    [{ upstream: 'https://a/UPPER' }, 'mirrors[0].upstream'],
    [{ upstream: 'https://a?x=1' }, 'mirrors[0].upstream'],
    [{ repositories: 'Team/**' }, 'mirrors[0].repositories'],
    [{ prefix: 'x' }, 'mirrors[0]'],
    [{ concurrency: 0 }, 'mirrors[0].concurrency'],
    [{ tagTtlMs: -1 }, 'mirrors[0].tagTtl'],
    [{ tokenServers: ['https://a'] }, 'mirrors[0].tokenServers[0]'],
  ])('%j are refused with their place', (change, at) => {
    const mirror = { repositories: '**', upstream: 'https://a.example', ...change };
    expect(() => compileMirrors([mirror])).toThrow(
      expect.objectContaining({
        code: 'MirrorInvalid',
        facts: expect.objectContaining({ at }) as unknown,
      }) as Error,
    );
  });

  it('give every name at most one name upstream, and that a valid one', () => {
    const [mirror] = compileMirrors([{ prefix: 'hub', upstream: 'https://a.example/library' }]);
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9/._-]{0,40}$/), (rest) => {
        const name = mirror?.upstreamName(`hub/${rest}`);
        if (name !== undefined) expect(name).toMatch(/^library\/[a-z0-9]+(?:(?:[._]|__|-+|\/)[a-z0-9]+)*$/);
      }),
    );
  });
});
