import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, errorCode, IMAGE, imageOf, RegistryFixture } from '../fixture.ts';
import { digestOf } from '../names.ts';
import { compilePolicies, type RegistryAction, type RegistryPolicy } from './policy.ts';
import type { RegistryUser } from './users.ts';

function user(name: string, ...actions: RegistryAction[]): RegistryUser {
  return { name, password: name, policies: [{ repositories: 'team/**', actions }] };
}

const USERS = [
  user('reader', 'read'),
  user('creator', 'read', 'create'),
  user('updater', 'read', 'update'),
  user('writer', 'read', 'create', 'update'),
  user('deleter', 'delete'),
  user('admin', 'read', 'create', 'update', 'delete'),
];

const as = (name: string): string => `${name}:${name}`;

describe('what each action allows', () => {
  let fixture: RegistryFixture;
  let first: string;
  let second: string;
  let number = 0;

  beforeAll(async () => {
    fixture = await RegistryFixture.start({ anonymous: 'none', users: USERS });
    await fixture.pushBlob('team/app', '{}', as('admin'));
    const layer = Buffer.from('layer');
    await fixture.pushBlob('team/app', layer, as('admin'));
    const image = (n: number): string =>
      imageOf(
        digestOf(Buffer.from('{}')),
        { digest: digestOf(layer), size: layer.length },
        {
          annotations: { n: String(n) },
        },
      );
    first = image(1);
    second = image(2);
    await put('admin', 'latest', first);
    await put('admin', digestOf(second), second);
  });
  afterAll(() => fixture.stop());

  function put(name: string, reference: string, manifest: string): Promise<Answer> {
    const headers = { 'content-type': IMAGE };
    const path = `/v2/team/app/manifests/${reference}`;
    return fixture.send('PUT', path, { headers, body: manifest, as: as(name) });
  }

  const fresh = (): string => {
    number += 1;
    return `t${number}`;
  };
  const other = (): string =>
    imageOf(
      digestOf(Buffer.from('{}')),
      { digest: digestOf(Buffer.from('layer')), size: 5 },
      {
        annotations: { n: `other ${number}` },
      },
    );

  it.each([
    ['reader', { create: 403, move: 403, same: 403, digest: 403, createByQuery: 403, moveByQuery: 403 }],
    ['creator', { create: 201, move: 403, same: 201, digest: 201, createByQuery: 201, moveByQuery: 403 }],
    ['updater', { create: 403, move: 201, same: 201, digest: 403, createByQuery: 403, moveByQuery: 201 }],
    ['writer', { create: 201, move: 201, same: 201, digest: 201, createByQuery: 201, moveByQuery: 201 }],
    ['deleter', { create: 403, move: 403, same: 403, digest: 403, createByQuery: 403, moveByQuery: 403 }],
  ])('%s', async (name, expected) => {
    const [tagged, another] = [fresh(), fresh()];
    await put('admin', tagged, first);
    await put('admin', another, first);
    const third = other();
    const secondDigest = digestOf(Buffer.from(second));
    expect({
      create: (await put(name, fresh(), second)).status,
      same: (await put(name, tagged, first)).status,
      move: (await put(name, tagged, second)).status,
      digest: (await put(name, digestOf(Buffer.from(third)), third)).status,
      createByQuery: (await put(name, `${secondDigest}?tag=${fresh()}`, second)).status,
      moveByQuery: (await put(name, `${secondDigest}?tag=${another}`, second)).status,
    }).toEqual(expected);
  });

  it('a user who may only create cannot overwrite latest, not even beside a tag of their own', async () => {
    const before = await fixture.send('HEAD', '/v2/team/app/manifests/latest', { as: as('reader') });
    const path = `${digestOf(Buffer.from(second))}?tag=${fresh()}&tag=latest`;
    const answer = await put('creator', path, second);
    expect([answer.status, errorCode(answer)]).toEqual([403, 'DENIED']);
    const after = await fixture.send('HEAD', '/v2/team/app/manifests/latest', { as: as('reader') });
    expect(after.headers['docker-content-digest']).toBe(before.headers['docker-content-digest']);
    const tags = await fixture.send('GET', '/v2/team/app/tags/list', { as: as('reader') });
    expect(String(tags.body)).not.toContain(`t${number}`);
  });

  it('only delete deletes, and delete does not read', async () => {
    const tag = fresh();
    await put('admin', tag, first);
    const path = `/v2/team/app/manifests/${tag}`;
    for (const name of ['reader', 'creator', 'updater', 'writer']) {
      expect((await fixture.send('DELETE', path, { as: as(name) })).status).toBe(403);
    }
    expect((await fixture.send('GET', path, { as: as('deleter') })).status).toBe(403);
    expect((await fixture.send('DELETE', path, { as: as('deleter') })).status).toBe(202);
  });

  it('uploads belong to create', async () => {
    const begin = (name: string): Promise<Answer> =>
      fixture.send('POST', '/v2/team/app/blobs/uploads/', { as: as(name) });
    for (const name of ['reader', 'updater', 'deleter']) expect((await begin(name)).status).toBe(403);
    expect((await begin('creator')).status).toBe(202);
  });
});

