import { silentLogger } from '@mural/core';
import { eventually, FakeClock, settle } from '@mural/core/testing';
import {
  type Cache,
  createCache,
  findCondition,
  KubeError,
  type KubeObject,
  KUSTOMIZATIONS,
  type Kustomization,
  MURAL_NAMESPACE,
  OCI_REPOSITORIES,
  type OCIRepository,
  PUBLISHED_ROOT_ANNOTATION,
  RECONCILE_REQUEST_ANNOTATION,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type SpokeAgent, startAgent } from './agent.ts';

const OLD = `sha256:${'a'.repeat(64)}`;
const NEW = `sha256:${'b'.repeat(64)}`;

let clock: FakeClock;
let hub: FakeKubeApi;
let cluster: FakeKubeApi;
let sources: Cache<OCIRepository>;
let kustomizations: Cache<Kustomization>;
let agent: SpokeAgent | undefined;

const time = '2026-01-01T00:00:00Z';

function workload(name: string, ready: 'True' | 'False', digest = OLD): KubeObject {
  const condition = { type: 'Ready', status: ready, reason: 'ReconciliationSucceeded', message: 'm' };
  return {
    apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
    kind: 'Kustomization',
    metadata: {
      name: `shop.${name}`,
      namespace: MURAL_NAMESPACE,
      generation: 1,
      labels: { 'mural.dev/workload-name': name, 'mural.dev/workload-namespace': 'shop' },
    },
    spec: { interval: '10m', prune: true, sourceRef: { kind: 'OCIRepository', name } },
    status: {
      conditions: [
        { ...condition, observedGeneration: 1, lastTransitionTime: time },
        { type: 'Healthy', status: 'Unknown', reason: 'NoNodes', message: '', lastTransitionTime: time },
      ],
      lastAppliedRevision: digest,
      inventory: { entries: [{ id: 'x_a__ConfigMap', v: 'v1' }] },
      history: [
        {
          lastReconciledStatus: 'ReconciliationSucceeded',
          firstReconciled: time,
          metadata: { revision: digest },
        },
      ],
    },
  } as KubeObject;
}

function root(kind: 'OCIRepository' | 'Kustomization', status: object): KubeObject {
  const group = kind === 'Kustomization' ? 'kustomize' : 'source';
  return {
    apiVersion: `${group}.toolkit.fluxcd.io/v1`,
    kind,
    metadata: { name: 'mural-root', namespace: MURAL_NAMESPACE },
    status,
  } as KubeObject;
}

const A = 'oci://a.example.org/mural';
const B = 'oci://b.example.org/mural';

/** A source that has what its spec asks for, unless told otherwise. */
function source(name: string, url: string, more: object = {}): KubeObject {
  const ready = { type: 'Ready', status: 'True', reason: 'Succeeded', message: '', lastTransitionTime: time };
  const labels = name.startsWith('mural-') ? {} : { 'mural.dev/workload-name': name };
  return {
    apiVersion: 'source.toolkit.fluxcd.io/v1',
    kind: 'OCIRepository',
    metadata: { name, namespace: MURAL_NAMESPACE, generation: 2, labels },
    spec: { url, interval: '5m' },
    status: { observedGeneration: 2, conditions: [ready], artifact: { revision: `x@${OLD}` }, ...more },
  } as KubeObject;
}

function spoke(): Spoke {
  const [found] = hub.stored<Spoke>(SPOKES);
  if (found === undefined) throw new Error('there is no Spoke');
  return found;
}

const reports = (): number => hub.calls.filter(({ subresource }) => subresource === 'status').length;

/** Lets the agent see what changed and wait out its debounce. */
async function pass(ms = 200): Promise<void> {
  await settle();
  await clock.advance(ms);
}

function start(): void {
  sources.start();
  kustomizations.start();
  agent = startAgent({
    client: cluster,
    hub,
    name: 'edge-1',
    sources,
    kustomizations,
    version: '1.2.3',
    clock,
    random: () => 0.5,
    log: silentLogger,
  });
}

beforeEach(() => {
  clock = new FakeClock();
  hub = createFakeKubeApi({ clock });
  cluster = createFakeKubeApi({ clock });
  hub.seed({ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 'edge-1' } });
  hub.seed({ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: 'edge-2' } });
  const shared = { client: cluster, clock, random: () => 0.5, log: silentLogger };
  sources = createCache<OCIRepository>({ ...shared, resource: OCI_REPOSITORIES });
  kustomizations = createCache<Kustomization>({ ...shared, resource: KUSTOMIZATIONS });
});

afterEach(async () => {
  hub.intercept = undefined;
  await agent?.stop();
  agent = undefined;
  await Promise.all([sources.stop(), kustomizations.stop()]);
});

