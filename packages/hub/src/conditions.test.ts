import { eventually } from '@mural/core/testing';
import {
  type KubeObject,
  OCI_REPOSITORIES,
  RECONCILE_REQUEST_ANNOTATION,
  WORKLOAD_DEPLOYMENTS,
} from '@mural/kube';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configMap, deployment, environment, profile, spoke, World } from './test-world.ts';

describe('what a deployment says of itself', () => {
  let world: World;
  beforeEach(async () => {
    world = await World.start();
    await world.apply(environment('all', { spokeSelector: {} }), spoke('a'));
  });
  afterEach(async () => world.stop());

  const report = (digest: string, more: object = {}) => ({
    name: 'shop',
    namespace: 'default',
    digest,
    objects: 1,
    ready: 'True' as const,
    healthy: 'Unknown' as const,
    healthReason: 'NoNodes',
    ...more,
  });

  describe('of input that cannot be delivered', () => {
    const cases: [string, KubeObject[], string, RegExp][] = [
      [
        'a profile that is not there',
        [deployment('shop')],
        'ProfileNotFound',
        /no WorkloadProfile default\/shop/,
      ],
      [
        'an environment that is not there',
        [profile('shop', [configMap('x', '1')]), deployment('shop', { environmentRef: { name: 'nope' } })],
        'EnvironmentNotFound',
        /no Environment default\/nope/,
      ],
      [
        'an environment that selects nobody',
        [
          environment('moon', { spokeSelector: { matchLabels: { on: 'moon' } } }),
          profile('shop', [configMap('x', '1')]),
          deployment('shop', { environmentRef: { name: 'moon' } }),
        ],
        'NoSpokesSelected',
        /environment default\/moon selects no spoke: none of 1 spokes matches/,
      ],
      [
        'an environment without any selection',
        [
          environment('blank', {}),
          profile('shop', [configMap('x', '1')]),
          deployment('shop', { environmentRef: { name: 'blank' } }),
        ],
        'NoSpokesSelected',
        /neither a spokeSelector nor spokes/,
      ],
      [
        'a parameter of the wrong type',
        [
          profile('shop', [configMap('x', '1')], { properties: { replicas: { type: 'integer' } } }),
          deployment('shop', { parameters: { replicas: 'three' } }),
        ],
        'ParametersInvalid',
        /parameter replicas must be an integer, not a string/,
      ],
      [
        'an expression that fails',
        [
          profile('shop', [{ name: 'app', type: 'webservice', properties: { image: '${params.nope}' } }]),
          deployment('shop'),
        ],
        'ExpressionFailed',
        /component app, properties\.image: the expression \$\{params\.nope\} failed/,
      ],
      [
        'invalid YAML',
        [
          profile('shop', [{ name: 'app', type: 'manifests', properties: { manifests: 'a: [\n' } }]),
          deployment('shop'),
        ],
        'RenderFailed',
        /component app: invalid YAML at line 2, column 1/,
      ],
      [
        'a duration that is none',
        [profile('shop', [configMap('x', '1')]), deployment('shop', { interval: '10 minutes' })],
        'SpecInvalid',
        /spec\.interval: "10 minutes" is not a duration/,
      ],
      [
        'a circle of dependencies',
        [
          profile('shop', [configMap('x', '1')]),
          deployment('other', { dependsOn: [{ name: 'shop' }] }, 'shop'),
          deployment('shop', { dependsOn: [{ name: 'other' }] }),
        ],
        'DependencyCycle',
        /default\/shop → default\/other → default\/shop/,
      ],
    ];

    it.each(cases)('%s', async (_what, objects, reason, message) => {
      await world.apply(...objects);
      const ready = await world.condition('shop', 'Ready', { status: 'False', reason });
      expect(ready.message).toMatch(message);
      const stalled = await world.condition('shop', 'Stalled', { status: 'True' });
      expect(stalled.reason).toBe(reason);
      await eventually(() => world.events().includes(reason));
      expect(Object.keys(world.tags()).filter((tag) => tag.startsWith('default.'))).toEqual([]);
    });

    it('and what was published before stays as it was, until the input is right again', async () => {
      await world.apply(profile('shop', [configMap('x', '1')]), deployment('shop'));
      const good = await world.published('shop');
      const group = await world.groupOf('a');
      const root = world.tags()[group];
      await world.apply(
        profile('shop', [{ name: 'app', type: 'manifests', properties: { manifests: 'a: [' } }]),
      );
      await world.condition('shop', 'Ready', { status: 'False', reason: 'RenderFailed' });
      await world.condition('shop', 'Rendered', { status: 'False', reason: 'RenderFailed' });
      expect(await world.published('shop')).toEqual(good);
      expect(world.tags()[group]).toBe(root);
      await world.apply(profile('shop', [configMap('x', '2')]));
      await eventually(async () => (await world.published('shop'))['a']?.digest !== good['a']?.digest);
      const { status } = await world.deployment('shop');
      expect(status?.conditions?.map(({ type }) => type)).not.toContain('Stalled');
    });

    it('is told once, however often something else changes', async () => {
      await world.apply(profile('shop', [{ name: 'app', type: 'nope' }]), deployment('shop'));
      await world.condition('shop', 'Ready', { reason: 'ComponentTypeUnknown' });
      const writes = world.writes(WORKLOAD_DEPLOYMENTS, 'status');
      for (let beat = 1; beat <= 3; beat += 1) {
        const news = report(`sha256:${'0'.repeat(64)}`, { objects: beat });
        await world.afterTurn('shop', async () => world.report('a', [news]));
      }
      expect(world.writes(WORKLOAD_DEPLOYMENTS, 'status')).toBe(writes);
      expect(world.events().filter((reason) => reason === 'ComponentTypeUnknown')).toHaveLength(1);
    });
  });

  it('of a registry that refuses it, and recovers by itself', async () => {
    const heal = world.registry.fail({ fault: { kind: 'answer', status: 401 }, path: /default\.shop|blobs/ });
    await world.apply(profile('shop', [configMap('x', '1')]), deployment('shop'));
    const published = await world.condition('shop', 'Published', { status: 'False', reason: 'PushFailed' });
    expect(published.message).toMatch(/^AuthenticationFailed: /);
    await world.condition('shop', 'Rendered', { status: 'True' });
    await world.condition('shop', 'Reconciling', { status: 'True', reason: 'ProgressingWithRetry' });
    expect((await world.deployment('shop')).status?.spokes).toEqual([]);
    heal();
    await world.published('shop');
  });

  it('of a root that cannot be pushed, and recovers by itself', async () => {
    await world.apply(profile('shop', [configMap('x', '1')]), deployment('shop'));
    await world.published('shop');
    const heal = world.registry.fail({
      fault: { kind: 'answer', status: 403 },
      method: 'PUT',
      path: /group-/,
    });
    await world.apply(profile('shop', [configMap('x', '2')]));
    const ready = await world.condition('shop', 'Ready', { status: 'False', reason: 'PushFailed' });
    expect(ready.message).toMatch(/AccessDenied/);
    heal();
    await world.published('shop');
  });

  it('of its spokes: waiting, ready, failed', async () => {
    await world.apply(spoke('b'), spoke('c'), profile('shop', [configMap('x', '1')]), deployment('shop'));
    const { a } = await world.published('shop');
    const digest = a?.digest ?? '';
    const waiting = await world.condition('shop', 'Ready', { status: 'Unknown', reason: 'Progressing' });
    expect(waiting.message).toBe('waiting for 3 of 3 spokes: a, b, c (a: the spoke has not joined yet)');

    await world.report('a', [report(digest)]);
    await world.report('b', [report(digest)]);
    await eventually(async () => (await world.deployment('shop')).status?.summary === '2/3');
    await world.report('c', [
      report(digest, { ready: 'False', reason: 'HealthCheckFailed', message: 'timed out' }),
    ]);
    const failed = await world.condition('shop', 'Ready', { status: 'False', reason: 'HealthCheckFailed' });
    expect(failed.message).toBe('1 of 3 spokes failed: c: timed out');

    await world.report('c', [report(digest, { healthy: 'True', healthReason: undefined })]);
    const ready = await world.condition('shop', 'Ready', { status: 'True' });
    expect(ready).toMatchObject({ reason: 'ReconciliationSucceeded', message: 'ready on 3 of 3 spokes' });
    const health = await world.condition('shop', 'Healthy', { status: 'Unknown', reason: 'NoNodes' });
    expect(health.message).toContain('2 of 3 spokes have no nodes to run it');
    const { status } = await world.deployment('shop');
    expect(status?.summary).toBe('3/3');
    expect(status?.conditions?.map(({ type }) => type).sort()).toEqual([
      'Healthy',
      'Published',
      'Ready',
      'Rendered',
    ]);
    await eventually(() => world.events().includes('ReconciliationSucceeded'));
    expect(world.events()).toEqual(
      expect.arrayContaining(['ArtifactPushed', 'RenderSucceeded', 'PublishSucceeded']),
    );
  });

  it('of a spoke that still has the older revision', async () => {
    await world.apply(profile('shop', [configMap('x', '1')]), deployment('shop'));
    const first = await world.published('shop');
    await world.report('a', [report(first['a']?.digest ?? '')]);
    await world.condition('shop', 'Ready', { status: 'True' });
    await world.apply(profile('shop', [configMap('x', '2')]));
    const waiting = await world.condition('shop', 'Ready', { status: 'Unknown' });
    expect(waiting.message).toContain('a: the spoke has an older revision');
    const second = await world.published('shop');
    expect((await world.deployment('shop')).status?.spokes?.[0]).toMatchObject({
      digest: second['a']?.digest,
      appliedDigest: first['a']?.digest,
    });
  });

  it('answers requestedAt, and looks into the registry again', async () => {
    await world.apply(profile('shop', [configMap('x', '1')]), deployment('shop'));
    const { a } = await world.published('shop');
    await world.loseArtifacts();
    const annotations = { [RECONCILE_REQUEST_ANNOTATION]: 'now' };
    await world.api.patch(WORKLOAD_DEPLOYMENTS, { name: 'shop', namespace: 'default' }, 'merge', {
      metadata: { annotations },
    });
    await eventually(() => world.tags()[a?.tag ?? ''] === a?.digest);
    await eventually(async () => (await world.deployment('shop')).status?.lastHandledReconcileAt === 'now');
  });

  it('folds a storm of reports into few writes', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `s${index}`);
    await world.apply(
      ...names.map((name) => spoke(name)),
      profile('shop', [configMap('x', '1')]),
      deployment('shop'),
    );
    await eventually(async () => Object.keys(await world.published('shop')).length === 201);
    const { a } = await world.published('shop');
    const before = world.writes(WORKLOAD_DEPLOYMENTS, 'status');
    for (const name of ['a', ...names]) await world.report(name, [report(a?.digest ?? '')]);
    await world.condition('shop', 'Ready', { status: 'True' });
    expect(world.writes(WORKLOAD_DEPLOYMENTS, 'status') - before).toBeLessThan(20);
    expect(world.writes(OCI_REPOSITORIES)).toBe(0);
  });
});
