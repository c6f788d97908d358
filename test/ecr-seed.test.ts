import { eventually } from '@mural/core/testing';
import type { Condition, Resource, UnstructuredObject } from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  arrived,
  deploy,
  digestsOf,
  isOpen,
  reading,
  release,
  type SeedFleet,
  startSeedFleet,
  watchWorkload,
} from './support/ecr-seed.ts';
import { cleanUp } from './support/mural.ts';
import { apply } from './support/objects.ts';

const HELM_RELEASES: Resource = {
  group: 'helm.toolkit.fluxcd.io',
  version: 'v2',
  kind: 'HelmRelease',
  plural: 'helmreleases',
  namespaced: true,
};

/** Waits until the release is Ready at its latest generation. */
async function released({ hub }: SeedFleet): Promise<void> {
  const ref = { name: 'mural', namespace: 'mural-system' };
  await eventually(async () => {
    const object = await hub.client.get<UnstructuredObject>(HELM_RELEASES, ref);
    const status = object['status'] as { observedGeneration?: number; conditions?: readonly Condition[] };
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    return status.observedGeneration === object.metadata.generation && ready?.status === 'True';
  }, 40_000);
}

/** The guide's way by hand: edit the values, apply, validate, `zot.enabled: false`, apply again. */
describe.each([
  ['private', 'EKS', 'one role'],
  ['public', 'IaaS', 'one role'],
  ['private', 'EKS', 'a role for each account'],
] as const)('from the default registry to ECR %s on %s with %s, by hand', (kind, place, roles) => {
  let fleet: SeedFleet;
  let stopWatching: ReturnType<typeof watchWorkload>;

  beforeAll(async () => {
    fleet = await startSeedFleet({ kind, place, roles });
    await deploy(fleet, 'red');
    await arrived(fleet, 'red');
    stopWatching = watchWorkload(fleet.spoke);
  }, 60_000);
  afterAll(async () => {
    await cleanUp();
    await fleet.close();
  });

  it('moves when the HelmRelease has the values of the guide', async () => {
    await apply(fleet.hub.client, release(fleet.values()));
    await reading(fleet, fleet.url);
    await released(fleet);
    expect(await isOpen(fleet.hub.ready.registry)).toBe(true);
  }, 60_000);

  it('shows what the guide validates by: the pushes in the log of hue, and the artifacts in ECR', async () => {
    const sources = await reading(fleet, fleet.url);
    for (const { spec } of sources) {
      expect(spec.provider).toBe('aws');
      expect(spec.insecure ?? false).toBe(false);
    }
    const log = await fleet.hub.client.raw('/api/v1/namespaces/mural-system/pods/hue-0/log');
    const pushes = log.split('\n').filter((line) => /push|oci/i.test(line));
    expect(pushes.join('\n')).toContain(new URL(fleet.url.replace('oci:', 'https:')).host);
    const { registries, account, region } = fleet.aws;
    const registry = kind === 'private' ? registries.private(account, region) : registries.public(account);
    const images = registry.repository(fleet.repository).images;
    for (const digest of digestsOf(sources)) expect([...images.keys()]).toContain(digest);
  }, 60_000);

  it('delivers changes through ECR', async () => {
    await deploy(fleet, 'green');
    await arrived(fleet, 'green');
  }, 60_000);

  it('does without the default registry when zot is disabled, and goes on', async () => {
    await apply(fleet.hub.client, release(fleet.values({ zot: { enabled: false } })));
    await eventually(async () => !(await isOpen(fleet.hub.ready.registry)), 30_000);
    await released(fleet);
    await deploy(fleet, 'blue');
    await arrived(fleet, 'blue');
  }, 60_000);

  it('left the spoke without its workload at no time, and needed no permission that is not printed', async () => {
    const { looks, without } = await stopWatching();
    expect(looks).toBeGreaterThan(50);
    expect(without).toBe(0);
    expect(fleet.aws.calls.filter(({ result }) => /denied/i.test(result ?? ''))).toEqual([]);
    expect(fleet.aws.refusedHosts).toEqual([]);
  });
});
