import { describe, expect, it } from 'vitest';
import { OCI_REPOSITORIES } from '../flux.ts';
import { SPOKES, type Spoke } from '../mural.ts';
import type { UnstructuredObject } from '../objects.ts';
import { CONFIG_MAPS, SECRETS } from '../resources.ts';
import { createFakeKubeApi } from './fake-api.ts';

const ref = { name: 'a', namespace: 'ns' };

function configMap(data: Record<string, string>, more: object = {}): UnstructuredObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...ref, ...more }, data };
}

function spoke(more: object = {}): Spoke {
  return { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 's' }, ...more };
}

describe('createFakeKubeApi', () => {
  it('refuses to create twice and to replace what has changed', async () => {
    const api = createFakeKubeApi();
    const created = await api.create(CONFIG_MAPS, configMap({ a: '1' }));
    await expect(api.create(CONFIG_MAPS, configMap({}))).rejects.toMatchObject({ code: 'AlreadyExists' });
    await api.patch(CONFIG_MAPS, ref, 'merge', { data: { b: '2' } });
    await expect(api.replace(CONFIG_MAPS, created)).rejects.toMatchObject({ code: 'Conflict' });
    await expect(api.get(CONFIG_MAPS, { name: 'x', namespace: 'ns' })).rejects.toMatchObject({
      code: 'NotFound',
      message: 'configmaps "x" not found',
    });
  });

  it('keeps status and spec apart, and counts generations of the spec', async () => {
    const api = createFakeKubeApi();
    const created = await api.create(SPOKES, spoke({ spec: {}, status: { agentVersion: 'no' } }));
    expect(created.status).toBeUndefined();
    expect(created.metadata.generation).toBe(1);
    const status = { agentVersion: '1' };
    const reported = await api.patch<Spoke>(
      SPOKES,
      { name: 's' },
      'merge',
      { status },
      { subresource: 'status' },
    );
    expect(reported).toMatchObject({ status, metadata: { generation: 1 } });
    const suspended = await api.patch<Spoke>(SPOKES, { name: 's' }, 'merge', {
      spec: { suspend: true },
      status: { agentVersion: 'no' },
    });
    expect(suspended).toMatchObject({ status, metadata: { generation: 2 } });
  });

  it('keeps the resourceVersion of a write that changes nothing', async () => {
    const api = createFakeKubeApi();
    const created = await api.create(CONFIG_MAPS, configMap({ a: '1' }));
    const same = await api.patch(CONFIG_MAPS, ref, 'merge', { data: { a: '1' } });
    expect(same.metadata.resourceVersion).toBe(created.metadata.resourceVersion);
  });

  it('deletes once the last finalizer is gone', async () => {
    const api = createFakeKubeApi();
    await api.create(CONFIG_MAPS, configMap({}, { finalizers: ['x/y'] }));
    await api.delete(CONFIG_MAPS, ref);
    expect((await api.get(CONFIG_MAPS, ref)).metadata.deletionTimestamp).toBeDefined();
    await api.patch(CONFIG_MAPS, ref, 'merge', { metadata: { finalizers: null } });
    expect(await api.find(CONFIG_MAPS, ref)).toBeUndefined();
  });

  it('deletes what the deleted object owned', async () => {
    const api = createFakeKubeApi();
    const owner = await api.create(SPOKES, spoke());
    const reference = { apiVersion: owner.apiVersion, kind: 'Spoke', name: 's', uid: owner.metadata.uid };
    await api.create(CONFIG_MAPS, configMap({}, { ownerReferences: [reference] }));
    await api.delete(SPOKES, { name: 's' });
    expect(api.stored(CONFIG_MAPS)).toEqual([]);
  });

  it('takes back what a manager applies no longer, and leaves the fields of others', async () => {
    const api = createFakeKubeApi();
    await api.apply(CONFIG_MAPS, configMap({ a: '1', b: '2' }), { fieldManager: 'm' });
    await api.patch(CONFIG_MAPS, ref, 'merge', { data: { mine: 'x' } });
    const applied = await api.apply(CONFIG_MAPS, configMap({ a: '3' }), { fieldManager: 'm' });
    expect(applied['data']).toEqual({ a: '3', mine: 'x' });
  });

  it('changes nothing in a dry run, and keeps stringData as data', async () => {
    const api = createFakeKubeApi();
    const secret: UnstructuredObject = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: ref,
      stringData: { key: 'value' },
    };
    const dry = await api.apply(SECRETS, secret, { fieldManager: 'm', dryRun: true });
    expect(dry['data']).toEqual({ key: 'dmFsdWU=' });
    expect(api.stored(SECRETS)).toEqual([]);
  });

  it('tells watchers of changes, and that an object has left their selector', async () => {
    const api = createFakeKubeApi();
    const { metadata } = await api.list(CONFIG_MAPS);
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      const options = { resourceVersion: metadata.resourceVersion ?? '', labelSelector: 'app=x' };
      for await (const { type } of api.watch(CONFIG_MAPS, { ...options, signal: stop.signal })) {
        seen.push(type);
        if (seen.length === 3) break;
      }
    })();
    await api.create(CONFIG_MAPS, configMap({}, { labels: { app: 'x' } }));
    await api.patch(CONFIG_MAPS, ref, 'merge', { data: { a: '1' } });
    await api.patch(CONFIG_MAPS, ref, 'merge', { metadata: { labels: { app: 'y' } } });
    await watching;
    expect(seen).toEqual(['ADDED', 'MODIFIED', 'DELETED']);
  });

  it('expires watches from before its history', async () => {
    const api = createFakeKubeApi();
    const { metadata } = await api.list(CONFIG_MAPS);
    api.expireHistory();
    const watch = api.watch(CONFIG_MAPS, { resourceVersion: metadata.resourceVersion ?? '' });
    await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'Expired' });
  });

  it('starts the status of Flux objects as their schema does, and seeds objects as given', async () => {
    const api = createFakeKubeApi({ objects: [spoke({ status: { agentVersion: '1' } })] });
    expect(api.stored<Spoke>(SPOKES)[0]?.status).toEqual({ agentVersion: '1' });
    const source = { apiVersion: 'source.toolkit.fluxcd.io/v1', kind: 'OCIRepository', metadata: ref };
    expect(await api.create(OCI_REPOSITORIES, source)).toMatchObject({ status: { observedGeneration: -1 } });
  });

  it('answers with what the test wants, and keeps a record', async () => {
    const api = createFakeKubeApi();
    api.intercept = ({ verb }) => {
      if (verb === 'create') throw new Error('no');
    };
    await expect(api.create(CONFIG_MAPS, configMap({}))).rejects.toThrow('no');
    expect(api.calls.map(({ verb, key }) => `${verb} ${key}`)).toEqual(['create ns/a']);
  });
});
