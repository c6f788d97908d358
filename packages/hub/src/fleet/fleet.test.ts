import { eventually, FakeClock } from '@mural/core/testing';
import { rfc3339, silentLogger } from '@mural/core';
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  createCache,
  findCondition,
  type KubeObject,
  loadKubeConfig,
  PUBLISHED_ROOT_ANNOTATION,
  SECRETS,
  SERVICE_ACCOUNTS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { spokeBootstrap } from '../bootstrap.ts';
import { spoke, World } from '../test-world.ts';
import { HEARTBEAT_LIMIT_MS, Heartbeats } from './heartbeats.ts';

const hub = { server: 'https://hub.example.org:7443', ca: 'HUB CA' };
const namespace = 'mural-system';

describe('the accounts of a spoke', () => {
  let world: World;
  const made: string[] = [];
  const removed: string[] = [];
  const accounts = {
    async ensure(name: string) {
      made.push(name);
      return { username: `spoke-${name}`, password: 'read-only' };
    },
    async remove(name: string) {
      removed.push(name);
    },
  };
  beforeEach(async () => {
    made.length = 0;
    removed.length = 0;
    world = await World.start({ accounts });
  });
  afterEach(async () => world.stop());

  const secret = async (name: string) => world.api.find<UnstructuredObject>(SECRETS, { name, namespace });
  const decoded = (object: UnstructuredObject | undefined, key: string) =>
    Buffer.from(String((object?.['data'] as Record<string, string> | undefined)?.[key]), 'base64').toString();
  const registry = () => ({ url: world.url, interval: '5m', timeout: '60s', ca: 'REGISTRY CA' });

  async function issueToken(name: string): Promise<void> {
    await eventually(async () => (await secret(`spoke-${name}-token`)) !== undefined);
    const data = { token: Buffer.from('hub-token').toString('base64') };
    await world.api.patch(SECRETS, { name: `spoke-${name}-token`, namespace }, 'merge', { data });
  }

  it('let it see itself, write its own status, and read the registry', async () => {
    await world.apply(spoke('a'));
    const token = await eventually(async () => secret('spoke-a-token'));
    expect(token).toMatchObject({
      type: 'kubernetes.io/service-account-token',
      metadata: { annotations: { 'kubernetes.io/service-account.name': 'spoke-a' } },
    });
    await expect(world.api.get(SERVICE_ACCOUNTS, { name: 'spoke-a', namespace })).resolves.toBeDefined();
    const role = await world.api.get<UnstructuredObject>(CLUSTER_ROLES, { name: 'mural:spoke:a' });
    expect(role['rules']).toEqual([
      {
        apiGroups: ['mural.dev'],
        resources: ['spokes'],
        resourceNames: ['a'],
        verbs: ['get', 'list', 'watch'],
      },
      {
        apiGroups: ['mural.dev'],
        resources: ['spokes/status'],
        resourceNames: ['a'],
        verbs: ['get', 'patch', 'update'],
      },
    ]);
    const binding = await world.api.get<UnstructuredObject>(CLUSTER_ROLE_BINDINGS, { name: 'mural:spoke:a' });
    expect(binding['subjects']).toEqual([{ kind: 'ServiceAccount', name: 'spoke-a', namespace }]);
    const config = JSON.parse(decoded(await secret('spoke-a-registry'), '.dockerconfigjson')) as object;
    expect(config).toMatchObject({
      auths: { [world.registry.host]: { username: 'spoke-a', password: 'read-only' } },
    });
  });

  it('are not touched by heartbeats', async () => {
    await world.apply(spoke('a'));
    await eventually(async () => secret('spoke-a-token'));
    await eventually(
      () => PUBLISHED_ROOT_ANNOTATION in (world.api.stored(SPOKES)[0]?.metadata.annotations ?? {}),
    );
    const writes = world.writes(SECRETS);
    for (let beat = 0; beat < 5; beat += 1) await world.report('a', []);
    await world.apply(spoke('b'));
    await eventually(async () => secret('spoke-b-token'));
    expect(made).toEqual(['a', 'b']);
    expect(world.writes(SECRETS)).toBe(writes + 2);
  });

  it('go with it', async () => {
    await world.apply(spoke('a'), spoke('b'));
    await eventually(async () => (await secret('spoke-a-token')) ?? false);
    await eventually(async () => (await secret('spoke-b-token')) ?? false);
    await world.api.delete(SPOKES, { name: 'a' });
    await eventually(async () => (await world.api.find(SPOKES, { name: 'a' })) === undefined);
    expect(removed).toEqual(['a']);
    for (const [resource, gone, kept] of [
      [SECRETS, 'spoke-a-token', 'spoke-b-token'],
      [SECRETS, 'spoke-a-registry', 'spoke-b-registry'],
      [SERVICE_ACCOUNTS, 'spoke-a', 'spoke-b'],
      [CLUSTER_ROLES, 'mural:spoke:a', 'mural:spoke:b'],
      [CLUSTER_ROLE_BINDINGS, 'mural:spoke:a', 'mural:spoke:b'],
    ] as const) {
      const names = world.api.stored<KubeObject>(resource).map(({ metadata }) => metadata.name);
      expect(names).toContain(kept);
      expect(names).not.toContain(gone);
    }
  });

  it('become the bootstrap manifests of the spoke', async () => {
    await world.apply(spoke('a'));
    await issueToken('a');
    const objects = await spokeBootstrap({ client: world.api, spoke: 'a', registry: registry(), hub });
    expect(
      objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name ?? ''}`),
    ).toEqual([
      'Namespace /mural-system',
      'Secret mural-system/mural-registry',
      'Secret mural-system/mural-registry-ca',
      'Secret mural-system/mural-hub',
      'OCIRepository mural-system/mural-root',
      'Kustomization mural-system/mural-root',
    ]);
    const [, login, ca, way, source, kustomization] = objects as UnstructuredObject[];
    expect(decoded(login, '.dockerconfigjson')).toContain('read-only');
    expect(decoded(ca, 'ca.crt')).toBe('REGISTRY CA');
    expect(decoded(way, 'name')).toBe('a');
    const connection = await loadKubeConfig({ text: decoded(way, 'kubeconfig') });
    expect(connection).toMatchObject({ server: hub.server, ca: hub.ca, token: 'hub-token' });
    expect(source?.['spec']).toEqual({
      url: world.url,
      ref: { tag: 'spoke-a' },
      interval: '15m0s',
      timeout: '60s',
      secretRef: { name: 'mural-registry' },
      certSecretRef: { name: 'mural-registry-ca' },
    });
    expect(kustomization?.['spec']).toMatchObject({
      sourceRef: { kind: 'OCIRepository', name: 'mural-root' },
      prune: true,
      path: './',
      interval: '5m',
    });
  });

  it('are waited for by whoever bootstraps', async () => {
    const bootstrap = async (name: string) =>
      spokeBootstrap({ client: world.api, spoke: name, registry: registry(), hub });
    await expect(bootstrap('nobody')).rejects.toMatchObject({ code: 'SpokeNotFound' });
    await world.apply(spoke('a'));
    await expect(bootstrap('a')).rejects.toMatchObject({ code: 'TokenNotIssued', retryable: true });
  });

  it('need no Secrets where the registry is open and known to all, or of a cloud', async () => {
    await world.stopHub();
    await world.startHub();
    await world.apply(spoke('a'));
    await issueToken('a');
    const open = { url: 'oci://registry.example.org/mural', interval: '5m', timeout: '60s' };
    const objects = (await spokeBootstrap({
      client: world.api,
      spoke: 'a',
      registry: open,
      hub,
    })) as UnstructuredObject[];
    expect(decoded(objects[1], '.dockerconfigjson')).toBe('{"auths":{}}');
    const source = objects.find(({ kind }) => kind === 'OCIRepository');
    expect(source?.['spec']).not.toHaveProperty('certSecretRef');
    const cloud = await spokeBootstrap({
      client: world.api,
      spoke: 'a',
      registry: { ...open, provider: 'aws' },
      hub,
    });
    const cloudSource = (cloud as UnstructuredObject[]).find(({ kind }) => kind === 'OCIRepository');
    expect(cloudSource?.['spec']).toMatchObject({ provider: 'aws' });
    expect(cloudSource?.['spec']).not.toHaveProperty('secretRef');
  });
});

describe('heartbeats', () => {
  it('that are missed make a spoke unknown, once, until it is back', async () => {
    const clock = new FakeClock();
    const api = createFakeKubeApi({ clock });
    const spokes = createCache<Spoke>({ client: api, resource: SPOKES, clock });
    const heartbeats = new Heartbeats({ client: api, spokes, clock, log: silentLogger });
    const ready = async (name: string) => {
      const { status } = await api.get<Spoke>(SPOKES, { name });
      return findCondition(status?.conditions, 'Ready');
    };
    const beat = async () => {
      const condition = { type: 'Ready', status: 'True', reason: 'Connected', message: '' };
      const time = rfc3339(clock.now());
      const status = { lastHeartbeatTime: time, conditions: [{ ...condition, lastTransitionTime: time }] };
      await api.patch(SPOKES, { name: 'a' }, 'merge', { status }, { subresource: 'status' });
    };
    await api.create(SPOKES, spoke('a'));
    await api.create(SPOKES, spoke('new'));
    await beat();
    spokes.start();
    heartbeats.start();
    try {
      await clock.advance(HEARTBEAT_LIMIT_MS);
      expect((await ready('a'))?.status).toBe('True');
      expect(await ready('new')).toMatchObject({ status: 'Unknown', reason: 'NotJoined' });
      await clock.advance(60_000);
      expect(await ready('a')).toMatchObject({
        status: 'Unknown',
        reason: 'HeartbeatMissed',
        message: 'no heartbeat since 2026-01-01T00:00:00Z',
      });
      const { resourceVersion } = (await api.get(SPOKES, { name: 'a' })).metadata;
      await clock.advance(600_000);
      expect((await api.get(SPOKES, { name: 'a' })).metadata.resourceVersion).toBe(resourceVersion);
      await beat();
      await clock.advance(60_000);
      expect((await ready('a'))?.status).toBe('True');
    } finally {
      await Promise.all([heartbeats.stop(), spokes.stop()]);
      await api.close();
    }
  });
});