describe('the report', () => {
  it('tells of each workload what its Kustomization says, and of nothing else', async () => {
    cluster.seed(
      workload('web', 'True'),
      workload('api', 'False', NEW),
      root('Kustomization', { lastAppliedRevision: `spoke-edge-1@${NEW}` }),
    );
    start();
    const { status } = await eventually(() => spoke().status?.workloads && spoke());
    expect(status?.rootDigest).toBe(NEW);
    expect(status?.agentVersion).toBe('1.2.3');
    expect(status?.lastHeartbeatTime).toBe('2026-01-01T00:00:00Z');
    expect(status?.workloads).toEqual([
      expect.objectContaining({ name: 'api', namespace: 'shop', digest: NEW, ready: 'False' }),
      {
        name: 'web',
        namespace: 'shop',
        digest: OLD,
        objects: 1,
        ready: 'True',
        reason: 'ReconciliationSucceeded',
        message: 'm',
        healthy: 'Unknown',
        healthReason: 'NoNodes',
        readyTime: time,
      },
    ]);
    expect(status?.workloads?.[0]).not.toHaveProperty('readyTime');
    expect(findCondition(status?.conditions, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'WorkloadsNotReady',
      message: '1 of 2 workloads not ready',
    });
    expect(hub.stored<Spoke>(SPOKES)[1]?.status).toBeUndefined();
  });

  it('tells the registry that everything came from, and takes it back while that is not one', async () => {
    const other = { ...source('mine', B), metadata: { name: 'mine', namespace: MURAL_NAMESPACE } };
    const foreign = { ...source('web', B), metadata: { name: 'web', namespace: 'elsewhere' } };
    const names = ['mural-root', 'mural-group', 'shop.web'];
    cluster.seed(...names.map((name) => source(name, A)), other, foreign);
    cluster.seed({
      ...root('Kustomization', { lastAppliedRevision: `g@${NEW}` }),
      metadata: { name: 'mural-group', namespace: MURAL_NAMESPACE },
    });
    start();
    const url = async (wanted: string | undefined): Promise<void> => {
      await eventually(async () => {
        await clock.advance(200);
        return reports() > 0 && (spoke().status?.registryUrl ?? undefined) === wanted;
      });
    };
    await url(A);
    expect(spoke().status).toMatchObject({ groupDigest: NEW, groupRegistryUrl: A, rootRegistryUrl: A });
    for (const name of names) {
      cluster.seed(source(name, B));
      await url(name === 'shop.web' ? B : undefined);
    }
    expect(spoke().status).toMatchObject({ groupRegistryUrl: B, rootRegistryUrl: B });
    expect(spoke().status).not.toHaveProperty('registryUrl', null);
    cluster.seed(source('mural-group', A, { observedGeneration: 1 }));
    await url(undefined);
    cluster.seed(source('mural-group', B));
    await url(B);
    const failed = { type: 'Ready', status: 'False', reason: 'AuthenticationFailed', message: '' };
    cluster.seed(source('mural-root', B, { conditions: [{ ...failed, lastTransitionTime: time }] }));
    await url(undefined);
    // Its own source may fail or be elsewhere: what it can read besides is told all the same.
    expect(spoke().status).toMatchObject({ groupRegistryUrl: B, rootRegistryUrl: B });
    cluster.seed(source('mural-root', A));
    await eventually(async () => {
      await clock.advance(200);
      return spoke().status?.rootRegistryUrl === A;
    });
    expect(spoke().status).toMatchObject({ groupRegistryUrl: B });
  });

  it('tells why something cannot be fetched, the root and the group first, until it can be', async () => {
    const failed = (message: string) => ({
      conditions: [
        {
          ...{ type: 'Ready', status: 'False', reason: 'AuthenticationFailed', message },
          lastTransitionTime: time,
        },
      ],
    });
    const fetching = async (message: string | undefined): Promise<void> => {
      await eventually(async () => {
        await clock.advance(200);
        const condition = findCondition(spoke().status?.conditions, 'FetchFailed');
        return reports() > 0 && condition?.message === message;
      });
    };
    cluster.seed(source('mural-root', A), source('mural-group', B, failed('no')));
    cluster.seed(source('a.web', B, failed('never')));
    start();
    await fetching('OCIRepository mural-group: no');
    expect(findCondition(spoke().status?.conditions, 'FetchFailed')).toMatchObject({
      ...{ status: 'True', reason: 'AuthenticationFailed' },
    });
    cluster.seed(source('mural-group', B));
    await fetching('OCIRepository a.web: never');
    cluster.seed(source('a.web', B));
    await fetching(undefined);
    expect(findCondition(spoke().status?.conditions, 'Ready')?.status).toBe('True');
  });

  it('comes soon after a change, once for a burst, and else only as a heartbeat', async () => {
    start();
    await eventually(() => reports() === 1);
    await pass(5000);
    expect(reports()).toBe(1);
    cluster.seed(workload('a', 'True'), workload('b', 'True'), workload('c', 'True'));
    await pass();
    await eventually(() => spoke().status?.workloads?.length === 3);
    expect(reports()).toBe(2);
    await pass(10_000);
    expect(reports()).toBe(2);
    await pass(30_000);
    await eventually(() => reports() === 3);
    expect(hub.calls.findLast(({ subresource }) => subresource === 'status')?.body).toEqual({
      status: { lastHeartbeatTime: spoke().status?.lastHeartbeatTime },
    });
  });

  it('waits for a hub that cannot be reached, and then tells all', async () => {
    hub.intercept = ({ verb }) => {
      if (verb === 'patch') throw new KubeError('Unreachable', 'no route');
    };
    start();
    await pass(60_000);
    cluster.seed(workload('web', 'True'));
    hub.intercept = undefined;
    await eventually(async () => {
      await clock.advance(1000);
      return spoke().status?.workloads?.length === 1;
    });
  });

  it('takes back what the hub said of its silence', async () => {
    start();
    await eventually(() => reports() === 1);
    await pass();
    const missed = {
      type: 'Ready',
      status: 'Unknown',
      reason: 'HeartbeatMissed',
      message: '',
      lastTransitionTime: time,
    };
    await hub.patch(
      SPOKES,
      { name: 'edge-1' },
      'merge',
      { status: { conditions: [missed] } },
      { subresource: 'status' },
    );
    await eventually(async () => {
      await clock.advance(200);
      return findCondition(spoke().status?.conditions, 'Ready')?.reason === 'WorkloadsReady';
    });
  });

  it('is given whole to a Spoke that was deleted and made anew', async () => {
    cluster.seed(workload('web', 'True'));
    start();
    await eventually(() => spoke().status?.workloads?.length === 1);
    await hub.delete(SPOKES, { name: 'edge-1' });
    await pass();
    await hub.create(SPOKES, {
      apiVersion: 'mural.dev/v1alpha1',
      kind: 'Spoke',
      metadata: { name: 'edge-1' },
    });
    await eventually(async () => {
      await clock.advance(1000);
      return (
        hub.stored<Spoke>(SPOKES).find(({ metadata }) => metadata.name === 'edge-1')?.status?.workloads
          ?.length === 1
      );
    });
  });
});

