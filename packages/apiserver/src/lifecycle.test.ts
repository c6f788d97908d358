import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, FakeClock } from '@mural/core/testing';
import { configMap, TestServer } from './testing/server.ts';
import type { Answered } from './testing/server.ts';

const NAMESPACES = '/api/v1/namespaces';
const MAPS = '/api/v1/namespaces/default/configmaps';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.close());

async function createNamespace(name: string): Promise<void> {
  await server.post(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
}

async function gone(path: string): Promise<void> {
  await eventually(async () => (await server.get(path)).status === 404);
}

describe('finalizers', () => {
  it('keep an object until the last is taken off', async () => {
    await server.post(MAPS, configMap('held', {}, { finalizers: ['example.com/a', 'example.com/b'] }));
    const deleted = await server.delete(`${MAPS}/held`);
    expect(deleted.body.metadata.deletionTimestamp).toBeDefined();
    const again = await server.post(MAPS, configMap('held'));
    expect(again.body.message).toBe('object is being deleted: configmaps "held" already exists');
    const more = await server.patch(`${MAPS}/held`, {
      metadata: { finalizers: ['example.com/a', 'example.com/c'] },
    });
    expect(more.status).toBe(422);
    expect(more.body.message).toContain('no new finalizers can be added if the object is being deleted');
    await server.patch(`${MAPS}/held`, {
      metadata: { finalizers: ['example.com/b'] },
      data: { still: 'works' },
    });
    expect((await server.get(`${MAPS}/held`)).body.data).toEqual({ still: 'works' });
    await server.patch(`${MAPS}/held`, { metadata: { finalizers: null } });
    expect((await server.get(`${MAPS}/held`)).status).toBe(404);
  });

  it('respect preconditions', async () => {
    const { body } = await server.post(MAPS, configMap('once'));
    const other = await server.delete(`${MAPS}/once`, { preconditions: { uid: 'another' } });
    expect([other.status, other.body.reason]).toEqual([409, 'Conflict']);
    const same = await server.delete(`${MAPS}/once`, { preconditions: { uid: body.metadata.uid } });
    expect(same.status).toBe(200);
  });
});

describe('namespaces', () => {
  it('take everything in them along', async () => {
    await createNamespace('full');
    await server.post(`${NAMESPACES}/full/configmaps`, configMap('a'));
    await server.post(`${NAMESPACES}/full/configmaps`, configMap('b', {}, { finalizers: ['example.com/x'] }));
    await server.delete(`${NAMESPACES}/full`);
    const waiting = await eventually(async () => {
      const { body } = await server.get(`${NAMESPACES}/full`);
      return (body.status.conditions?.length ?? 0) > 0 && body;
    });
    expect(waiting.status.phase).toBe('Terminating');
    expect(waiting.status.conditions.map((one: Answered) => one.type)).toEqual([
      'NamespaceDeletionDiscoveryFailure',
      'NamespaceDeletionGroupVersionParsingFailure',
      'NamespaceDeletionContentFailure',
      'NamespaceContentRemaining',
      'NamespaceFinalizersRemaining',
    ]);
    expect(waiting.status.conditions[3].message).toBe(
      'Some resources are remaining: configmaps. has 1 resource instances',
    );
    const late = await server.post(`${NAMESPACES}/full/configmaps`, configMap('late'));
    expect(late.body.message).toBe(
      'configmaps "late" is forbidden: unable to create new content in namespace full because it is being terminated',
    );
    await server.patch(`${NAMESPACES}/full/configmaps/b`, { metadata: { finalizers: [] } });
    await gone(`${NAMESPACES}/full`);
    await createNamespace('full');
    expect((await server.get(`${NAMESPACES}/full/configmaps/a`)).status).toBe(404);
  });

  it('keep the label with their name, and protect those of the system', async () => {
    await createNamespace('labelled');
    const label = { 'kubernetes.io/metadata.name': null };
    const patched = await server.patch(`${NAMESPACES}/labelled`, { metadata: { labels: label } });
    expect(patched.body.metadata.labels).toEqual({ 'kubernetes.io/metadata.name': 'labelled' });
    const reply = await server.delete(`${NAMESPACES}/kube-system?dryRun=All`);
    expect(reply.body.message).toBe(
      'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    );
  });
});

describe('owners', () => {
  async function family(name: string, fields: object = {}): Promise<void> {
    const owner = await server.post(MAPS, configMap(name));
    const reference = { apiVersion: 'v1', kind: 'ConfigMap', name, uid: owner.body.metadata.uid, ...fields };
    await server.post(MAPS, configMap(`${name}-child`, {}, { ownerReferences: [reference] }));
  }

  it('take their dependents along in the background', async () => {
    await family('background');
    await server.delete(`${MAPS}/background`);
    await gone(`${MAPS}/background-child`);
  });

  it('wait for their dependents in the foreground', async () => {
    await family('foreground', { blockOwnerDeletion: true });
    await server.patch(`${MAPS}/foreground-child`, { metadata: { finalizers: ['example.com/x'] } });
    await server.delete(`${MAPS}/foreground`, { propagationPolicy: 'Foreground' });
    await eventually(
      async () =>
        (await server.get(`${MAPS}/foreground-child`)).body.metadata.deletionTimestamp !== undefined,
    );
    expect((await server.get(`${MAPS}/foreground`)).body.metadata.finalizers).toEqual(['foregroundDeletion']);
    await server.patch(`${MAPS}/foreground-child`, { metadata: { finalizers: null } });
    await gone(`${MAPS}/foreground`);
    await gone(`${MAPS}/foreground-child`);
  });

  it('leave their dependents when told to', async () => {
    await family('orphaned');
    await server.delete(`${MAPS}/orphaned`, { propagationPolicy: 'Orphan' });
    await gone(`${MAPS}/orphaned`);
    const child = await server.get(`${MAPS}/orphaned-child`);
    expect(child.status).toBe(200);
    expect(child.body.metadata.ownerReferences).toBeUndefined();
  });

  it('that never were do not keep an object', async () => {
    const reference = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name: 'ghost',
      uid: '00000000-0000-0000-0000-000000000000',
    };
    await server.post(MAPS, configMap('haunted', {}, { ownerReferences: [reference] }));
    await gone(`${MAPS}/haunted`);
  });

  it('are still known after a restart', async () => {
    await family('restarted');
    await server.restart();
    await server.delete(`${MAPS}/restarted`);
    await gone(`${MAPS}/restarted-child`);
  });
});

describe('events', () => {
  it('go an hour after they were last seen', async () => {
    const clock = new FakeClock();
    const own = await TestServer.start({ clock });
    const event = (name: string): object => ({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: 'default' },
      involvedObject: { kind: 'Pod', namespace: 'default' },
    });
    await own.post('/api/v1/namespaces/default/events', event('old'));
    await clock.advance(3_500_000);
    await own.post('/api/v1/namespaces/default/events', event('new'));
    await clock.advance(600_000);
    await eventually(async () => {
      const { items } = (await own.get('/api/v1/events')).body;
      return items.length === 1 && items[0].metadata.name === 'new';
    });
    await own.close();
  });
});

describe('a collection', () => {
  it('is deleted by selector', async () => {
    await server.post(MAPS, configMap('red-1', {}, { labels: { colour: 'red' } }));
    await server.post(MAPS, configMap('red-2', {}, { labels: { colour: 'red' } }));
    await server.post(MAPS, configMap('blue', {}, { labels: { colour: 'blue' } }));
    const reply = await server.delete(`${MAPS}?labelSelector=colour%3Dred`);
    expect(reply.body.items.map((item: Answered) => item.metadata.name)).toEqual(['red-1', 'red-2']);
    expect((await server.get(`${MAPS}?labelSelector=colour`)).body.items).toHaveLength(1);
  });
});
