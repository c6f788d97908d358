import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KubeClient } from '../client.ts';
import type { UnstructuredObject } from '../objects.ts';
import { CLUSTER_ROLES, CONFIG_MAPS, DEPLOYMENTS } from '../resources.ts';
import { answer, answerStatus, type HttpStub, startHttpStub } from '../testing/http-stub.ts';
import { createKubeClient, type KubeClientOptions } from './client.ts';
import type { KubeConnection } from './transport.ts';

const ref = { name: 'a', namespace: 'ns' };
const object: UnstructuredObject = { apiVersion: 'v1', kind: 'ConfigMap', metadata: ref };

let stub: HttpStub;
let open: KubeClient[] = [];

function client(connection: Partial<KubeConnection> = {}, options: KubeClientOptions = {}): KubeClient {
  const made = createKubeClient({ server: stub.url, ...connection }, { random: () => 0, ...options });
  open.push(made);
  return made;
}

beforeEach(async () => {
  stub = await startHttpStub((_request, response) => answerStatus(response, 404, 'NotFound'));
});
afterEach(async () => {
  await Promise.all(open.map(async (made) => made.close()));
  open = [];
  await stub.close();
});

describe('calls', () => {
  it('name the object in the path, below that of the server, and bear the token', async () => {
    stub.handler = (_request, response) => answer(response, 200, object);
    const api = client({ server: `${stub.url}/k8s/c1/`, token: async () => 'secret' });
    await api.get(CONFIG_MAPS, ref);
    await api.get(CLUSTER_ROLES, { name: 'mural:spoke:x' });
    await api.get(DEPLOYMENTS, ref);
    expect(stub.requests.map(({ path }) => path)).toEqual([
      '/k8s/c1/api/v1/namespaces/ns/configmaps/a',
      '/k8s/c1/apis/rbac.authorization.k8s.io/v1/clusterroles/mural%3Aspoke%3Ax',
      '/k8s/c1/apis/apps/v1/namespaces/ns/deployments/a',
    ]);
    expect(stub.requests[0]?.headers.authorization).toBe('Bearer secret');
  });

  it.each(['..', 'a/b', '', 'a%2fb'])('refuse the name %j without sending it', async (name) => {
    await expect(client().get(CONFIG_MAPS, { name, namespace: 'ns' })).rejects.toMatchObject({
      code: 'BadRequest',
    });
    expect(stub.requests).toEqual([]);
  });

  it('apply as JSON with the media type of server-side apply', async () => {
    stub.handler = (_request, response) => answer(response, 200, object);
    await client().apply(CONFIG_MAPS, object, { fieldManager: 'm', force: true, dryRun: true });
    const [request] = stub.requests;
    expect(request?.method).toBe('PATCH');
    expect(request?.headers['content-type']).toBe('application/apply-patch+yaml');
    expect(Object.fromEntries(request?.query ?? [])).toEqual({
      fieldManager: 'm',
      force: 'true',
      dryRun: 'All',
    });
    expect(JSON.parse(request?.body ?? '')).toEqual(object);
  });

  it('write status by its subresource and delete with preconditions', async () => {
    stub.handler = (_request, response) => answer(response, 200, object);
    await client().replace(CONFIG_MAPS, object, { subresource: 'status' });
    await client().delete(CONFIG_MAPS, ref, { preconditions: { uid: 'u' }, propagationPolicy: 'Background' });
    expect(stub.requests[0]?.path).toBe('/api/v1/namespaces/ns/configmaps/a/status');
    expect(JSON.parse(stub.requests[1]?.body ?? '')).toMatchObject({
      propagationPolicy: 'Background',
      preconditions: { uid: 'u' },
    });
  });

  it('fail with the reason of the Status, and never show the token', async () => {
    stub.handler = (_request, response) => {
      response.writeHead(403).end('no entry for top-secret');
    };
    const failure = client({ token: 'top-secret' }).get(CONFIG_MAPS, ref);
    await expect(failure).rejects.toMatchObject({
      code: 'Forbidden',
      httpStatus: 403,
      message: 'the API answered 403: no entry for ***',
    });
    stub.handler = (_request, response) => answerStatus(response, 409, 'AlreadyExists');
    await expect(client().create(CONFIG_MAPS, object)).rejects.toMatchObject({
      code: 'AlreadyExists',
      message: 'AlreadyExists said the API',
    });
  });

  it('find nothing where get fails', async () => {
    expect(await client().find(CONFIG_MAPS, ref)).toBeUndefined();
    await expect(client().get(CONFIG_MAPS, ref)).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('refuse an answer that is not JSON', async () => {
    stub.handler = (_request, response) => {
      response.writeHead(200).end('<html>');
    };
    await expect(client().get(CONFIG_MAPS, ref)).rejects.toMatchObject({ code: 'InvalidResponse' });
  });
});

describe('repetition', () => {
  it('waits as long as the API asks, for what may be repeated', async () => {
    const clock = new FakeClock();
    stub.handler = (_request, response) => {
      if (stub.requests.length === 1) answerStatus(response, 429, 'TooManyRequests', { 'retry-after': '3' });
      else answer(response, 200, object);
    };
    const got = client({}, { clock }).get(CONFIG_MAPS, ref);
    await eventually(() => stub.requests.length === 1 && clock.sleeping === 2);
    await clock.advance(2999);
    expect(stub.requests).toHaveLength(1);
    await clock.advance(1);
    expect(await got).toEqual(object);
  });

  it('never happens for a create that reached the API, nor without Retry-After', async () => {
    stub.handler = (_request, response) =>
      answerStatus(response, 503, 'ServiceUnavailable', { 'retry-after': '0' });
    await expect(client().create(CONFIG_MAPS, object)).rejects.toMatchObject({ code: 'ServiceUnavailable' });
    stub.handler = (_request, response) => answerStatus(response, 500, 'InternalError');
    await expect(client().get(CONFIG_MAPS, ref)).rejects.toMatchObject({ code: 'InternalError' });
    expect(stub.requests).toHaveLength(2);
  });

  it('happens after a broken connection, for what may be repeated', async () => {
    stub.handler = (_request, response) => {
      if (stub.requests.length === 1) response.destroy();
      else answer(response, 200, object);
    };
    expect(await client().get(CONFIG_MAPS, ref)).toEqual(object);
    stub.requests.length = 0;
    await expect(client().create(CONFIG_MAPS, object)).rejects.toMatchObject({ code: 'Unreachable' });
    expect(stub.requests).toHaveLength(1);
  });

  it('ends with the deadline, also when the API accepts and then stalls', async () => {
    stub.handler = () => undefined;
    const clock = new FakeClock();
    const got = expect(client({ timeoutMs: 5000 }, { clock }).get(CONFIG_MAPS, ref)).rejects.toMatchObject({
      code: 'Timeout',
    });
    await eventually(() => stub.requests.length === 1);
    await clock.advance(5000);
    await got;
  });

  it('tells a server that is not there as Unreachable', async () => {
    const gone = await startHttpStub(() => undefined);
    await gone.close();
    const api = client({ server: gone.url, timeoutMs: 20_000 }, { clock: instant() });
    await expect(api.create(CONFIG_MAPS, object)).rejects.toMatchObject({
      code: 'Unreachable',
      retryable: true,
    });
  });
});

/** A clock on which short waits take no time and deadlines never come. */
function instant(): FakeClock {
  const clock = new FakeClock();
  const sleep = clock.sleep.bind(clock);
  clock.sleep = async (ms, signal) => (ms < 10_000 ? undefined : await sleep(ms, signal));
  return clock;
}

function page(names: readonly string[], token?: string): object {
  return {
    kind: 'ConfigMapList',
    apiVersion: 'v1',
    metadata: { resourceVersion: '7', ...(token === undefined ? {} : { continue: token }) },
    items: names.map((name) => ({ metadata: { name, namespace: 'ns' } })),
  };
}

describe('lists', () => {
  it('read all pages and give every item its kind', async () => {
    stub.handler = ({ query }, response) =>
      answer(response, 200, query.has('continue') ? page(['c']) : page(['a', 'b'], 'next'));
    const list = await client().list(CONFIG_MAPS, { labelSelector: 'a=b', pageSize: 2 });
    expect(list.items.map(({ kind, metadata }) => `${kind} ${metadata.name ?? ''}`)).toEqual([
      'ConfigMap a',
      'ConfigMap b',
      'ConfigMap c',
    ]);
    expect(list.metadata).toEqual({ resourceVersion: '7' });
    expect(stub.requests[1]?.query.get('limit')).toBe('2');
    expect(stub.requests[1]?.query.get('labelSelector')).toBe('a=b');
  });

  it('begin again, once, when the continue token has expired', async () => {
    stub.handler = ({ query }, response) => {
      if (query.has('continue')) answerStatus(response, 410, 'Expired');
      else answer(response, 200, stub.requests.length === 1 ? page(['a'], 'old') : page(['a', 'b']));
    };
    expect((await client().list(CONFIG_MAPS)).items).toHaveLength(2);
    stub.handler = ({ query }, response) => {
      if (query.has('continue')) answerStatus(response, 410, 'Expired');
      else answer(response, 200, page(['a'], 'old'));
    };
    await expect(client().list(CONFIG_MAPS)).rejects.toMatchObject({ code: 'Expired' });
  });
});

describe('watches', () => {
  it('give events until the server ends them', async () => {
    stub.handler = (_request, response) => {
      response.writeHead(200);
      for (const type of ['ADDED', 'BOOKMARK']) response.write(`${JSON.stringify({ type, object })}\n`);
      response.end();
    };
    const seen: string[] = [];
    for await (const { type } of client().watch(CONFIG_MAPS, { resourceVersion: '5' })) seen.push(type);
    expect(seen).toEqual(['ADDED', 'BOOKMARK']);
    expect(Object.fromEntries(stub.requests[0]?.query ?? [])).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: '5',
      timeoutSeconds: '300',
    });
  });

  it('tell an expired version, as an event or as an answer', async () => {
    const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Gone', code: 410 };
    stub.handler = (_request, response) => {
      response.writeHead(200).end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    };
    await expect(first(client())).rejects.toMatchObject({ code: 'Expired' });
    stub.handler = (_request, response) => answerStatus(response, 410, 'Expired');
    await expect(first(client())).rejects.toMatchObject({ code: 'Expired' });
  });

  it('end when the signal aborts, and when the server forgets to', async () => {
    stub.handler = (_request, response) => response.writeHead(200).flushHeaders();
    const stop = new AbortController();
    const ended = expect(first(client(), stop.signal)).rejects.toThrow('enough');
    await eventually(() => stub.requests.length === 1);
    stop.abort(new Error('enough'));
    await ended;
    const clock = new FakeClock();
    const late = expect(first(client({}, { clock }))).rejects.toMatchObject({ code: 'Timeout' });
    // One sleeper: the opening is over, the end of the watch is awaited.
    await eventually(() => stub.requests.length === 2 && clock.sleeping === 1);
    await clock.advance(330_000);
    await late;
  });

  it('leave the connections of calls alone', async () => {
    stub.handler = ({ query }, response) => {
      if (query.has('watch')) response.writeHead(200).flushHeaders();
      else answer(response, 200, object);
    };
    const api = client();
    const stop = new AbortController();
    const watches = Array.from({ length: 60 }, async () => first(api, stop.signal).catch(() => undefined));
    await eventually(() => stub.requests.length === 60);
    expect(await api.get(CONFIG_MAPS, ref)).toEqual(object);
    stop.abort(new Error('enough'));
    await Promise.all(watches);
  });
});