describe('a nudge', () => {
  const publish = async (digest: string): Promise<void> => {
    const annotations = { [PUBLISHED_ROOT_ANNOTATION]: digest };
    await hub.patch(SPOKES, { name: 'edge-1' }, 'merge', { metadata: { annotations } });
  };
  const requested = (): string | undefined =>
    cluster.stored(OCI_REPOSITORIES)[0]?.metadata.annotations?.[RECONCILE_REQUEST_ANNOTATION];

  it('makes the root be looked at, once, when another one was published', async () => {
    cluster.seed(root('OCIRepository', { artifact: { revision: `spoke-edge-1@${OLD}` } }));
    start();
    await publish(NEW);
    expect(await eventually(requested)).toContain(NEW);
    await publish(NEW);
    await pass(1000);
    expect(cluster.calls.filter(({ verb }) => verb === 'patch')).toHaveLength(1);
  });

  it('is repeated while the source does not find it, as with a mirror that still has the old one', async () => {
    cluster.seed(root('OCIRepository', { artifact: { revision: `spoke-edge-1@${OLD}` } }));
    start();
    await publish(NEW);
    const asked = () => cluster.calls.filter(({ verb }) => verb === 'patch').length;
    await eventually(() => asked() === 1);
    await pass(20_000);
    await eventually(() => asked() === 2);
    await pass(55_000);
    await eventually(() => asked() === 3);
    cluster.seed(root('OCIRepository', { artifact: { revision: `spoke-edge-1@${NEW}` } }));
    await pass(70_000);
    await pass(200_000);
    expect(asked()).toBe(3);

    await publish(OLD);
    for (let turn = 0; turn < 20; turn += 1) await pass(60_000);
    expect(asked()).toBe(8);
  });

  it('tells root and group apart, and asks only for what differs', async () => {
    const group = { ...root('OCIRepository', { artifact: { revision: `group-1@${OLD}` } }) };
    cluster.seed(root('OCIRepository', { artifact: { revision: `spoke-edge-1@${OLD}` } }), {
      ...group,
      metadata: { ...group.metadata, name: 'mural-group' },
    });
    start();
    const asked = () =>
      cluster.calls.filter(({ verb }) => verb === 'patch').map(({ key }) => key.replace(/.*\//, ''));
    await publish(`${OLD},${NEW}`);
    await eventually(() => asked().join() === 'mural-group');
    await publish(`${NEW},${NEW}`);
    await eventually(() => asked().join() === 'mural-group,mural-root');
    await pass(1000);
    expect(asked()).toHaveLength(2);
  });

  it('is not passed on when the published root is stored already', async () => {
    cluster.seed(root('OCIRepository', { artifact: { revision: `spoke-edge-1@${NEW}` } }));
    start();
    await publish(NEW);
    await pass(1000);
    expect(requested()).toBeUndefined();
  });

  it('that could not be passed on is tried again with the next change', async () => {
    cluster.seed(root('OCIRepository', {}));
    cluster.intercept = ({ verb }) => {
      if (verb === 'patch') throw new KubeError('Unreachable', 'no route');
    };
    start();
    await publish(OLD);
    await pass();
    cluster.intercept = undefined;
    cluster.seed(root('OCIRepository', { lastHandledReconcileAt: 'x' }));
    expect(await eventually(requested)).toContain(OLD);
  });
});
