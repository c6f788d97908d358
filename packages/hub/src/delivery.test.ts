import { eventually } from '@mural/core/testing';
import {
  PUBLISHED_ROOT_ANNOTATION,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
} from '@mural/kube';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { configMap, deployment, environment, profile, spoke, World } from './test-world.ts';

describe('the way of a workload to its spokes', () => {
  let world: World;
  beforeEach(async () => {
    world = await World.start();
    await world.apply(environment('all', { spokeSelector: {} }));
  });
  afterEach(async () => world.stop());

  const documents = (text: string | undefined) =>
    parseAllDocuments(text ?? '').map((document) => document.toJS() as Record<string, any>); // eslint-disable-line @typescript-eslint/no-explicit-any

  it('pushes an artifact, then the root that names it, and records both', async () => {
    await world.apply(spoke('a'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    const { a } = await world.published('shop');
    expect(a?.tag).toMatch(/^default\.shop-[0-9a-f]{12}$/);
    expect(world.tags()[a?.tag ?? '']).toBe(a?.digest);
    expect(await world.files(a?.tag ?? '')).toEqual({
      '000-app.yaml':
        '---\napiVersion: v1\ndata:\n  value: "1"\nkind: ConfigMap\nmetadata:\n  name: shop\n  namespace: default\n',
    });

    const [source, kustomization] = documents((await world.workloads('a'))['default.shop']);
    const labels = { 'mural.dev/workload-name': 'shop', 'mural.dev/workload-namespace': 'default' };
    expect(source).toMatchObject({
      apiVersion: 'source.toolkit.fluxcd.io/v1',
      kind: 'OCIRepository',
      metadata: { name: 'default.shop', namespace: 'mural-system', labels },
      spec: {
        url: world.url,
        ref: { digest: a?.digest },
        secretRef: { name: 'mural-registry' },
        insecure: true,
      },
    });
    expect(kustomization).toMatchObject({
      kind: 'Kustomization',
      metadata: { name: 'default.shop', namespace: 'mural-system', labels },
      spec: {
        sourceRef: { kind: 'OCIRepository', name: 'default.shop' },
        path: './',
        interval: '10m',
        timeout: '5m',
        prune: true,
        wait: true,
      },
    });
  });

  it('records the group of a spoke, and tells a spoke that is heard what was published for it', async () => {
    await world.apply(spoke('a'), spoke('b'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    await world.published('shop');
    const annotations = async (name: string) =>
      (await world.api.get<Spoke>(SPOKES, { name })).metadata.annotations ?? {};
    const group = await world.groupOf('a');
    expect(await annotations('a')).toMatchObject({ [ROOT_GROUP_ANNOTATION]: group.replace('group-', '') });
    const newest = (name: string) => `${world.tags()[`spoke-${name}`] ?? ''},${world.tags()[group] ?? ''}`;
    await world.report('a', []);
    await eventually(async () => (await annotations('a'))[PUBLISHED_ROOT_ANNOTATION] === newest('a'));

    await world.apply(profile('shop', [configMap('shop', '2')]));
    const before = world.tags()[group];
    await eventually(() => world.tags()[group] !== before);
    await eventually(async () => (await annotations('a'))[PUBLISHED_ROOT_ANNOTATION] === newest('a'));
    expect((await annotations('b'))[PUBLISHED_ROOT_ANNOTATION]).not.toBe(newest('b'));
    await world.report('b', []);
    await eventually(async () => (await annotations('b'))[PUBLISHED_ROOT_ANNOTATION] === newest('b'));
  });

  it('sends nothing when nothing changed, and one artifact when one image did', async () => {
    const two = (image: string) => [
      { name: 'web', type: 'webservice', properties: { image } },
      { ...configMap('shop', '1'), name: 'data' },
    ];
    await world.apply(
      spoke('a'),
      profile('shop', two('nginx:1')),
      profile('other', [configMap('other', '1')]),
      deployment('shop'),
      deployment('other'),
    );
    const before = { shop: await world.published('shop'), other: await world.published('other') };
    const asked = world.requests().length;
    await world.afterTurn('shop', async () => {
      const touched = { name: 'shop', namespace: 'default', labels: { touched: 'yes' } };
      await world.apply({ ...profile('shop', two('nginx:1')), metadata: touched });
    });
    await world.afterTurn('shop', async () => world.report('a', []));
    await world.condition('shop', 'Ready', { status: 'Unknown' });
    expect(world.requests().length).toBe(asked);

    await world.apply(profile('shop', two('nginx:2')));
    await eventually(async () => (await world.published('shop'))['a']?.digest !== before.shop['a']?.digest);
    expect(await world.published('other')).toEqual(before.other);
    const now = await world.files((await world.published('shop'))['a']?.digest ?? '');
    const old = await world.files(before.shop['a']?.digest ?? '');
    expect(Object.keys(now)).toEqual(['000-web.yaml', '001-data.yaml']);
    expect(now['001-data.yaml']).toBe(old['001-data.yaml']);
    expect(now['000-web.yaml']).toBe(old['000-web.yaml']?.replace('nginx:1', 'nginx:2'));
  });

  it('says in the log what was pushed, and when it was there already', async () => {
    await world.apply(spoke('a'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    const { a } = await world.published('shop');
    const lines = () =>
      world.log.filter(({ digest, msg }) => digest === a?.digest && /push/.test(String(msg)));
    expect(lines()[0]).toMatchObject({
      msg: 'oci push: artifact pushed',
      reference: `${world.registry.host}/mural/workloads:${a?.tag ?? ''}@${a?.digest ?? ''}`,
      bytes: expect.any(Number),
      durationMs: expect.any(Number),
    });
    await world.stopHub();
    await world.startHub();
    await eventually(() => lines().length === 2);
    expect(lines()[1]).toMatchObject({ msg: 'oci push: the registry has the artifact already', bytes: 0 });
  });

  it('lets equal spokes share an artifact, and others have their own', async () => {
    const component = {
      name: 'app',
      type: 'webservice',
      properties: { image: 'nginx', replicas: '${params.replicas}', env: { REGION: '${params.region}' } },
    };
    await world.apply(
      spoke('a', { size: 'small' }),
      spoke('b', { size: 'small' }),
      spoke('c', { size: 'large' }),
      spoke('d', { size: 'large' }),
      environment('all', { spokeSelector: {}, parameters: { region: 'env', replicas: 2 } }),
      profile('shop', [component], {
        properties: {
          replicas: { type: 'integer', default: 1 },
          region: { type: 'string', default: 'none' },
        },
      }),
      deployment('shop', {
        parameters: { region: 'deployment' },
        overrides: [
          { environment: 'other', parameters: { replicas: 99 } },
          {
            environment: 'all',
            spokeSelector: { matchLabels: { size: 'large' } },
            parameters: { replicas: 5 },
          },
          { spokes: ['d'], parameters: { replicas: 7 } },
        ],
      }),
    );
    const { a, b, c, d } = await world.published('shop');
    expect(a).toEqual(b);
    expect(new Set([a?.digest, c?.digest, d?.digest]).size).toBe(3);
    const replicas = async (digest: string | undefined) => {
      const text = (await world.files(digest ?? ''))['000-app.yaml'];
      const [object] = documents(text);
      return [object?.['spec'].replicas, object?.['spec'].template.spec.containers[0].env[0].value];
    };
    expect(await replicas(a?.digest)).toEqual([2, 'deployment']);
    expect(await replicas(c?.digest)).toEqual([5, 'deployment']);
    expect(await replicas(d?.digest)).toEqual([7, 'deployment']);
  });

  it('gives each spoke its own artifact when the profile looks at the spoke', async () => {
    const own = { ...configMap('x', '${spoke.labels.region}'), expressions: true };
    await world.apply(
      spoke('a', { region: 'eu' }),
      spoke('b', { region: 'eu' }),
      spoke('c', { region: 'us' }),
      profile('shop', [own]),
      deployment('shop'),
    );
    const { a, b, c } = await world.published('shop');
    expect(a?.digest).toBe(b?.digest);
    expect(c?.digest).not.toBe(a?.digest);
    await world.apply(spoke('b', { region: 'us' }));
    await eventually(async () => (await world.published('shop'))['b']?.digest === c?.digest);
  });

  it('follows spokes that come, change their labels and go', async () => {
    await world.apply(
      environment('all', { spokeSelector: { matchLabels: { tier: 'edge' } }, spokes: ['named'] }),
      spoke('a', { tier: 'edge' }),
      spoke('named'),
      spoke('other'),
      profile('shop', [configMap('shop', '1')]),
      deployment('shop'),
    );
    const names = async () => Object.keys(await world.published('shop'));
    await eventually(async () => (await names()).join() === 'a,named');
    await world.apply(spoke('other', { tier: 'edge' }), spoke('a', { tier: 'core' }));
    await eventually(async () => (await names()).join() === 'named,other');
    await eventually(async () => Object.keys(await world.workloads('a')).length === 0);
    await world.api.delete(SPOKES, { name: 'other' });
    await eventually(async () => (await names()).join() === 'named');
  });

  it('orders workloads on the spoke as dependsOn says', async () => {
    await world.apply(
      spoke('a'),
      profile('shop', [configMap('shop', '1')]),
      deployment(
        'second',
        { dependsOn: [{ name: 'first' }, { name: 'x', namespace: 'team' }], interval: '30m', prune: false },
        'shop',
      ),
    );
    await world.published('second');
    const [, kustomization] = documents((await world.workloads('a'))['default.second']);
    expect(kustomization?.['spec']).toMatchObject({
      dependsOn: [{ name: 'default.first' }, { name: 'team.x' }],
      interval: '30m',
      prune: false,
    });
  });

  it('withdraws a deployment from every root before it lets go of it', async () => {
    await world.apply(
      spoke('a'),
      spoke('b'),
      profile('shop', [configMap('shop', '1')]),
      deployment('shop'),
      deployment('stays', {}, 'shop'),
    );
    await world.published('shop');
    await world.published('stays');
    const heal = world.registry.fail({
      fault: { kind: 'answer', status: 503 },
      method: 'PUT',
      path: /group-/,
    });
    await world.api.delete(WORKLOAD_DEPLOYMENTS, { name: 'shop', namespace: 'default' });
    await eventually(() => world.events().includes('PushFailed'));
    expect((await world.deployment('shop')).metadata.deletionTimestamp).toBeDefined();
    heal();
    await eventually(async () => {
      const found = await world.api.find(WORKLOAD_DEPLOYMENTS, { name: 'shop', namespace: 'default' });
      return found === undefined;
    });
    for (const name of ['a', 'b']) {
      expect(Object.keys(await world.workloads(name))).toEqual(['default.stays']);
    }
  });

  it('goes on where it was killed', async () => {
    await world.apply(spoke('a'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    const first = await world.published('shop');
    await world.stopHub();
    await world.apply(profile('shop', [configMap('shop', '2')]), deployment('late', {}, 'shop'));
    await world.startHub();
    await eventually(async () => (await world.published('shop'))['a']?.digest !== first['a']?.digest);
    await world.published('late');
    expect(Object.keys(await world.workloads('a'))).toContain('default.late');
  });

  it('brings back what the registry lost', async () => {
    await world.stopHub();
    await world.startHub({ recheckMs: 300 });
    await world.apply(spoke('a'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    const { a } = await world.published('shop');
    await world.loseArtifacts();
    await eventually(
      () => world.tags()[a?.tag ?? ''] === a?.digest && Object.keys(world.tags()).length === 3,
    );
  });

  it('stops at suspend, of a deployment and of a spoke, and goes on after it', async () => {
    await world.apply(spoke('a'), profile('shop', [configMap('shop', '1')]), deployment('shop'));
    const first = await world.published('shop');
    await world.apply(deployment('shop', { suspend: true }), profile('shop', [configMap('shop', '2')]));
    await world.condition('shop', 'Ready', {});
    expect(await world.published('shop')).toEqual(first);
    await world.apply({ ...spoke('a'), spec: { suspend: true } }, deployment('shop', { suspend: false }));
    const pending = await world.condition('shop', 'Published', { status: 'Unknown' });
    expect(pending.message).toBe('waiting for the root of a');
    expect((await world.workloads('a'))['default.shop']).toContain(first['a']?.digest);
    await eventually(async () => (await world.files('spoke-a'))['group.yaml']?.includes('suspend: true'));
    await world.apply({ ...spoke('a'), spec: {} });
    const now = await world.published('shop');
    expect((await world.workloads('a'))['default.shop']).toContain(now['a']?.digest);
    await eventually(async () => !(await world.files('spoke-a'))['group.yaml']?.includes('suspend'));
    expect(now['a']?.digest).not.toBe(first['a']?.digest);
  });
});