async function first(api: KubeClient, signal?: AbortSignal): Promise<unknown> {
  for await (const event of api.watch(CONFIG_MAPS, { resourceVersion: '1', signal })) return event;
  return undefined;
}

describe('discovery', () => {
  const aggregated = {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    items: [
      {
        metadata: { name: 'apps' },
        versions: [
          {
            version: 'v1',
            resources: [
              { resource: 'deployments', responseKind: { kind: 'Deployment' }, scope: 'Namespaced' },
            ],
          },
        ],
      },
    ],
  };

  it('reads all at once where it can, and asks again for what is unknown, but not often', async () => {
    const clock = new FakeClock();
    let spokes: object[] = [];
    stub.handler = ({ path }, response) => {
      if (path === '/apis') answer(response, 200, aggregated);
      else if (path === '/api') answer(response, 200, { ...aggregated, items: [] });
      else answer(response, 200, { kind: 'APIResourceList', resources: spokes });
    };
    const api = client({}, { clock });
    expect(await api.resourceFor('apps/v1', 'Deployment')).toEqual(DEPLOYMENTS);
    expect(stub.requests).toHaveLength(2);
    expect(await api.resourceFor('mural.dev/v1alpha1', 'Spoke')).toBeUndefined();
    spokes = [
      { name: 'spokes/status', kind: 'Spoke', namespaced: false },
      { name: 'spokes', kind: 'Spoke', namespaced: false },
    ];
    expect(await api.resourceFor('mural.dev/v1alpha1', 'Spoke')).toBeUndefined();
    expect(stub.requests).toHaveLength(3);
    await clock.advance(5000);
    expect(await api.resourceFor('mural.dev/v1alpha1', 'Spoke')).toMatchObject({ plural: 'spokes' });
  });

  it('does with an API that knows only the old form', async () => {
    stub.handler = ({ path }, response) => {
      if (path === '/apis/apps/v1') {
        const resources = [{ name: 'deployments', kind: 'Deployment', namespaced: true }];
        answer(response, 200, { kind: 'APIResourceList', resources });
      } else if (path === '/api' || path === '/apis')
        answer(response, 200, { kind: 'APIGroupList', groups: [] });
      else answerStatus(response, 404, 'NotFound');
    };
    const api = client();
    expect(await api.resourceFor('apps/v1', 'Deployment')).toEqual(DEPLOYMENTS);
    expect(await api.resourceFor('nope/v1', 'Deployment')).toBeUndefined();
  });
});
