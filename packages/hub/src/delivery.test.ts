import { eventually } from '@mural/core/testing';
import { PUBLISHED_ROOT_ANNOTATION, type Spoke, SPOKES, WORKLOAD_DEPLOYMENTS } from '@mural/kube';
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

    const root = await world.files('spoke-a');
    const [source, kustomization] = documents(root['default.shop.yaml']);
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
    const object = await world.api.get<Spoke>(SPOKES, { name: 'a' });
    expect(object.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION]).toBe(world.tags()['spoke-a']);
  });
});