describe('anonymous callers', () => {
  const anonymous: readonly RegistryPolicy[] = [{ repositories: 'public/**', actions: ['read'] }];
  const users: RegistryUser[] = [
    { name: 'ann', password: 'ann', policies: [{ repositories: 'mine', actions: ['read', 'create'] }] },
    { name: 'root', password: 'root', policies: [{ repositories: '**', actions: ['read', 'create'] }] },
  ];
  let fixture: RegistryFixture;
  let open: string;
  let closed: string;
  beforeAll(async () => {
    fixture = await RegistryFixture.start({ anonymous, users });
    open = await fixture.pushBlob('public/a', 'open', as('root'));
    closed = await fixture.pushBlob('private/a', 'closed', as('root'));
  });
  afterAll(() => fixture.stop());

  it('see what their policies name and nothing else', async () => {
    expect((await fixture.send('GET', '/v2/public/a/tags/list')).status).toBe(200);
    expect((await fixture.send('GET', `/v2/public/a/blobs/${open}`)).status).toBe(200);
    expect((await fixture.send('GET', '/v2/private/a/tags/list')).status).toBe(401);
    expect((await fixture.send('GET', '/v2/private/none/tags/list')).status).toBe(401);
    expect((await fixture.send('POST', '/v2/public/a/blobs/uploads/')).status).toBe(401);
    const catalog = await fixture.send('GET', '/v2/_catalog');
    expect(JSON.parse(String(catalog.body))).toEqual({ repositories: ['public/a'] });
  });

  it('a user mounts from what everybody may read, and not from what they may not', async () => {
    const mount = async (digest: string, from = ''): Promise<number> =>
      (await fixture.send('POST', `/v2/mine/blobs/uploads/?mount=${digest}${from}`, { as: as('ann') }))
        .status;
    expect(await mount(closed)).toBe(202);
    expect(await mount(closed, '&from=private/a')).toBe(202);
    expect((await fixture.send('HEAD', `/v2/mine/blobs/${closed}`, { as: as('ann') })).status).toBe(404);
    expect(await mount(open)).toBe(201);
    expect(await mount(open, '&from=public/a')).toBe(201);
  });

  it('a digest that may not be read and one that is not there get the same answer', async () => {
    const absent = digestOf(Buffer.from('absent'));
    for (const path of [`/v2/mine/blobs/`, `/v2/mine/referrers/`, `/v2/private/a/blobs/`]) {
      const [one, two] = await Promise.all(
        [closed, absent].map((digest) => fixture.send('GET', `${path}${digest}`, { as: as('ann') })),
      );
      const plain = (answer: Answer | undefined, digest: string): unknown[] => [
        answer?.status,
        Object.keys(answer?.headers ?? {}),
        String(answer?.body).replaceAll(digest, ''),
      ];
      expect(plain(one, closed)).toEqual(plain(two, absent));
    }
  });
});

describe('policies', () => {
  it.each([
    [{ repositories: 'a/***', actions: ['read'] }, 'three asterisks'],
    [{ repositories: 'Team/app', actions: ['read'] }, 'a character'],
    [{ repositories: '', actions: ['read'] }, '1 to 255'],
    [{ repositories: 'a', actions: ['pull'] }, '"pull" is not an action; the actions are read, create'],
  ])('%j is refused', async (policy, why) => {
    const users = [{ name: 'a', password: 'a', policies: [policy as RegistryPolicy] }];
    await expect(RegistryFixture.start({ users })).rejects.toMatchObject({
      code: 'PolicyInvalid',
      message: expect.stringContaining(why) as string,
    });
  });

  it('add up, and say what is allowed somewhere', () => {
    const permissions = compilePolicies([
      { repositories: 'a', actions: ['read'] },
      { repositories: '*', actions: ['create'] },
    ]);
    expect(permissions.allows('read', 'a')).toBe(true);
    expect(permissions.allows('read', 'b')).toBe(false);
    expect(permissions.allows('create', 'a')).toBe(true);
    expect(permissions.allowsSomewhere('create')).toBe(true);
    expect(permissions.allowsSomewhere('delete')).toBe(false);
  });
});
