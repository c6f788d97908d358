import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '@mural/core/testing';
import { configMap, TestServer, widget, widgetCrd } from './testing/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const WIDGETS = '/apis/example.com/v1/namespaces/default/widgets';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
  await server.post('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', widgetCrd());
});
afterAll(() => server.close());

describe('writes', () => {
  it('creates, reads, replaces and deletes an object', async () => {
    const created = await server.post(MAPS, configMap('one', { a: '1' }));
    expect(created.status).toBe(201);
    expect(created.body.metadata).toMatchObject({ name: 'one', namespace: 'default' });
    expect(created.body.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);

    const replaced = await server.put(`${MAPS}/one`, { ...created.body, data: { a: '2' } });
    expect(replaced.status).toBe(200);
    expect(Number(replaced.body.metadata.resourceVersion)).toBeGreaterThan(
      Number(created.body.metadata.resourceVersion),
    );
    expect((await server.get(`${MAPS}/one`)).body.data).toEqual({ a: '2' });

    const deleted = await server.delete(`${MAPS}/one`);
    expect(deleted.body).toMatchObject({ kind: 'Status', status: 'Success', details: { name: 'one' } });
    expect((await server.get(`${MAPS}/one`)).body).toMatchObject({
      reason: 'NotFound',
      message: 'configmaps "one" not found',
      code: 404,
    });
  });

  it('refuses an update of a version that is not the current one', async () => {
    const { body } = await server.post(MAPS, configMap('locked'));
    await server.patch(`${MAPS}/locked`, { data: { a: '1' } });
    const late = await server.put(`${MAPS}/locked`, { ...body, data: { a: '2' } });
    expect(late.status).toBe(409);
    expect(late.body.message).toBe(
      'Operation cannot be fulfilled on configmaps "locked": the object has been modified; please apply your changes to the latest version and try again',
    );
  });

  it('lets one of many concurrent updates of the same version win', async () => {
    const { body } = await server.post(MAPS, configMap('raced'));
    const tries = Array.from({ length: 20 }, (_, index) =>
      server.put(`${MAPS}/raced`, { ...body, data: { n: String(index) } }),
    );
    const statuses = (await Promise.all(tries)).map((reply) => reply.status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(19);
  });

  it('keeps the resourceVersion when a write changes nothing', async () => {
    const { body } = await server.post(MAPS, configMap('still', { a: '1' }));
    const version = body.metadata.resourceVersion;
    expect((await server.put(`${MAPS}/still`, body)).body.metadata.resourceVersion).toBe(version);
    const patched = await server.patch(`${MAPS}/still`, { data: { a: '1' } });
    expect(patched.body.metadata.resourceVersion).toBe(version);
    const path = `${MAPS}/applied?fieldManager=me`;
    const first = await server.patch(path, configMap('applied', { a: '1' }), 'apply-patch+yaml');
    const again = await server.patch(path, configMap('applied', { a: '1' }), 'apply-patch+yaml');
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
  });

  it('counts generations of the spec, and leaves the status to its subresource', async () => {
    const created = await server.post(WIDGETS, { ...widget('gen'), status: { sent: true } });
    expect(created.body.metadata.generation).toBe(1);
    expect(created.body.status).toBeUndefined();
    expect(created.body.spec).toEqual({ size: 1, replicas: 1 });
    const labelled = await server.patch(`${WIDGETS}/gen`, { metadata: { labels: { a: 'b' } } });
    expect(labelled.body.metadata.generation).toBe(1);
    const grown = await server.patch(`${WIDGETS}/gen`, { spec: { size: 2 }, status: { sent: true } });
    expect(grown.body.metadata.generation).toBe(2);
    expect(grown.body.status).toBeUndefined();
    const status = await server.patch(`${WIDGETS}/gen/status`, {
      spec: { size: 9 },
      status: { ready: true },
    });
    expect(status.body).toMatchObject({
      spec: { size: 2 },
      status: { ready: true },
      metadata: { generation: 2 },
    });
    const scaled = await server.patch(`${WIDGETS}/gen/scale`, { spec: { replicas: 5 } });
    expect(scaled.body).toMatchObject({ kind: 'Scale', spec: { replicas: 5 } });
    expect((await server.get(`${WIDGETS}/gen`)).body.spec.replicas).toBe(5);
  });

  it('names objects by generateName', async () => {
    const body = { ...configMap(''), metadata: { generateName: 'gen-' } };
    const names = await Promise.all(Array.from({ length: 5 }, () => server.post(MAPS, body)));
    const found = names.map((reply) => reply.body.metadata.name as string);
    expect(new Set(found).size).toBe(5);
    for (const name of found) expect(name).toMatch(/^gen-[b-z2-9]{5}$/);
  });

  it('changes nothing in a dry run', async () => {
    const created = await server.post(`${MAPS}?dryRun=All`, configMap('dry'));
    expect(created.status).toBe(201);
    expect((await server.get(`${MAPS}/dry`)).status).toBe(404);
    await server.post(MAPS, configMap('wet'));
    await server.delete(`${MAPS}/wet`, { dryRun: ['All'] });
    expect((await server.get(`${MAPS}/wet`)).status).toBe(200);
  });
});

describe('what is refused', () => {
  it.each([
    ['a bad name', configMap('Bad_Name'), 422, 'Invalid'],
    ['no name', { apiVersion: 'v1', kind: 'ConfigMap' }, 422, 'Invalid'],
    ['another kind', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' } }, 400, 'BadRequest'],
    ['another namespace', configMap('x', {}, { namespace: 'other' }), 400, 'BadRequest'],
    ['a resourceVersion', configMap('x', {}, { resourceVersion: '1' }), 400, 'BadRequest'],
    ['a bad label', configMap('x', {}, { labels: { a: 'not valid!' } }), 422, 'Invalid'],
    ['huge annotations', configMap('x', {}, { annotations: { a: 'x'.repeat(262_145) } }), 422, 'Invalid'],
    ['huge data', configMap('x', { a: 'x'.repeat(1_048_577) }), 422, 'Invalid'],
    ['what is not JSON', '{"a":', 400, 'BadRequest'],
    ['deep nesting', `${'['.repeat(5000)}${']'.repeat(5000)}`, 400, 'BadRequest'],
    ['a huge body', configMap('x', { a: 'x'.repeat(3_145_728) }), 413, 'RequestEntityTooLarge'],
  ])('%s', async (_what, body, status, reason) => {
    const reply = await server.post(MAPS, body);
    expect([reply.status, reply.body.reason]).toEqual([status, reason]);
    expect(reply.body).toMatchObject({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status });
  });

  it('says so when the namespace is not there', async () => {
    const reply = await server.post('/api/v1/namespaces/nowhere/configmaps', configMap('x'));
    expect([reply.status, reply.body.message]).toEqual([404, 'namespaces "nowhere" not found']);
  });

  it('says so when the name is taken', async () => {
    await server.post(MAPS, configMap('taken'));
    const reply = await server.post(MAPS, configMap('taken'));
    expect([reply.status, reply.body.reason]).toEqual([409, 'AlreadyExists']);
    expect(reply.body.message).toBe('configmaps "taken" already exists');
  });

  it('warns of unknown fields, or refuses them, as it is told', async () => {
    const body = widget('unknown', { size: 1, colour: 'red' });
    const strict = await server.post(`${WIDGETS}?fieldValidation=Strict`, body);
    expect(strict.body.message).toContain('strict decoding error: unknown field "spec.colour"');
    const warned = await server.post(WIDGETS, body);
    expect(warned.headers['warning']).toBe('299 - "unknown field \\"spec.colour\\""');
    expect(warned.body.spec).toEqual({ size: 1, replicas: 1 });
  });

  it('answers 404 for what is not served', async () => {
    for (const path of [
      '/apis/nope.example/v1/things',
      '/api/v1/nope',
      '/nope',
      '/api/v1/namespaces/a/b/c/d/e',
    ]) {
      const reply = await server.get(path);
      expect([reply.status, reply.body.kind]).toEqual([404, 'Status']);
    }
  });
});

describe('events', () => {
  it('are one storage under two names', async () => {
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e1', namespace: 'default' },
      involvedObject: { kind: 'Widget', name: 'w', namespace: 'default' },
      reason: 'Grown',
      message: 'it grew',
      type: 'Normal',
    };
    expect((await server.post('/api/v1/namespaces/default/events', event)).status).toBe(201);
    const other = await server.get('/apis/events.k8s.io/v1/namespaces/default/events/e1');
    expect(other.body).toMatchObject({
      apiVersion: 'events.k8s.io/v1',
      note: 'it grew',
      regarding: { name: 'w' },
    });
    const selected = await server.get('/api/v1/events?fieldSelector=involvedObject.name%3Dw');
    expect(selected.body.items).toHaveLength(1);
  });
});

describe('autoscalers', () => {
  it('are one storage in two versions', async () => {
    const path = (version: string): string =>
      `/apis/autoscaling/${version}/namespaces/default/horizontalpodautoscalers`;
    const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' };
    const created = await server.post(path('v1'), {
      apiVersion: 'autoscaling/v1',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'web' },
      spec: { maxReplicas: 3, targetCPUUtilizationPercentage: 70, scaleTargetRef },
    });
    expect(created.body.spec).toMatchObject({ maxReplicas: 3, targetCPUUtilizationPercentage: 70 });
    expect((await server.get(`${path('v2')}/web`)).body.spec.metrics).toMatchObject([
      { type: 'Resource', resource: { name: 'cpu', target: { averageUtilization: 70 } } },
    ]);
    const changed = await server.patch(`${path('v1')}/web`, { spec: { targetCPUUtilizationPercentage: 50 } });
    expect(changed.body.spec.targetCPUUtilizationPercentage).toBe(50);
  });
});

