import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, FakeClock } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  customResourceDefinitions,
  KUSTOMIZATIONS,
  type KubeObject,
  MURAL_NAMESPACE,
  NAMESPACES,
  OCI_REPOSITORIES,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { packArtifact } from '@mural/oci';
import { type FakeRegistry, startFakeRegistry } from '@mural/oci/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyBootstrap } from './bootstrap.ts';
import { type RunningSpoke, startSpoke } from './spoke.ts';
import { conditionOf, configMap } from './testing/bed.ts';

const clock = new FakeClock();
let api: FakeKubeApi;
let hub: FakeKubeApi;
let registry: FakeRegistry;
let dataDir: string;
let spoke: RunningSpoke | undefined;

beforeEach(async () => {
  api = createFakeKubeApi({ clock });
  hub = createFakeKubeApi({
    clock,
    objects: [{ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 'edge' } }],
  });
  registry = await startFakeRegistry();
  dataDir = await mkdtemp(join(tmpdir(), 'mural-spoke-'));
});
afterEach(async () => {
  await spoke?.stop();
  spoke = undefined;
  await registry.close();
  await rm(dataDir, { recursive: true, force: true });
});

const REPOSITORY = 'mural/workloads';

async function push(text: string, tag?: string): Promise<string> {
  const packed = await packArtifact({ files: [{ path: 'objects.yaml', content: text }] });
  for (const { bytes } of [packed.config, ...packed.layers]) registry.addBlob(REPOSITORY, bytes);
  return registry.addManifest(REPOSITORY, packed.manifest, tag);
}

/** A source and what applies it. */
function pair(name: string, ref: object, labels: object = {}): KubeObject[] {
  const metadata = { name, namespace: MURAL_NAMESPACE, labels };
  const url = `oci://${registry.host}/${REPOSITORY}`;
  return [
    {
      apiVersion: 'source.toolkit.fluxcd.io/v1',
      kind: 'OCIRepository',
      metadata,
      spec: { url, ref, interval: '1m', insecure: true },
    } as KubeObject,
    {
      apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
      kind: 'Kustomization',
      metadata,
      spec: { interval: '10m', prune: true, sourceRef: { kind: 'OCIRepository', name } },
    } as KubeObject,
  ];
}

async function publish(value: string): Promise<string> {
  const labels = { 'mural.dev/workload-name': 'web', 'mural.dev/workload-namespace': 'shop' };
  const digest = await push(configMap('one', value));
  const root = pair('shop.web', { digest }, labels).map((object) => JSON.stringify(object));
  await push(root.join('\n---\n'), 'spoke-edge');
  return digest;
}

async function start(): Promise<void> {
  spoke = await startSpoke({
    client: api,
    hub: { client: hub },
    dataDir,
    name: 'edge',
    clock,
    random: () => 0.5,
    version: '1.2.3',
  });
}

describe('a spoke', () => {
  it('brings a workload from its root into the cluster, and tells the hub', async () => {
    const digest = await publish('first');
    await applyBootstrap(api, pair('mural-root', { tag: 'spoke-edge' }), clock);
    await start();
    await eventually(async () => {
      await clock.advance(200);
      return hub.stored<Spoke>(SPOKES)[0]?.status?.workloads?.[0]?.ready === 'True';
    });
    expect(api.stored(CONFIG_MAPS)[0]).toMatchObject({ data: { key: 'first' } });
    const { status } = hub.stored<Spoke>(SPOKES)[0] ?? {};
    expect(status).toMatchObject({
      agentVersion: '1.2.3',
      workloads: [{ name: 'web', namespace: 'shop', digest, objects: 1, ready: 'True' }],
    });
  });

  it('goes on from its disk after a restart without registry and hub', async () => {
    await publish('first');
    await applyBootstrap(api, pair('mural-root', { tag: 'spoke-edge' }), clock);
    await start();
    await eventually(() => api.stored(CONFIG_MAPS).length === 1);
    await eventually(() => conditionOf(api.stored(KUSTOMIZATIONS)[1], 'Ready')?.status === 'True');
    await spoke?.stop();
    registry.fail({ fault: { kind: 'reset' } });
    hub.intercept = () => {
      throw new Error('the hub is away');
    };
    await api.delete(CONFIG_MAPS, { namespace: 'apps', name: 'one' });
    await start();
    await eventually(() => api.stored(CONFIG_MAPS).length === 1);
  });

  it('withdraws a workload that left its root', async () => {
    await publish('first');
    await applyBootstrap(api, pair('mural-root', { tag: 'spoke-edge' }), clock);
    await start();
    await eventually(() => api.stored(CONFIG_MAPS).length === 1);
    await push(configMap('other').replace('namespace: apps', `namespace: ${MURAL_NAMESPACE}`), 'spoke-edge');
    await eventually(async () => {
      await clock.advance(1000);
      return api.stored(OCI_REPOSITORIES).length === 1 && api.stored(KUSTOMIZATIONS).length === 1;
    });
    expect(api.stored(CONFIG_MAPS).map(({ metadata }) => metadata.name)).toEqual(['other']);
  });
});

describe('a bootstrap', () => {
  it('waits for definitions and namespaces before it uses them', async () => {
    const definitions = customResourceDefinitions();
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: MURAL_NAMESPACE } };
    const done = applyBootstrap(api, [...pair('mural-root', { tag: 'x' }), namespace, ...definitions], clock);
    await eventually(() => api.stored(NAMESPACES).length === 1);
    await clock.advance(1000);
    expect(api.stored(OCI_REPOSITORIES)).toEqual([]);
    const status = {
      conditions: [
        { type: 'NamesAccepted', status: 'True' },
        { type: 'Established', status: 'True' },
      ],
    };
    for (const { metadata, kind } of definitions) {
      if (kind !== 'CustomResourceDefinition') continue;
      const resource = await api.resourceFor('apiextensions.k8s.io/v1', kind);
      if (resource === undefined) throw new Error('no definitions');
      await api.patch(
        resource,
        { name: metadata.name ?? '' },
        'merge',
        { status },
        { subresource: 'status' },
      );
    }
    const active = { status: { phase: 'Active' } };
    await api.patch(NAMESPACES, { name: MURAL_NAMESPACE }, 'merge', active, { subresource: 'status' });
    await eventually(async () => {
      await clock.advance(1000);
      return api.stored(OCI_REPOSITORIES).length === 1;
    });
    await done;
  });

  it('done again changes nothing', async () => {
    await applyBootstrap(api, pair('mural-root', { tag: 'x' }), clock);
    const before = api.stored(KUSTOMIZATIONS);
    await applyBootstrap(api, pair('mural-root', { tag: 'x' }), clock);
    expect(api.stored(KUSTOMIZATIONS)).toEqual(before);
  });

  it('names a kind that the cluster does not serve', async () => {
    const object = { apiVersion: 'no.such/v1', kind: 'Thing', metadata: { name: 'x' } };
    await expect(applyBootstrap(api, [object], clock)).rejects.toThrow(
      'Thing/x: the cluster does not serve this kind',
    );
  });
});
