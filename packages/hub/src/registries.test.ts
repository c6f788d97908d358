import { eventually } from '@mural/core/testing';
import { type Spoke, SPOKES } from '@mural/kube';
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

  beforeEach(async () => {
    moved.clear();
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
    });
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