describe('pods', () => {
  const PODS = '/api/v1/namespaces/default/pods';
  const pod = (name: string, spec: object = {}): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  });

  it('can be evicted', async () => {
    await server.post(PODS, pod('evicted'));
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'evicted' } };
    expect((await server.post(`${PODS}/evicted/eviction`, eviction)).status).toBe(201);
    expect((await server.get(`${PODS}/evicted`)).status).toBe(404);
  });

  it('need the account and the priority that they name', async () => {
    const account = await server.post(PODS, pod('p', { serviceAccountName: 'nobody' }));
    expect(account.body.message).toContain('serviceaccount "nobody" not found');
    const priority = await server.post(PODS, pod('p', { priorityClassName: 'urgent' }));
    expect(priority.body.message).toContain('no PriorityClass with name urgent was found');
  });

  it('have logs where a source of logs knows them', async () => {
    const own = await TestServer.start({
      readLog: (target, options) =>
        target.name === 'known'
          ? (async function* () {
              yield Buffer.from(
                `${target.container ?? ''} ${options.tailLines ?? 'all'} ${options.follow}\n`,
              );
            })()
          : undefined,
    });
    try {
      await own.post(PODS, pod('known'));
      await own.post(PODS, pod('unknown'));
      expect((await own.get(`${PODS}/known/log?tailLines=5&follow=true`)).body).toBe('c 5 true\n');
      expect((await own.get(`${PODS}/known/log?container=x`)).status).toBe(400);
      expect((await own.get(`${PODS}/known/log?tailLines=-1`)).status).toBe(400);
      expect((await own.get(`${PODS}/unknown/log`)).body.reason).toBe('BadRequest');
      expect((await own.get(`${PODS}/none/log`)).status).toBe(404);
    } finally {
      await own.close();
    }
  });
});

