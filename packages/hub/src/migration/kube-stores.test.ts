import {
  CONFIG_MAPS,
  type ObjectRef,
  type Resource,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  WORKLOAD_PROFILES,
  SECRETS,
} from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { describe, expect, it } from 'vitest';
import { fleetOf } from './fleet.ts';
import { KubeFleetView, KubeStateStore, KubeValuesStore } from './kube-stores.ts';
import type { MigrationState } from './state.ts';

const { signal } = new AbortController();
const STATE: MigrationState = {
  ...{ version: 1, id: 'm-1', phase: 'Copying', switched: [], assumed: [], wave: [], behind: {}, waves: 0 },
  from: { url: 'oci://old.example/a/b', valuesHash: 'sha256:1' },
  to: { url: 'oci://new.example/a/b', valuesHash: 'sha256:2' },
  copied: { artifacts: 0, bytes: 0 },
  ...{ startedAt: '2026-01-01T00:00:00Z', updatedAt: '2026-01-01T00:00:00Z' },
};

describe('KubeStateStore', () => {
  it('gives back what was written, and lets nobody write over what they have not seen', async () => {
    const store = new KubeStateStore(createFakeKubeApi());
    expect(await store.read(signal)).toEqual({ value: undefined, version: undefined });
    const first = await store.write(STATE, undefined, signal);
    await expect(store.write(STATE, undefined, signal)).rejects.toMatchObject({ code: 'Interleaved' });
    const moved = { ...STATE, phase: 'SwitchingHub' as const };
    await store.write(moved, first, signal);
    await expect(store.write(STATE, first, signal)).rejects.toMatchObject({ code: 'Interleaved' });
    expect((await store.read(signal)).value).toEqual(moved);
  });

  it('refuses a state that it cannot read instead of beginning anew', async () => {
    const api = createFakeKubeApi();
    await api.create(CONFIG_MAPS, {
      ...{ apiVersion: 'v1', kind: 'ConfigMap' },
      metadata: { name: 'mural-registry-migration', namespace: 'mural-system' },
      data: { 'migration.json': '{"version":2}' },
    });
    await expect(new KubeStateStore(api).read(signal)).rejects.toMatchObject({ code: 'StateUnreadable' });
  });
});

describe('KubeValuesStore', () => {
  const owner = { manager: 'helm', metadata: { labels: { 'app.kubernetes.io/managed-by': 'Helm' } } };

  it('keeps what was before until it is taken away', async () => {
    const api = createFakeKubeApi();
    const store = new KubeValuesStore(api, owner);
    const before = await store.read(signal);
    expect(before).toEqual({ value: { current: '', previous: undefined }, version: undefined });
    await store.write({ current: 'NEW', previous: 'OLD' }, before.version, signal);
    const { value, version } = await store.read(signal);
    expect(value).toEqual({ current: 'NEW', previous: 'OLD' });
    await expect(store.write({ current: 'X', previous: 'OLD' }, '1', signal)).rejects.toMatchObject({
      code: 'Interleaved',
    });
    await store.write({ current: 'NEW', previous: undefined }, version, signal);
    expect((await store.read(signal)).value).toEqual({ current: 'NEW', previous: undefined });
  });

  it('writes what was before first', async () => {
    const api = createFakeKubeApi();
    const store = new KubeValuesStore(api, owner);
    await store.write({ current: 'NEW', previous: 'OLD' }, undefined, signal);
    const keys = api.calls
      .filter(({ verb, resource }) => verb === 'apply' && resource.kind === SECRETS.kind)
      .map(({ body }) => Object.keys((body as { data: object }).data));
    expect(keys).toEqual([['previous.yaml'], ['values.yaml']]);
  });
});

