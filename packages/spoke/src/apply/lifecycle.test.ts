import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  KubeError,
  type KubeObject,
  KUSTOMIZATIONS,
  NODES,
  SECRETS,
} from '@mural/kube';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApplyBed, conditionOf, configMap, kustomization, NAMESPACE } from '../testing/bed.ts';

let bed: ApplyBed;
beforeEach(async () => {
  bed = await ApplyBed.create();
});
afterEach(async () => bed.close());

const names = (): (string | undefined)[] =>
  bed.api
    .stored(CONFIG_MAPS)
    .map(({ metadata }) => metadata.name)
    .sort();

describe('the inventory', () => {
  it('is written before the first object is', async () => {
    let known: number | undefined;
    bed.api.intercept = ({ verb, resource, dryRun }) => {
      if (verb === 'apply' && resource.kind === 'ConfigMap' && !dryRun) {
        known ??= bed.get('app')?.status?.inventory?.entries.length;
      }
    };
    await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    expect(known).toBe(2);
  });

  it('lets a run after a crash prune what a revision before it had half applied', async () => {
    await bed.publish({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    await bed.create('app');
    const crash = Promise.withResolvers<undefined>();
    bed.api.intercept = async ({ verb, key, dryRun }) => {
      // The process dies here: the call is never answered.
      if (verb === 'apply' && !dryRun && key === 'apps/two') {
        crash.resolve(undefined);
        await new Promise(() => undefined);
      }
    };
    bed.start();
    await crash.promise;
    await eventually(() => names().includes('one'));
    const halted = bed.halt();
    await bed.clock.advance(10_001);
    await halted;
    bed.api.intercept = undefined;
    await bed.publish({ 'c.yaml': configMap('three') });
    bed.start();
    await bed.reason('app', 'ReconciliationSucceeded');
    expect(names()).toEqual(['three']);
  });

  it('keeps, as they were, the objects of a revision that cannot be built', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    await bed.publish({ 'a.yaml': 'kind: [' });
    const app = await bed.reason('app', 'BuildFailed');
    expect(app.status?.inventory?.entries).toEqual([{ id: 'apps_one__ConfigMap', v: 'v1' }]);
    expect(names()).toEqual(['one']);
  });
});

describe('pruning', () => {
  it('deletes what left the artifact, and tells it', async () => {
    await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    const app = await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(names()).toEqual(['one']);
    expect(app.status?.inventory?.entries.map(({ id }) => id)).toEqual(['apps_one__ConfigMap']);
    expect((await bed.events()).some(({ message }) => message === 'ConfigMap/apps/two deleted')).toBe(true);
  });

  it.each([
    ['carries no labels of ours any more', { labels: null }],
    ['belongs to another Kustomization now', { labels: { 'kustomize.toolkit.fluxcd.io/name': 'other' } }],
    ['says prune: disabled', { annotations: { 'kustomize.toolkit.fluxcd.io/prune': 'disabled' } }],
    ['says reconcile: disabled', { annotations: { 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled' } }],
  ])('leaves an object alone that %s', async (_name, metadata) => {
    await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    await bed.api.patch(CONFIG_MAPS, { namespace: NAMESPACE, name: 'two' }, 'merge', { metadata });
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(names()).toEqual(['one', 'two']);
  });

  it('deletes nothing when spec.prune is false', async () => {
    await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') }, { prune: false });
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(names()).toEqual(['one', 'two']);
  });

  it('keeps in the inventory what could not be deleted, goes on with the rest, and tries again', async () => {
    await bed.deliver({ 'a.yaml': configMap('a'), 'b.yaml': configMap('b'), 'c.yaml': configMap('c') });
    bed.api.intercept = ({ verb, key }) => {
      if (verb === 'delete' && key === 'apps/b') throw new KubeError('Forbidden', 'not allowed');
    };
    await bed.publish({ 'a.yaml': configMap('a') });
    const failed = await bed.reason('app', 'PruneFailed');
    expect(conditionOf(failed, 'Ready')?.message).toBe('ConfigMap/apps/b delete failed: not allowed');
    expect(names()).toEqual(['a', 'b']);
    expect(failed.status?.inventory?.entries.map(({ id }) => id)).toEqual([
      'apps_a__ConfigMap',
      'apps_b__ConfigMap',
    ]);
    bed.api.intercept = undefined;
    await bed.clock.advance(2000);
    await bed.reason('app', 'ReconciliationSucceeded');
    expect(names()).toEqual(['a']);
  });

  it('does not delete an object that an entry of an older kind knows without its namespace', async () => {
    await bed.deliver({ 'a.yaml': configMap('one').replace('namespace: apps', 'namespace: default') });
    await bed.halt();
    const entries = [
      { id: '_one__ConfigMap', v: 'v1' },
      { id: 'default_one__ConfigMap', v: 'v1' },
    ];
    const ref = { namespace: NAMESPACE, name: 'app' };
    await bed.api.patch(
      KUSTOMIZATIONS,
      ref,
      'merge',
      { status: { inventory: { entries } } },
      { subresource: 'status' },
    );
    bed.start();
    const app = await bed.reconcile();
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    expect(bed.api.calls.some(({ verb }) => verb === 'delete')).toBe(false);
    expect(names()).toEqual(['one']);
    expect(app.status?.inventory?.entries).toEqual([{ id: 'default_one__ConfigMap', v: 'v1' }]);
  });
});

describe('deletion of a Kustomization', () => {
  const remove = async (): Promise<void> => {
    await bed.api.delete(KUSTOMIZATIONS, { namespace: NAMESPACE, name: 'app' });
  };
  const gone = async (): Promise<void> => {
    await eventually(() => bed.get('app') === undefined, 5000, 5);
  };

  it.each([
    ['MirrorPrune', true, []],
    ['MirrorPrune', false, ['one']],
    ['Delete', false, []],
    ['Orphan', true, ['one']],
    ['WaitForTermination', false, []],
  ])('with deletionPolicy %s and prune %s leaves %j', async (deletionPolicy, prune, left) => {
    await bed.deliver({ 'a.yaml': configMap('one') }, { deletionPolicy, prune });
    await remove();
    await gone();
    expect(names()).toEqual(left);
  });

  it('leaves the objects of a suspended one', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    await bed.change('app', { suspend: true });
    await remove();
    await gone();
    expect(names()).toEqual(['one']);
  });

  it('waits, with WaitForTermination, until finalizers of others let the objects go', async () => {
    const held = configMap('one', 'v', '  finalizers: [example.com/hold]\n');
    await bed.deliver({ 'a.yaml': held }, { deletionPolicy: 'WaitForTermination' });
    await remove();
    await eventually(() => bed.stored(CONFIG_MAPS, 'one')?.metadata.deletionTimestamp !== undefined);
    await bed.clock.advance(2000);
    expect(bed.get('app')).toBeDefined();
    const ref = { namespace: NAMESPACE, name: 'one' };
    await bed.api.patch(CONFIG_MAPS, ref, 'merge', { metadata: { finalizers: null } });
    await bed.clock.advance(2000);
    await gone();
  });

  it('does not wait, with WaitForTermination, for what it was told to keep', async () => {
    const kept = configMap('one', 'v', '  annotations: { kustomize.toolkit.fluxcd.io/prune: disabled }\n');
    await bed.deliver({ 'a.yaml': kept }, { deletionPolicy: 'WaitForTermination' });
    await remove();
    await gone();
    expect(names()).toEqual(['one']);
  });

  it('stays until its objects could be deleted', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    bed.api.intercept = ({ verb, resource }) => {
      if (verb === 'delete' && resource.kind === 'ConfigMap') throw new KubeError('Forbidden', 'not allowed');
    };
    await remove();
    await eventually(async () => (await bed.events()).some(({ reason }) => reason === 'PruneFailed'));
    expect(bed.get('app')).toBeDefined();
    bed.api.intercept = undefined;
    await bed.clock.advance(5000);
    await gone();
    expect(names()).toEqual([]);
  });
});

describe('dependencies', () => {
  it('are waited for, and their readiness is noticed at once', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.create('app', { dependsOn: [{ name: 'base' }] });
    bed.start();
    const waiting = await bed.reason('app', 'DependencyNotReady');
    expect(conditionOf(waiting, 'Ready')?.message).toBe(`dependency 'apps/base' not found`);
    expect(await bed.events()).toMatchObject([{ type: 'Normal', reason: 'DependencyNotReady' }]);
    expect(names()).toEqual([]);
    await bed.create('base');
    await bed.reason('base', 'ReconciliationSucceeded');
    await bed.reason('app', 'ReconciliationSucceeded');
  });

  it('of the same source must have applied the same revision', async () => {
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    const base = kustomization('base', { suspend: true });
    const ready = { type: 'Ready', status: 'True', reason: 'x', message: '', lastTransitionTime: '' };
    const status = { observedGeneration: 1, lastAppliedRevision: 'old', conditions: [ready] };
    bed.api.seed({ ...base, status } as KubeObject);
    await bed.create('app', { dependsOn: [{ name: 'base' }] });
    bed.start();
    const waiting = await bed.reason('app', 'DependencyNotReady');
    expect(conditionOf(waiting, 'Ready')?.message).toBe(`dependency 'apps/base' revision is not up to date`);
    const ref = { namespace: NAMESPACE, name: 'base' };
    const body = { status: { lastAppliedRevision: revision } };
    await bed.api.patch(KUSTOMIZATIONS, ref, 'merge', body, { subresource: 'status' });
    await bed.reason('app', 'ReconciliationSucceeded');
  });

  it('are judged by readyExpr alone when there is one', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    bed.api.seed({
      ...kustomization('base', { suspend: true }),
      metadata: { name: 'base', namespace: NAMESPACE, labels: { stage: 'wait' } },
    });
    const readyExpr = `dep.metadata.labels.stage == 'go' && self.metadata.name == 'app'`;
    await bed.create('app', { dependsOn: [{ name: 'base', readyExpr }] });
    bed.start();
    const waiting = await bed.reason('app', 'DependencyNotReady');
    expect(conditionOf(waiting, 'Ready')?.message).toContain('according to readyExpr');
    const ref = { namespace: NAMESPACE, name: 'base' };
    await bed.api.patch(KUSTOMIZATIONS, ref, 'merge', { metadata: { labels: { stage: 'go' } } });
    await bed.reason('app', 'ReconciliationSucceeded');
  });

  it('with a readyExpr that is no expression stall until the spec changes', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    bed.api.seed(kustomization('base', { suspend: true }));
    await bed.create('app', { dependsOn: [{ name: 'base', readyExpr: 'this is not CEL' }] });
    bed.start();
    const app = await bed.reason('app', 'InvalidCELExpression');
    expect(conditionOf(app, 'Stalled')?.status).toBe('True');
    expect(conditionOf(app, 'Reconciling')).toBeUndefined();
  });

  it('include the source: without it the Kustomization says so, and goes on when it comes', async () => {
    await bed.create('app');
    bed.start();
    await bed.clock.advance(2500);
    const app = await bed.reason('app', 'ArtifactFailed');
    expect(conditionOf(app, 'Ready')?.message).toBe(`Source 'OCIRepository/apps/source' not found`);
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.reason('app', 'ReconciliationSucceeded');
    expect(names()).toEqual(['one']);
  });

  it('include the artifact: one that was altered on the disk is not applied', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.storage.remove({ namespace: NAMESPACE, name: 'source' });
    await bed.create('app');
    bed.start();
    // The disk is real: how often it must be looked at within the grace does not depend on the clock alone.
    const app = await eventually(async () => {
      await bed.clock.advance(1000);
      const object = bed.get('app');
      return conditionOf(object, 'Ready')?.reason === 'ArtifactFailed' && object;
    });
    expect(conditionOf(app, 'Ready')?.message).toContain('not in the storage');
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.reason('app', 'ReconciliationSucceeded');
  });
});