describe('services', () => {
  it('get an address that stays, and node ports where the type asks for them', async () => {
    const path = '/api/v1/namespaces/default/services';
    const service = (name: string, type: string): object => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { type, ports: [{ port: 80 }] },
    });
    const plain = await server.post(path, service('plain', 'ClusterIP'));
    expect(plain.body.spec.clusterIP).toMatch(/^10\.96\./);
    const again = await server.put(`${path}/plain`, service('plain', 'ClusterIP'));
    expect(again.body.spec.clusterIP).toBe(plain.body.spec.clusterIP);
    expect(again.body.metadata.resourceVersion).toBe(plain.body.metadata.resourceVersion);
    const node = await server.post(path, service('node', 'NodePort'));
    expect(node.body.spec.ports[0].nodePort).toBeGreaterThanOrEqual(30_000);
  });
});

describe('custom resource definitions', () => {
  it('never touch built-in resources, whatever they are called', async () => {
    const crd = JSON.parse(
      JSON.stringify(widgetCrd()).replaceAll('example.com', 'events.k8s.io').replaceAll('widgets', 'events'),
    );
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    crd.metadata.annotations = { 'api-approved.kubernetes.io': 'unapproved, testing' };
    crd.spec.names = { plural: 'events', kind: 'Event' };
    const created = await server.post(path, crd);
    if (created.status === 201) {
      expect(created.body.status.conditions[0]).toMatchObject({ type: 'NamesAccepted', status: 'False' });
      await server.delete(`${path}/events.events.k8s.io`);
      await eventually(async () => (await server.get(`${path}/events.events.k8s.io`)).status === 404);
    }
    expect((await server.get('/apis/events.k8s.io/v1/namespaces/default/events/e1')).status).toBe(200);
  });

  it('serve until they are deleted, with their objects', async () => {
    const crd = JSON.parse(JSON.stringify(widgetCrd()).replaceAll('idget', 'adget'));
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    crd.spec.names.shortNames = [];
    const created = await server.post(path, crd);
    expect(created.body.status.conditions).toMatchObject([
      { type: 'NamesAccepted', status: 'True' },
      { type: 'Established', status: 'True' },
    ]);
    const gadgets = '/apis/example.com/v1/namespaces/default/wadgets';
    const body = { apiVersion: 'example.com/v1', kind: 'Wadget', metadata: { name: 'w' }, spec: { size: 1 } };
    expect((await server.post(gadgets, body)).status).toBe(201);
    await server.delete(`${path}/wadgets.example.com`);
    await eventually(async () => (await server.get(`${path}/wadgets.example.com`)).status === 404);
    expect((await server.get(gadgets)).status).toBe(404);
    // A definition that comes back starts without objects.
    await server.post(path, crd);
    expect((await server.get(gadgets)).body.items).toEqual([]);
  });
});
