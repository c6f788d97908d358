import { eventually } from '@mural/core/testing';
import { findCondition, WORKLOAD_DEPLOYMENTS, WORKLOAD_PROFILES, type WorkloadDeployment } from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { expect, it } from 'vitest';
import { startHub } from './hub.ts';
import { MemoryRegistry } from './memory-registry.ts';
import { configMap, deployment, environment, profile, spoke } from './test-world.ts';

const url = 'oci://registry/mural/workloads';

it('a rollout to 1000 equal spokes puts five manifests, and writes few statuses', async () => {
  const registry = new MemoryRegistry();
  const api = createFakeKubeApi();
  api.seed(environment('all', { spokeSelector: {} }));
  for (let index = 0; index < 1000; index += 1) api.seed(spoke(`edge-${index}`));
  api.seed(profile('app', [configMap('app', '1')]), deployment('app'));
  const ref = { name: 'app', namespace: 'default' };
  const published = async (before = '') =>
    eventually(async () => {
      const { status } = await api.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
      const tag = status?.spokes?.[0]?.tag ?? '';
      return findCondition(status?.conditions, 'Published')?.status === 'True' && tag !== before && tag;
    }, 60_000);
  const hub = await startHub({
    client: api,
    registries: [{ url, client: registry.client }],
    spokeRegistry: () => ({ url, interval: '5m', timeout: '60s' }),
  });
  try {
    const tag = await published();
    expect(registry.puts.filter((reference) => reference.startsWith('spoke-'))).toHaveLength(1000);
    registry.puts.length = 0;
    const writes = () => api.calls.filter(({ subresource }) => subresource === 'status').length;
    await eventually(() => writes() >= 1000);
    const before = writes();
    const { spec } = profile('app', [configMap('app', '2')]) as unknown as { spec: object };
    await api.patch(WORKLOAD_PROFILES, ref, 'merge', { spec });
    await published(tag);
    expect(registry.puts.map((reference) => reference.replace(/-.*/, '')).sort()).toEqual([
      'default.app',
      ...['group', 'group', 'group', 'group'],
    ]);
    expect(writes() - before).toBeLessThan(10);
  } finally {
    await hub.stop();
  }
}, 120_000);
