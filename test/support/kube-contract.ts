import { randomBytes } from 'node:crypto';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  createCache,
  createEventRecorder,
  DEPLOYMENTS,
  EVENTS,
  type KubeClient,
  type KubeObject,
  KUSTOMIZATIONS,
  LEASES,
  NAMESPACES,
  OCI_REPOSITORIES,
  type OCIRepository,
  runWithLease,
  SECRETS,
  type Spoke,
  SPOKES,
  summarize,
  type UnstructuredObject,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** What every API must do for our controllers: the fake of the unit tests, the embedded one, a real cluster's. */
export function describeKubeApi(name: string, connect: () => Promise<KubeClient>): void {
  describe(name, () => {
    const namespace = `contract-${randomBytes(4).toString('hex')}`;
    const ref = { name: 'a', namespace };
    let api: KubeClient;

    function configMap(data: Record<string, string>, more: object = {}): UnstructuredObject {
      return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...ref, ...more }, data };
    }

    beforeAll(async () => {
      api = await connect();
      await api.create(NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    });
    afterAll(async () => {
      await api.delete(NAMESPACES, { name: namespace });
      await api.close();
    });

    it('creates, finds, replaces, patches and deletes', async () => {
      const created = await api.create(CONFIG_MAPS, configMap({ a: '1' }));
      await expect(api.create(CONFIG_MAPS, configMap({}))).rejects.toMatchObject({ code: 'AlreadyExists' });
      const patched = await api.patch<UnstructuredObject>(CONFIG_MAPS, ref, 'merge', {
        data: { a: null, b: '2' },
      });
      expect(patched['data']).toEqual({ b: '2' });
      await expect(api.replace(CONFIG_MAPS, created)).rejects.toMatchObject({ code: 'Conflict' });
      const json = [{ op: 'add', path: '/data/c_d', value: 'x' }];
      const again = await api.patch<UnstructuredObject>(CONFIG_MAPS, ref, 'json', json);
      expect(again['data']).toEqual({ b: '2', c_d: 'x' });
      await expect(api.delete(CONFIG_MAPS, ref, { preconditions: { uid: 'another' } })).rejects.toMatchObject(
        {
          code: 'Conflict',
        },
      );
      await api.delete(CONFIG_MAPS, ref);
      expect(await api.find(CONFIG_MAPS, ref)).toBeUndefined();
    });

    it('applies: takes back what is applied no longer, leaves the rest, changes nothing twice', async () => {
      const options = { fieldManager: 'contract' };
      const first = await api.apply(CONFIG_MAPS, configMap({ a: '1', b: '2' }), options);
      await api.patch(CONFIG_MAPS, ref, 'merge', { data: { other: 'x' } }, { fieldManager: 'other' });
      const dry = await api.apply(CONFIG_MAPS, configMap({ a: '3' }), { ...options, dryRun: true });
      expect(dry['data']).toEqual({ a: '3', other: 'x' });
      expect((await api.get<UnstructuredObject>(CONFIG_MAPS, ref))['data']).toMatchObject({ a: '1', b: '2' });
      const second = await api.apply(CONFIG_MAPS, configMap({ a: '3' }), options);
      expect(second['data']).toEqual({ a: '3', other: 'x' });
      expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
      const third = await api.apply(CONFIG_MAPS, configMap({ a: '3' }), options);
      expect(third.metadata.resourceVersion).toBe(second.metadata.resourceVersion);
      await api.delete(CONFIG_MAPS, ref);
    });

    it('keeps status apart, in defaults and in writes', async () => {
      const source = {
        apiVersion: 'source.toolkit.fluxcd.io/v1',
        kind: 'OCIRepository',
        metadata: ref,
        spec: { url: 'oci://registry/repo', interval: '1m', ref: { digest: 'sha256:0' }, suspend: true },
      } as KubeObject as OCIRepository;
      const created = await api.create(OCI_REPOSITORIES, source);
      expect(created.status).toEqual({ observedGeneration: -1 });
      expect(created.metadata.generation).toBe(1);
      const conditions = summarize(
        [],
        { result: 'failed', error: new TypeError('bug') },
        { ready: { reason: 'Succeeded', message: '' }, now: Date.now(), observedGeneration: 1 },
      );
      const status = { observedGeneration: 1, conditions };
      const reported = await api.patch<OCIRepository>(
        OCI_REPOSITORIES,
        ref,
        'merge',
        { status },
        { subresource: 'status' },
      );
      expect(reported).toMatchObject({ status, metadata: { generation: 1 } });
      const changed = await api.patch<OCIRepository>(OCI_REPOSITORIES, ref, 'merge', {
        spec: { interval: '2m' },
      });
      expect(changed).toMatchObject({ status, metadata: { generation: 2 } });
      await api.delete(OCI_REPOSITORIES, ref);
    });

    it('applies a status by its subresource', async () => {
      const spoke: Spoke = { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: namespace } };
      await api.create(SPOKES, spoke);
      const applied = await api.apply<Spoke>(
        SPOKES,
        { ...spoke, status: { agentVersion: '1', workloads: [] } },
        { fieldManager: 'spoke', force: true, subresource: 'status' },
      );
      expect(applied.status).toEqual({ agentVersion: '1', workloads: [] });
      await api.delete(SPOKES, { name: namespace });
    });

    it('keeps an object until its finalizers are gone', async () => {
      await api.create(CONFIG_MAPS, configMap({}, { finalizers: ['mural.dev/contract'] }));
      await api.delete(CONFIG_MAPS, ref);
      expect((await api.get(CONFIG_MAPS, ref)).metadata.deletionTimestamp).toBeDefined();
      await api.patch(CONFIG_MAPS, ref, 'merge', { metadata: { finalizers: [] } });
      expect(await api.find(CONFIG_MAPS, ref)).toBeUndefined();
    });

    it('lists by selector in pages, and a cache follows', async () => {
      const labels = { contract: 'yes' };
      const cache = createCache<UnstructuredObject>({
        client: api,
        resource: CONFIG_MAPS,
        namespace,
        labelSelector: 'contract=yes',
      });
      cache.start();
      await cache.synced();
      for (const suffix of ['x', 'y', 'z']) {
        await api.create(CONFIG_MAPS, configMap({}, { name: suffix, labels }));
      }
      const list = await api.list(CONFIG_MAPS, {
        namespace,
        labelSelector: 'contract in (yes)',
        pageSize: 2,
      });
      expect(list.items.map(({ kind, metadata }) => [kind, metadata.name])).toEqual([
        ['ConfigMap', 'x'],
        ['ConfigMap', 'y'],
        ['ConfigMap', 'z'],
      ]);
      await eventually(() => cache.list().length === 3);
      await api.patch(CONFIG_MAPS, { name: 'x', namespace }, 'merge', { metadata: { labels: null } });
      await api.delete(CONFIG_MAPS, { name: 'y', namespace });
      await eventually(() => cache.list().length === 1);
      expect(cache.get(`${namespace}/z`)?.metadata.managedFields).toBeUndefined();
      await cache.stop();
    });

    it('knows which resource serves a kind', async () => {
      expect(await api.resourceFor('apps/v1', 'Deployment')).toEqual(DEPLOYMENTS);
      expect(await api.resourceFor('mural.dev/v1alpha1', 'Spoke')).toEqual(SPOKES);
      expect(await api.resourceFor('kustomize.toolkit.fluxcd.io/v1', 'Kustomization')).toEqual(
        KUSTOMIZATIONS,
      );
      expect(await api.resourceFor('nope.dev/v1', 'Nope')).toBeUndefined();
    });

    it('stores stringData of a Secret as data, events with their count, and leases', async () => {
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: ref, stringData: { k: 'v' } };
      expect(await api.apply<KubeObject>(SECRETS, secret, { fieldManager: 'm' })).toMatchObject({
        data: { k: 'dg==' },
      });
      const recorder = createEventRecorder({ client: api, component: 'contract' });
      const stored = await api.get(SECRETS, ref);
      for (let turn = 0; turn < 2; turn += 1)
        recorder.event(stored, 'Normal', 'Seen', 'here', { 'a/b': 'c' });
      await recorder.flush();
      const events = await api.list<UnstructuredObject>(EVENTS, {
        namespace,
        fieldSelector: 'involvedObject.name=a',
      });
      const seen = events.items.filter(({ reason }) => reason === 'Seen');
      expect(seen.map(({ count }) => count)).toEqual([2]);
      const stop = new AbortController();
      const options = { client: api, namespace, name: 'lease', identity: 'me', signal: stop.signal };
      await runWithLease(options, async () => {
        const lease = await api.get<UnstructuredObject>(LEASES, { name: 'lease', namespace });
        expect(lease['spec']).toMatchObject({ holderIdentity: 'me', leaseTransitions: 0 });
      });
    });
  });
}