describe('KubeFleetView', () => {
  const spoke = (name: string, rest: Partial<Spoke> = {}): Spoke => ({
    ...{ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name } },
    ...rest,
  });

  it('reads what the fleet uses out of the API', async () => {
    const api = createFakeKubeApi();
    const digest = `sha256:${'a'.repeat(64)}`;
    await api.create(WORKLOAD_PROFILES, {
      ...{
        apiVersion: 'mural.dev/v1alpha1',
        kind: 'WorkloadProfile',
        metadata: { name: 'p', namespace: 'default' },
      },
      spec: {
        components: [
          { name: 'plain', type: 'manifests', properties: { manifests: '' } },
          { name: 'chart', type: 'helm', properties: { artifact: { tag: 'v1' } } },
          { name: 'far', type: 'helm', properties: { artifact: { url: 'oci://old.example/c', tag: 'v1' } } },
          { name: 'made', type: 'helm', properties: { artifact: { tag: '${params.tag}' } } },
        ],
      },
    });
    const deployment = {
      ...{ apiVersion: 'mural.dev/v1alpha1', kind: 'WorkloadDeployment' },
      metadata: { name: 'w', namespace: 'default' },
      spec: { profileRef: { name: 'p' }, environmentRef: { name: 'e' } },
    };
    await api.create(WORKLOAD_DEPLOYMENTS, deployment);
    const report = async (resource: Resource, ref: ObjectRef, status: object) =>
      api.patch(resource, ref, 'merge', { status }, { subresource: 'status' });
    await report(WORKLOAD_DEPLOYMENTS, deployment.metadata, {
      spokes: [{ name: 'edge-1', tag: 'default.w-1', digest, ready: 'True' }],
    });
    const root = `sha256:${'b'.repeat(64)}`;
    const at = '2026-01-01T00:00:00Z';
    const ready = { type: 'Ready', status: 'True', reason: 'Connected', message: '', lastTransitionTime: at };
    await api.create(SPOKES, spoke('edge-1'));
    await report(
      SPOKES,
      { name: 'edge-1' },
      {
        ...{
          lastHeartbeatTime: at,
          registryUrl: 'oci://old.example/a/b',
          rootDigest: root,
          conditions: [ready],
        },
        workloads: [{ name: 'w', namespace: 'default', digest, objects: 1, ready: 'True' }],
      },
    );
    const fixed = { endpoint: 'oci://own.example/x', repository: 'y' };
    await api.apply(SPOKES, spoke('by-hand', { spec: { ociRegistry: fixed } }), { fieldManager: 'kubectl' });
    const fleet = await new KubeFleetView(api).read(signal);
    expect(fleet.artifacts).toEqual([
      {
        reference: digest,
        tags: ['default.w-1'],
        use: 'required',
        user: 'workload default/w on spoke edge-1',
      },
      { reference: 'v1', tags: ['v1'], use: 'input', user: 'component chart of profile default/p' },
      { reference: root, tags: [], use: 'reported', user: 'spoke edge-1' },
    ]);
    expect(fleet.elsewhere).toEqual([
      { user: 'component far of profile default/p', url: 'oci://old.example/c' },
      { user: 'component made of profile default/p', url: undefined },
    ]);
    const named = Object.fromEntries(fleet.spokes.map((one) => [one.name, one]));
    expect(named['edge-1']).toMatchObject({
      reports: true,
      connected: true,
      registryUrl: 'oci://old.example/a/b',
    });
    expect(named['edge-1']?.wanted).toEqual(new Map([['default/w', digest]]));
    expect(named['edge-1']?.running).toEqual(new Map([['default/w', digest]]));
    expect(named['by-hand']).toMatchObject({
      reports: false,
      connected: false,
      fixedUrl: 'oci://own.example/x/y',
    });
  });

  it('tells registries that values wrote into a Spoke from those that somebody wrote by hand', () => {
    const fixed = { ociRegistry: { endpoint: 'oci://own.example/x', repository: 'y' } };
    const entry = { operation: 'Apply', apiVersion: 'mural.dev/v1alpha1', fieldsType: 'FieldsV1' } as const;
    const fieldsV1 = { 'f:spec': { 'f:ociRegistry': { 'f:endpoint': {} } } };
    const writtenBy = (manager: string) =>
      spoke('edge-1', {
        metadata: { name: 'edge-1', managedFields: [{ ...entry, manager, fieldsV1 }] },
        spec: fixed,
      });
    const urlOf = (one: Spoke) =>
      fleetOf({ spokes: [one], deployments: [], profiles: [] }).spokes[0]?.fixedUrl;
    expect(urlOf(writtenBy('mural-values'))).toBeUndefined();
    expect(urlOf(writtenBy('kubectl'))).toBe('oci://own.example/x/y');
  });
});
