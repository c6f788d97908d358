import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  KUSTOMIZATIONS,
  type Kustomization,
  type KubeClient,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  startHub,
  startSpoke,
  type SpokeProcess,
} from './support/mural.ts';
import { apply, deployment, everySpoke, manifestsProfile, objectsOf } from './support/objects.ts';

const testdata = process.env.MURAL_TESTDATA;
if (testdata === undefined) {
  console.warn(
    'MURAL_TESTDATA is not set: the tests with real manifests (test/real-input.test.ts) do not run',
  );
}

/** What a test compares: everything a user wrote, nothing a server adds. */
function written(object: UnstructuredObject): unknown {
  const { metadata, ...rest } = object;
  return {
    ...rest,
    metadata: {
      name: metadata.name,
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
    },
  };
}

/** Whether everything in `wanted` is in `live`, whatever defaults the server put beside it. */
function contains(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(live) && wanted.every((item, index) => contains(live[index], item));
  }
  if (typeof wanted === 'object' && wanted !== null) {
    return (
      typeof live === 'object' &&
      live !== null &&
      Object.entries(wanted).every(([key, value]) => contains((live as Record<string, unknown>)[key], value))
    );
  }
  return live === wanted || String(live) === String(wanted);
}

async function find(client: KubeClient, object: UnstructuredObject): Promise<UnstructuredObject | undefined> {
  const resource = await client.resourceFor(object.apiVersion, object.kind);
  if (resource === undefined) return undefined;
  const namespace = resource.namespaced ? (object.metadata.namespace ?? 'default') : undefined;
  return client.find<UnstructuredObject>(resource, { name: object.metadata.name ?? '', namespace });
}

describe.skipIf(testdata === undefined).each([
  { file: 'online-boutique.yaml', name: 'boutique', image: /frontend:v[0-9.]+/, changed: 'frontend' },
  { file: 'argo-cd-install.yaml', name: 'argocd', image: /redis:[0-9a-z.-]+/, changed: 'argocd-redis' },
])('real manifests: $file', ({ file, name, image, changed }) => {
  let hub: Hub;
  let spokes: SpokeProcess[];
  let manifests: string;

  beforeAll(async () => {
    manifests = await readFile(join(testdata ?? '', 'manifests', file), 'utf8');
    hub = await startHub();
    spokes = await Promise.all(
      ['edge-1', 'edge-2'].map(async (spoke) => startSpoke(hub, spoke, { labels: { tier: 'edge' } })),
    );
  }, 120_000);
  afterAll(cleanUp);

  const clients = () => [hub.client, ...spokes.map((spoke) => spoke.client)];

  it('arrive on all three spokes, object for object', async () => {
    const objects = objectsOf(manifests);
    const started = performance.now();
    await apply(
      hub.client,
      everySpoke('everywhere'),
      manifestsProfile(name, manifests),
      deployment(name, name, 'everywhere'),
    );
    const ready = await deploymentReady(hub, name, { timeoutMs: 120_000 });
    console.log(
      `${file}: ${objects.length} objects on 3 spokes in ${Math.round(performance.now() - started)} ms`,
    );
    expect(ready.status?.summary).toBe('3/3');
    for (const client of clients()) {
      for (const object of objects) {
        const live = await find(client, object);
        const wanted = written(object);
        if (live === undefined || !contains(live, wanted)) {
          expect(live, `${object.kind} ${object.metadata.name ?? ''}`).toMatchObject(wanted as object);
        }
      }
      const ref = { name: `default.${name}`, namespace: 'mural-system' };
      const kustomization = await client.get<Kustomization>(KUSTOMIZATIONS, ref);
      expect(kustomization.status?.inventory?.entries).toHaveLength(objects.length);
    }
  }, 180_000);

  it('change in one object when one image changes', async () => {
    const objects = objectsOf(manifests);
    const versions = async () =>
      Promise.all(
        clients().map(async (client) =>
          Object.fromEntries(
            await Promise.all(
              objects.map(async (object) => {
                const live = await find(client, object);
                return [
                  `${object.kind}/${object.metadata.name ?? ''}`,
                  live?.metadata.resourceVersion ?? '',
                ] as const;
              }),
            ),
          ),
        ),
      );
    const before = await versions();
    const [current] = image.exec(manifests) ?? [];
    if (current === undefined) throw new Error(`${file} has no image like ${image.source}`);
    await apply(hub.client, manifestsProfile(name, manifests.replace(image, `${current}-patched`)));
    await eventually(async () => {
      const live = await Promise.all(
        clients().map(async (client) =>
          find(
            client,
            objects.find(
              (object) => object.kind === 'Deployment' && object.metadata.name === changed,
            ) as UnstructuredObject,
          ),
        ),
      );
      return live.every((object) => JSON.stringify(object).includes(`${current}-patched`));
    }, 60_000);
    await deploymentReady(hub, name, { timeoutMs: 60_000 });
    const after = await versions();
    for (const [index, now] of after.entries()) {
      const different = Object.keys(now).filter((key) => now[key] !== before[index]?.[key]);
      expect(different).toEqual([`Deployment/${changed}`]);
    }
  }, 180_000);

  it('are gone from every spoke when the deployment is deleted', async () => {
    await hub.client.delete(WORKLOAD_DEPLOYMENTS, { name, namespace: 'default' });
    const objects = objectsOf(manifests);
    for (const client of clients()) {
      for (const object of objects) {
        await eventually(async () => (await find(client, object)) === undefined, 60_000);
      }
    }
  }, 180_000);
});
