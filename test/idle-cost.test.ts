import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDuration } from '@mural/core';
import { eventually } from '@mural/core/testing';
import { OCI_REPOSITORIES, type OCIRepository } from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  startHub,
  startSpoke,
  type SpokeProcess,
} from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from './support/objects.ts';

interface AccessLine {
  readonly method: string;
  readonly path: string;
  readonly user?: string;
}

/** The lines of the registry's access log that one user caused. */
async function requests(hub: Hub, user: string): Promise<AccessLine[]> {
  const text = await readFile(join(hub.data, 'logs', 'registry-access.log'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as AccessLine)
    .filter((line) => line.user === user);
}

describe('what an idle spoke costs', () => {
  let hub: Hub;
  let edge: SpokeProcess;

  beforeAll(async () => {
    hub = await startHub();
    edge = await startSpoke(hub, 'edge-1', { labels: { tier: 'edge' } });
    await apply(hub.client, environment('edges', { tier: 'edge' }));
  }, 120_000);
  afterAll(cleanUp);

  /** Asks for three reconciles of a source, one after another, and returns what they cost. */
  async function polls(source: string): Promise<string[]> {
    const before = (await requests(hub, 'spoke-edge-1')).length;
    const ref = { name: source, namespace: 'mural-system' };
    for (let poll = 0; poll < 3; poll += 1) {
      const token = `${poll}-${process.hrtime.bigint()}`;
      await edge.client.patch(OCI_REPOSITORIES, ref, 'merge', {
        metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': token } },
      });
      await eventually(async () => {
        const polled = await edge.client.get<OCIRepository>(OCI_REPOSITORIES, ref);
        return polled.status?.lastHandledReconcileAt === token;
      });
    }
    return (await requests(hub, 'spoke-edge-1'))
      .slice(before)
      .map(({ method, path }) => `${method} ${path.replace(/.*\/manifests\//, '')}`);
  }

  it.each([1, 20])(
    'is one HEAD per interval, and one more in three of them, with %i workloads',
    async (count) => {
      const names = Array.from({ length: count }, (_, index) => `app-${index}`);
      for (const name of names) {
        await apply(
          hub.client,
          manifestsProfile(name, configMap(name, { a: '1' })),
          deployment(name, name, 'edges'),
        );
      }
      for (const name of names) await deploymentReady(hub, name);
      const sources = await edge.client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
      const specOf = (name: string) => sources.items.find(({ metadata }) => metadata.name === name)?.spec;
      const group = specOf('mural-group');
      expect(await polls('mural-group')).toEqual(new Array(3).fill(`HEAD ${group?.ref?.tag ?? ''}`));
      expect(await polls('mural-root')).toEqual(new Array(3).fill('HEAD spoke-edge-1'));
      const interval = (name: string) => parseDuration(specOf(name)?.interval ?? '');
      expect(interval('mural-root')).toBe(3 * interval('mural-group'));
      // The others are pinned by digest and are never looked up.
      expect(await polls('default.app-0')).toEqual([]);
    },
    120_000,
  );

  it('pushes nothing when the same thing is applied again', async () => {
    const writes = async () =>
      (await requests(hub, 'hue')).filter((line) => ['PUT', 'POST', 'PATCH'].includes(line.method)).length;
    const before = await writes();
    await apply(
      hub.client,
      manifestsProfile('app-0', configMap('app-0', { a: '1' })),
      deployment('app-0', 'app-0', 'edges'),
    );
    await hub.client.patch(
      {
        group: 'mural.dev',
        version: 'v1alpha1',
        kind: 'WorkloadDeployment',
        plural: 'workloaddeployments',
        namespaced: true,
      },
      { name: 'app-0', namespace: 'default' },
      'merge',
      { metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': 'again' } } },
    );
    await eventually(async () => {
      const again = await deploymentReady(hub, 'app-0');
      return again.status?.lastHandledReconcileAt === 'again';
    });
    expect(await writes()).toBe(before);
  });
});