const deployment = (name: string): string =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: ${name}, namespace: apps }\nspec: { replicas: 1 }\n`;
const AVAILABLE = {
  observedGeneration: 1,
  replicas: 1,
  updatedReplicas: 1,
  readyReplicas: 1,
  availableReplicas: 1,
  conditions: [
    { type: 'Available', status: 'True' },
    { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable' },
  ],
};
async function setStatus(name: string, status: object): Promise<void> {
  const ref = { namespace: NAMESPACE, name };
  await bed.api.patch(DEPLOYMENTS, ref, 'merge', { status }, { subresource: 'status' });
}

describe('health', () => {
  const withNode = (): void => bed.api.seed({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' } });

  it('is not judged unless asked for', async () => {
    withNode();
    const app = await bed.deliver({ 'a.yaml': deployment('web') });
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    expect(conditionOf(app, 'Healthy')).toBeUndefined();
  });

  it('is waited for with wait: true, and says meanwhile what runs', async () => {
    withNode();
    const revision = await bed.publish({ 'a.yaml': deployment('web') });
    await bed.create('app', { wait: true, timeout: '5m' });
    bed.start();
    const checking = await bed.until('app', (object) => conditionOf(object, 'Healthy') !== undefined);
    expect(conditionOf(checking, 'Ready')).toMatchObject({
      status: 'Unknown',
      reason: 'Progressing',
      message: `Running health checks for revision ${revision} with a timeout of 5m0s`,
    });
    expect(checking.status?.lastAppliedRevision).toBeUndefined();
    await setStatus('web', AVAILABLE);
    await bed.clock.advance(5000);
    const app = await bed.reason('app', 'ReconciliationSucceeded');
    expect(conditionOf(app, 'Healthy')).toMatchObject({ status: 'True', reason: 'Succeeded' });
    expect(app.status?.lastAppliedRevision).toBe(revision);
  });

  it('that does not come in time fails with what is not healthy, and is tried again', async () => {
    withNode();
    await bed.publish({ 'a.yaml': deployment('web') });
    await bed.create('app', { wait: true, timeout: '10s', retryInterval: '1m' });
    bed.start();
    await bed.until('app', (object) => conditionOf(object, 'Healthy') !== undefined);
    await bed.clock.advance(15_000);
    const app = await bed.reason('app', 'HealthCheckFailed');
    expect(conditionOf(app, 'Ready')?.message).toMatch(
      /^health check failed after 1\d\.?\d*s: timeout waiting for: \[Deployment\/apps\/web status: 'InProgress'\]$/,
    );
    expect(conditionOf(app, 'Healthy')?.status).toBe('False');
    await setStatus('web', AVAILABLE);
    await bed.clock.advance(65_000);
    await bed.reason('app', 'ReconciliationSucceeded');
  });

  it('that has failed for good is told at once', async () => {
    withNode();
    await bed.publish({ 'a.yaml': deployment('web') });
    await bed.create('app', { wait: true, timeout: '5m' });
    bed.start();
    await bed.until('app', (object) => conditionOf(object, 'Healthy') !== undefined);
    const progressing = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded' };
    await setStatus('web', { observedGeneration: 1, conditions: [progressing] });
    await bed.clock.advance(5000);
    const app = await bed.reason('app', 'HealthCheckFailed');
    expect(conditionOf(app, 'Ready')?.message).toContain(
      `failed early due to stalled resources: [Deployment/apps/web status: 'Failed']`,
    );
  });

  it('of what needs a node is unknown, not failed, on a cluster without nodes', async () => {
    const app = await bed.deliver(
      { 'a.yaml': `${deployment('web')}---\n${configMap('one')}` },
      { wait: true },
    );
    expect(bed.api.stored(NODES)).toEqual([]);
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    expect(conditionOf(app, 'Healthy')).toMatchObject({
      status: 'Unknown',
      reason: 'NoNodes',
      message: 'applied; 1 of 2 objects need a node and this cluster has none',
    });
  });

  it('can be that of other objects than those applied', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.create('app', {
      timeout: '1m',
      healthChecks: [{ apiVersion: 'v1', kind: 'Secret', name: 'other' }],
    });
    bed.start();
    await bed.until('app', (object) => conditionOf(object, 'Healthy')?.status === 'Unknown');
    bed.api.seed({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'other', namespace: NAMESPACE } });
    await bed.clock.advance(5000);
    await bed.reason('app', 'ReconciliationSucceeded');
    expect(bed.api.stored(SECRETS)).toHaveLength(1);
  });

  const byExpression = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    inProgress: `data.key == 'busy'`,
    failed: `data.key == 'broken'`,
    current: `data.key == 'fine'`,
  };
  it.each([
    ['busy', 'Progressing'],
    ['broken', 'HealthCheckFailed'],
    ['fine', 'ReconciliationSucceeded'],
  ])('by expressions: %s is %s', async (value, reason) => {
    await bed.publish({ 'a.yaml': configMap('one', value) });
    await bed.create('app', { wait: true, healthCheckExprs: [byExpression] });
    bed.start();
    await bed.until('app', (object) =>
      ['Ready', 'Healthy'].every((type) => conditionOf(object, type) !== undefined),
    );
    await bed.reason('app', reason);
  });

  it('by an expression that cannot be read stalls and says which', async () => {
    const exprs = [{ apiVersion: 'v1', kind: 'ConfigMap', current: 'this is not CEL' }];
    const app = await bed.deliver({ 'a.yaml': configMap('one') }, { wait: true, healthCheckExprs: exprs });
    expect(conditionOf(app, 'Ready')).toMatchObject({ status: 'False', reason: 'InvalidCELExpression' });
    expect(conditionOf(app, 'Stalled')?.message).toContain('this is not CEL');
    expect(names()).toEqual([]);
  });

  it('is given up for a new revision', async () => {
    withNode();
    await bed.publish({ 'a.yaml': deployment('web') });
    await bed.create('app', { wait: true, timeout: '5m' });
    bed.start();
    await bed.until('app', (object) => conditionOf(object, 'Healthy') !== undefined);
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(names()).toEqual(['one']);
  });
});

describe('what this controller cannot do', () => {
  it.each([
    ['decryption', { decryption: { provider: 'sops' } }],
    ['kubeConfig', { kubeConfig: { secretRef: { name: 'x' } } }],
    ['serviceAccountName', { serviceAccountName: 'x' }],
    ['sourceRef.kind', { sourceRef: { kind: 'GitRepository', name: 'source' } }],
  ])('is refused and not passed over: %s', async (field, spec) => {
    const app = await bed.deliver({ 'a.yaml': configMap('one') }, spec);
    expect(conditionOf(app, 'Ready')).toMatchObject({ status: 'False', reason: 'UnsupportedFeature' });
    expect(conditionOf(app, 'Stalled')).toMatchObject({ status: 'True', reason: 'UnsupportedFeature' });
    expect(conditionOf(app, 'Ready')?.message).toContain(field);
    expect(app.status?.observedGeneration).toBe(1);
    expect(bed.writes()).toEqual([]);
  });

  it('includes fields that it does not know', async () => {
    const app = await bed.deliver({ 'a.yaml': configMap('one') }, { somethingNew: true } as object);
    expect(conditionOf(app, 'Ready')).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    expect(conditionOf(app, 'Ready')?.message).toContain('somethingNew');
  });

  it('is taken up again when the spec is put right', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') }, { serviceAccountName: 'x' });
    await bed.change('app', { serviceAccountName: null });
    const app = await bed.reason('app', 'ReconciliationSucceeded');
    expect(conditionOf(app, 'Stalled')).toBeUndefined();
  });
});

describe('a run that hangs', () => {
  it('ends at the timeout, and the next one succeeds', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.create('app', { timeout: '20s' });
    let hung = false;
    bed.api.intercept = async ({ verb, dryRun }) => {
      if (verb !== 'apply' || !dryRun || hung) return;
      hung = true;
      await new Promise(() => undefined);
    };
    bed.start();
    await eventually(() => hung);
    await bed.clock.advance(20_001);
    const app = await bed.reason('app', 'ReconciliationFailed');
    expect(conditionOf(app, 'Ready')?.message).toBe('timed out after 20s');
    await bed.clock.advance(2000);
    await bed.reason('app', 'ReconciliationSucceeded');
  });
});
