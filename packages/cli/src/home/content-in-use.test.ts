import {
  formatPublishedRoot,
  PUBLISHED_ROOT_ANNOTATION,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  type WorkloadDeployment,
} from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { describe, expect, it } from 'vitest';
import { contentInUse } from './content-in-use.ts';
import { spokeObject } from './spokes.ts';

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

describe('contentInUse', () => {
  it('has what spokes report and what the hub has recorded for them', async () => {
    const client = createFakeKubeApi();
    const status: Spoke['status'] = {
      rootDigest: digest('a'),
      groupDigest: digest('b'),
      rootRegistryUrl: 'oci://old.example/mural/workloads',
      groupRegistryUrl: 'oci://new.example/mural/workloads',
      workloads: [
        { name: 'shop', namespace: 'default', digest: digest('c'), objects: 1, ready: 'True' },
        { name: 'late', namespace: 'default', objects: 0, ready: 'Unknown' },
      ],
    };
    const edge: Spoke = { ...spokeObject('edge-1', undefined, undefined), status };
    client.seed(edge);
    const deployment: WorkloadDeployment = {
      apiVersion: 'mural.dev/v1alpha1',
      kind: 'WorkloadDeployment',
      metadata: { name: 'shop', namespace: 'default' },
      spec: { profileRef: { name: 'shop' }, environmentRef: { name: 'all' } },
      status: { spokes: [{ name: 'edge-1', tag: 'default.shop-d', digest: digest('d'), ready: 'True' }] },
    };
    client.seed(deployment);
    const { digests, tags, urls } = await contentInUse(client);
    expect([...urls].sort()).toEqual([
      'oci://new.example/mural/workloads',
      'oci://old.example/mural/workloads',
    ]);
    expect([...digests].sort()).toEqual(['a', 'b', 'c', 'd'].map(digest));
    expect([...tags]).toEqual(['spoke-edge-1']);
  });

  it('has what was published for a spoke that never came', async () => {
    const client = createFakeKubeApi();
    const { metadata, ...spoke } = spokeObject('edge-2', undefined, undefined);
    const annotations = {
      [PUBLISHED_ROOT_ANNOTATION]: formatPublishedRoot({ root: digest('e'), group: digest('f') }),
      [ROOT_GROUP_ANNOTATION]: '0a1b',
    };
    const ociRegistry = { endpoint: 'oci://own.example/', repository: 'fleet' };
    const told: Spoke = { ...spoke, spec: { ociRegistry }, metadata: { ...metadata, annotations } };
    client.seed(told);
    const { digests, tags, urls } = await contentInUse(client);
    expect([...urls]).toEqual(['oci://own.example/fleet']);
    expect([...digests]).toEqual([digest('e'), digest('f')]);
    expect([...tags]).toEqual(['spoke-edge-2', 'group-0a1b']);
  });
});
