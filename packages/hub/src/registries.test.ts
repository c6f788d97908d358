import { eventually } from '@mural/core/testing';
import { type Spoke, SPOKES, type SpokeStatus } from '@mural/kube';
import { RegistryClient } from '@mural/oci';
import { type FakeRegistry, startFakeRegistry } from '@mural/oci/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configMap, deployment, environment, profile, spoke, World } from './test-world.ts';

const REPOSITORY = 'other/place';

describe('a hub with two registries', () => {
  let world: World;
  let other: FakeRegistry;
  let client: RegistryClient;
  let url: string;
  const moved = new Set<string>();
  const assumed = new Set<string>();

  beforeEach(async () => {
    moved.clear();
    assumed.clear();
    world = await World.start();
    await world.stopHub();
    other = await startFakeRegistry();
    client = new RegistryClient({ registry: other.host, insecure: true, timeoutMs: 2000 });
    url = `oci://${other.host}/${REPOSITORY}`;
    await start();
    await world.apply(
      environment('all', { spokeSelector: {} }),
      ...['a', 'b'].map((name) => spoke(name)),
      profile('shop', [configMap('shop', '1')]),
      deployment('shop'),
    );
    await world.published('shop');
  });
  afterEach(async () => {
    await world.stop();
    await client.close();
    await other.close();
  });

  async function start(): Promise<void> {
    await world.startHub({
      registries: [world.home, { url, client }],
      spokeRegistry: ({ metadata }) => ({
        url: moved.has(metadata.name ?? '') ? url : world.url,
        interval: '5m',
        timeout: '60s',
        insecure: true,
      }),
      assumedMoved: ({ metadata }) => assumed.has(metadata.name ?? ''),
    });
  }

  /** Reports what an agent would of the sources of its spoke. */
  async function report(name: string, status: SpokeStatus): Promise<void> {
    const body = { status: { lastHeartbeatTime: new Date().toISOString(), ...status } };
    await world.api.patch<Spoke>(SPOKES, { name }, 'merge', body, { subresource: 'status' });
  }

  function move(...names: readonly string[]): void {
    for (const name of names) moved.add(name);
    world.refresh();
  }

  const tags = () => other.tags(REPOSITORY);
  const puts = () =>
    other.requests.filter(({ method, path }) => method === 'PUT' && path.includes('/manifests/'));

  it('puts the root of every spoke into both, and what it names where the spoke reads', async () => {
    await eventually(() => tags()['spoke-a'] === world.tags()['spoke-a'] && 'spoke-b' in tags());
    expect(Object.keys(tags()).sort()).toEqual(['spoke-a', 'spoke-b']);
  });

  it('moves a spoke by the registry that it reads so far, once all is in the other', async () => {
    const group = await world.groupOf('a');
    const before = world.tags()[group];
    await eventually(() => 'spoke-a' in tags() && 'spoke-b' in tags());
    other.requests.length = 0;
    move('a');
    await eventually(async () => (await world.files('spoke-a'))['root.yaml']?.includes(url));
    expect(tags()['spoke-a']).toBe(world.tags()['spoke-a']);
    const order = puts().map(({ path }) => path.replace(/.*\/manifests\//, '').replace(/[-:].*/, ''));
    expect(order.indexOf('group')).toBeGreaterThan(0);
    expect(order.lastIndexOf('sha256')).toBeLessThan(order.indexOf('group'));
    expect(order.indexOf('spoke')).toBeGreaterThan(order.indexOf('group'));
    // It is in the group of the same name there, and the old one serves it until it has moved.
    expect(await world.groupOf('a')).toBe(group);
    expect(Object.keys(tags())).toContain(group);
    expect(world.tags()[group]).toBe(before);
    const { a } = await world.published('shop');
    expect(other.manifest(REPOSITORY, a?.digest ?? '')).toBeDefined();
    await eventually(() => tags()[a?.tag ?? ''] === a?.digest);
  });

  it('leaves the source of the root of a spoke that reports, until that reads all else elsewhere', async () => {
    await report('a', { registryUrl: world.url, groupRegistryUrl: world.url, rootRegistryUrl: world.url });
    const group = await world.groupOf('a');
    move('a');
    await eventually(async () => (await world.files('spoke-a'))['group.yaml']?.includes(url));
    expect(await world.files('spoke-a')).not.toHaveProperty('root.yaml');
    expect(tags()['spoke-a']).toBe(world.tags()['spoke-a']);
    await report('a', { groupRegistryUrl: url, rootRegistryUrl: world.url });
    await eventually(async () => (await world.files('spoke-a'))['root.yaml']?.includes(url));
    await eventually(() => tags()['spoke-a'] === world.tags()['spoke-a']);
    await report('a', { registryUrl: url, groupRegistryUrl: url, rootRegistryUrl: url });
    // A registry that is away for a while is no reason to write its root anew.
    const root = world.tags()['spoke-a'];
    await world.api.patch(
      ...([SPOKES, { name: 'a' }, 'merge'] as const),
      { status: { registryUrl: null, groupRegistryUrl: null, rootDigest: root } },
      { subresource: 'status' },
    );
    await world.apply(profile('shop', [configMap('shop', '2')]));
    await world.published('shop');
    await eventually(async () => !('spokes/a/kustomization.yaml' in (await world.files(group))));
    expect(world.tags()['spoke-a']).toBe(root);
  });

  it('takes a spoke back by the registry that its root comes from, although the other is gone', async () => {
    await report('a', { registryUrl: world.url, groupRegistryUrl: world.url, rootRegistryUrl: world.url });
    const before = world.tags()['spoke-a'];
    move('a');
    await eventually(async () => !('root.yaml' in (await world.files('spoke-a'))));
    other.fail({ fault: { kind: 'reset' } });
    moved.clear();
    world.refresh();
    await eventually(() => world.tags()['spoke-a'] === before);
  });

  it('moves a spoke at once of which somebody said that it can read there', async () => {
    await report('a', { rootRegistryUrl: world.url });
    assumed.add('a');
    move('a');
    await eventually(async () => (await world.files('spoke-a'))['root.yaml']?.includes(url));
  });

  it('keeps serving a spoke that is on its way when the hub is started anew', async () => {
    const group = await world.groupOf('a');
    // One has reported and the other never does.
    await report('a', { rootRegistryUrl: world.url, groupRegistryUrl: world.url });
    await world.apply(spoke('c'));
    await eventually(async () => (await world.groupOf('c')) === group);
    await world.published('shop');
    move('a', 'c');
    await eventually(async () => (await world.files('spoke-a'))['group.yaml']?.includes(url));
    await eventually(async () => (await world.files('spoke-c'))['group.yaml']?.includes(url));
    await world.stopHub();
    await start();
    await world.apply(profile('shop', [configMap('shop', '2')]));
    await eventually(async () =>
      JSON.stringify(await world.workloads('b')).includes(
        (await world.published('shop'))['b']?.digest ?? '-',
      ),
    );
    const files = await world.files(group);
    for (const name of ['a', 'b', 'c']) {
      const listing = files[`spokes/${name}/kustomization.yaml`];
      expect(listing, name).toMatch(/workloads\/default\.shop-/);
    }
    // Once all else of it comes from elsewhere, it is in the way no more.
    await report('a', { rootRegistryUrl: world.url, groupRegistryUrl: url });
    await world.apply(profile('shop', [configMap('shop', '3')]));
    await eventually(async () => !('spokes/a/kustomization.yaml' in (await world.files(group))));
    expect(await world.files(group)).toHaveProperty(['spokes/c/kustomization.yaml']);
  });

  it('drops a spoke from the group that it left when it says that it has moved', async () => {
    const group = await world.groupOf('a');
    move('a');
    await eventually(async () => (await world.files('spoke-a'))['root.yaml']?.includes(url));
    await world.apply(profile('shop', [configMap('shop', '2')]));
    await world.published('shop');
    await eventually(async () => 'spokes/a/kustomization.yaml' in (await world.files(group)));
    const rootDigest = world.tags()['spoke-a'] ?? '';
    await world.api.patch<Spoke>(
      SPOKES,
      { name: 'a' },
      'merge',
      { status: { rootDigest } },
      {
        subresource: 'status',
      },
    );
    await world.apply(profile('shop', [configMap('shop', '3')]));
    await eventually(async () => !('spokes/a/kustomization.yaml' in (await world.files(group))));
    expect(Object.keys(await world.workloads('b'))).toEqual(['default.shop']);
  });

  it('moves nobody while the other registry does not take what is needed', async () => {
    const heal = other.fail({
      method: 'PUT',
      path: /manifests\/group-/,
      fault: { kind: 'answer', status: 403 },
    });
    const before = world.tags()['spoke-a'];
    move('a', 'b');
    const { message } = await world.condition('shop', 'Published', { status: 'False', reason: 'PushFailed' });
    expect(message).toContain('AccessDenied');
    expect(world.tags()['spoke-a']).toBe(before);
    heal();
    await eventually(async () => (await world.files('spoke-b'))['root.yaml']?.includes(url));
    await world.published('shop');
  });

  it('publishes although a registry that some may still read is away', async () => {
    move('a', 'b');
    await eventually(async () => (await world.files('spoke-b'))['root.yaml']?.includes(url));
    await world.published('shop');
    world.registry.fail({ fault: { kind: 'reset' } });
    const before = await world.published('shop');
    await world.apply(profile('shop', [configMap('shop', '2')]));
    await eventually(async () => (await world.published('shop'))['a']?.digest !== before['a']?.digest);
    const { a } = await world.published('shop');
    expect(other.manifest(REPOSITORY, a?.digest ?? '')).toBeDefined();
  });
});
