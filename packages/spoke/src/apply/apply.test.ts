import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  KubeError,
  KUSTOMIZATIONS,
  NAMESPACES,
  SECRETS,
} from '@mural/kube';
import { ApplyBed, conditionOf, configMap, NAMESPACE } from '../testing/bed.ts';

let bed: ApplyBed;
beforeEach(async () => {
  bed = await ApplyBed.create();
});
afterEach(async () => bed.close());

const OWNER = {
  'kustomize.toolkit.fluxcd.io/name': 'app',
  'kustomize.toolkit.fluxcd.io/namespace': NAMESPACE,
};

function invalid(message: string, causes?: readonly object[]): KubeError {
  return new KubeError('Invalid', message, {
    httpStatus: 422,
    ...(causes === undefined
      ? {}
      : {
          status: {
            apiVersion: 'v1',
            kind: 'Status',
            status: 'Failure',
            message,
            details: { causes },
          } as never,
        }),
  });
}

describe('applying', () => {
  it('applies an artifact, labels what it owns and says so as Flux does', async () => {
    const revision = await bed.publish({ 'a.yaml': configMap('one') });
    await bed.create('app');
    bed.start();
    const app = await bed.settled('app');
    expect(conditionOf(app, 'Ready')).toMatchObject({
      status: 'True',
      reason: 'ReconciliationSucceeded',
      message: `Applied revision: ${revision}`,
      observedGeneration: 1,
    });
    expect(app.status).toMatchObject({
      observedGeneration: 1,
      lastAppliedRevision: revision,
      lastAttemptedRevision: revision,
      inventory: { entries: [{ id: 'apps_one__ConfigMap', v: 'v1' }] },
    });
    expect(conditionOf(app, 'Reconciling')).toBeUndefined();
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({
      metadata: { labels: OWNER },
      data: { key: 'one' },
    });
    expect(app.metadata.finalizers).toEqual(['finalizers.fluxcd.io']);
    const [changed, done] = await bed.events();
    expect(changed).toMatchObject({
      type: 'Normal',
      reason: 'Progressing',
      message: 'ConfigMap/apps/one created',
      annotations: { 'kustomize.toolkit.fluxcd.io/revision': revision },
    });
    expect(done).toMatchObject({ type: 'Normal', reason: 'ReconciliationSucceeded' });
    expect(done?.message).toMatch(/^Reconciliation finished in \S+, next run in 10m0s$/);
  });

  it('applies definitions and namespaces before what needs them, even from one set', async () => {
    const definition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { kind: Widget, plural: widgets }
  versions: [{ name: v1, served: true, storage: true }]
`;
    const widget =
      'apiVersion: example.com/v1\nkind: Widget\nmetadata: { name: w, namespace: made }\nspec: { size: 1 }\n';
    const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: made }\n';
    await bed.publish({ 'a.yaml': `${widget}---\n${definition}---\n${namespace}` });
    await bed.create('app');
    bed.start();
    await eventually(() => bed.stored(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com'));
    await bed.clock.advance(1000);
    expect(
      bed
        .writes()
        .map(({ key }) => key)
        .sort(),
    ).toEqual(['made', 'widgets.example.com']);
    for (const [resource, name] of [
      [CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com'],
      [NAMESPACES, 'made'],
    ] as const) {
      const conditions = [
        { type: 'Established', status: 'True' },
        { type: 'NamesAccepted', status: 'True' },
      ];
      const status = { phase: 'Active', conditions };
      await bed.api.patch(resource, { name }, 'merge', { status }, { subresource: 'status' });
    }
    await bed.clock.advance(1000);
    const app = await bed.settled('app');
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    expect(
      bed
        .writes()
        .map(({ key }) => key)
        .at(-1),
    ).toBe('made/w');
  });

  it('gives up on a definition that is never established, and names it', async () => {
    const definition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec: { group: example.com, scope: Namespaced, names: { kind: Widget, plural: widgets }, versions: [{ name: v1 }] }
`;
    await bed.publish({ 'a.yaml': definition });
    await bed.create('app', { timeout: '30s' });
    bed.start();
    await eventually(() => bed.stored(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com'));
    await bed.clock.advance(31_000);
    const app = await bed.reason('app', 'ReconciliationFailed');
    expect(conditionOf(app, 'Ready')?.message).toMatch(
      /widgets.example.com is not established|timed out after 30s/,
    );
  });

  it('writes nothing of a stage when one object of it is refused', async () => {
    bed.api.intercept = ({ verb, key, dryRun }) => {
      if (verb === 'apply' && dryRun && key === 'apps/two') throw invalid('data: Invalid value');
    };
    const app = await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    expect(conditionOf(app, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'ReconciliationFailed',
      message: 'ConfigMap/apps/two dry-run failed (Invalid): data: Invalid value',
    });
    expect(bed.writes()).toEqual([]);
    expect(await bed.events()).toMatchObject([{ type: 'Warning', reason: 'ReconciliationFailed' }]);
  });

  it('names a kind that the API does not serve', async () => {
    const app = await bed.deliver({
      'a.yaml': 'apiVersion: no.such/v1\nkind: Thing\nmetadata: { name: x, namespace: apps }\n',
    });
    expect(conditionOf(app, 'Ready')?.message).toContain(
      'no matches for kind "Thing" in version "no.such/v1"',
    );
  });

  it('makes no call at all for objects that are as they were left', async () => {
    await bed.deliver({ 'a.yaml': configMap('one'), 'b.yaml': configMap('two') });
    const before = bed.api.calls.length;
    const app = await bed.reconcile();
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    const calls = bed.api.calls.slice(before).filter(({ resource }) => resource.kind === 'ConfigMap');
    expect(calls.map(({ verb }) => verb)).toEqual(['get', 'get']);
  });

  it('reads many objects of one kind with a single list', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`${index}.yaml`, configMap(`map-${index}`)]),
    );
    await bed.deliver(files);
    const before = bed.api.calls.length;
    await bed.reconcile();
    const calls = bed.api.calls.slice(before).filter(({ resource }) => resource.kind === 'ConfigMap');
    expect(calls.map(({ verb }) => verb)).toEqual(['list']);
  });

  it('after a restart tries unchanged objects by dry run, and writes none', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    await bed.halt();
    const before = bed.api.calls.length;
    bed.start();
    await bed.reconcile();
    const calls = bed.api.calls.slice(before).filter(({ resource }) => resource.kind === 'ConfigMap');
    expect(calls.slice(0, 2).map(({ verb, dryRun }) => [verb, dryRun])).toEqual([
      ['get', false],
      ['apply', true],
    ]);
    expect(bed.writes(before)).toEqual([]);
  });

  it('puts drift right at the next interval and says what it configured', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    await bed.api.patch(CONFIG_MAPS, { namespace: NAMESPACE, name: 'one' }, 'merge', {
      data: { key: 'drift' },
    });
    await bed.clock.advance(600_001);
    await eventually(
      () =>
        bed.stored(CONFIG_MAPS, 'one')?.['data'] !== undefined &&
        (bed.stored(CONFIG_MAPS, 'one')?.['data'] as Record<string, string>)['key'] === 'one',
    );
    await eventually(async () =>
      (await bed.events()).some(({ message }) => message === 'ConfigMap/apps/one configured'),
    );
  });

  it('comes back after the interval and not before', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    const before = bed.api.calls.length;
    await bed.clock.advance(599_000);
    expect(bed.api.calls.length).toBe(before);
    await bed.clock.advance(2000);
    await eventually(() => bed.api.calls.length > before);
  });

  it('spreads the interval by five per cent either way', async () => {
    bed.random = 1;
    await bed.deliver({ 'a.yaml': configMap('one') });
    const before = bed.api.calls.length;
    await bed.clock.advance(629_000);
    expect(bed.api.calls.length).toBe(before);
    await bed.clock.advance(1001);
    await eventually(() => bed.api.calls.length > before);
  });

  it('echoes the token of a requested reconcile', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    const app = await bed.reconcile('app', 'token-1');
    expect(app.status?.lastHandledReconcileAt).toBe('token-1');
  });

  it('does nothing while suspended, and goes on when resumed', async () => {
    await bed.publish({ 'a.yaml': configMap('one') });
    await bed.create('app', { suspend: true });
    bed.start();
    await bed.clock.advance(1_000_000);
    expect(bed.writes()).toEqual([]);
    expect(bed.get('app')?.status?.conditions).toBeUndefined();
    await bed.change('app', { suspend: false });
    await bed.reason('app', 'ReconciliationSucceeded');
  });

  it('applies a new revision as soon as the source offers it', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    const revision = await bed.publish({ 'a.yaml': configMap('one', 'two') });
    const app = await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'two' } });
    expect(app.status?.history).toHaveLength(2);
  });

  it('keeps the last five different results, newest first, and counts equal ones', async () => {
    await bed.deliver({ 'a.yaml': configMap('one', '0') });
    await bed.reconcile();
    for (let round = 1; round <= 5; round += 1) {
      const revision = await bed.publish({ 'a.yaml': configMap('one', String(round)) });
      await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    }
    await bed.reconcile();
    const app = await bed.until('app', ({ status }) => status?.history?.[0]?.['totalReconciliations'] === 2);
    expect(app.status?.history).toHaveLength(5);
    expect(app.status?.history?.[0]).toMatchObject({
      lastReconciledStatus: 'ReconciliationSucceeded',
      metadata: { revision: app.status?.lastAppliedRevision },
    });
  });
});

describe('immutable fields', () => {
  const immutable = (): void => {
    bed.api.intercept = ({ verb, dryRun, body }) => {
      const changed = JSON.stringify(body ?? '').includes('"two"');
      const live = bed.stored(CONFIG_MAPS, 'one');
      if (verb === 'apply' && dryRun && changed && live !== undefined) {
        throw invalid('ConfigMap "one" is invalid: data: field is immutable', [
          { message: 'field is immutable' },
        ]);
      }
    };
  };

  it('are a failure unless force is set', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    immutable();
    await bed.publish({ 'a.yaml': configMap('one', 'two') });
    const app = await bed.reason('app', 'ReconciliationFailed');
    expect(conditionOf(app, 'Ready')?.message).toContain('field is immutable');
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'one' } });
  });

  it.each([
    ['the spec says force', { force: true }, ''],
    ['the object says so', {}, '  annotations: { kustomize.toolkit.fluxcd.io/force: enabled }\n'],
  ])('make the object be recreated when %s', async (_name, spec, metadata) => {
    await bed.deliver({ 'a.yaml': configMap('one', 'one', metadata) }, spec);
    const { uid } = bed.stored(CONFIG_MAPS, 'one')?.metadata ?? {};
    immutable();
    const revision = await bed.publish({ 'a.yaml': configMap('one', 'two', metadata) });
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'two' } });
    expect(bed.stored(CONFIG_MAPS, 'one')?.metadata.uid).not.toBe(uid);
  });

  it('alone justify it: a plain validation error deletes nothing even with force', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') }, { force: true });
    bed.api.intercept = ({ verb, dryRun, key }) => {
      if (verb === 'apply' && dryRun && key === 'apps/one') {
        throw invalid('bad', [{ message: 'field is immutable' }, { message: 'must be a number' }]);
      }
    };
    await bed.publish({ 'a.yaml': configMap('one', 'two') });
    await bed.reason('app', 'ReconciliationFailed');
    expect(bed.api.calls.some(({ verb }) => verb === 'delete')).toBe(false);
  });
});

describe('annotations of an object', () => {
  const PREFIX = 'kustomize.toolkit.fluxcd.io';
  it.each([
    ['reconcile: disabled', 'reconcile: disabled'],
    ['ssa: Ignore', 'ssa: Ignore'],
    ['ssa: IfNotPresent', 'ssa: IfNotPresent'],
  ])('leave a live object alone for %s', async (_name, option) => {
    const [key = '', value = ''] = option.split(': ');
    bed.api.seed({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'one', namespace: NAMESPACE },
      data: { key: 'live' },
    } as never);
    const annotations = `  annotations: { ${PREFIX}/${key}: ${value} }\n`;
    const app = await bed.deliver({ 'a.yaml': configMap('one', 'desired', annotations) });
    expect(conditionOf(app, 'Ready')?.status).toBe('True');
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'live' } });
  });

  it('of the live object count too', async () => {
    bed.api.seed({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'one', namespace: NAMESPACE, annotations: { [`${PREFIX}/reconcile`]: 'Disabled' } },
      data: { key: 'live' },
    } as never);
    await bed.deliver({ 'a.yaml': configMap('one', 'desired') });
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'live' } });
  });

  it('create an object that is missing for ssa: IfNotPresent', async () => {
    await bed.deliver({
      'a.yaml': configMap('one', 'desired', `  annotations: { ${PREFIX}/ssa: IfNotPresent }\n`),
    });
    expect(bed.stored(CONFIG_MAPS, 'one')).toMatchObject({ data: { key: 'desired' } });
  });
});

describe('objects without a namespace of their own', () => {
  const bare = (name: string): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata: { key: v }\n`;

  it('go to default, are known as such in the inventory, and can be pruned', async () => {
    await bed.deliver({ 'a.yaml': bare('one'), 'b.yaml': bare('two') });
    expect(bed.get('app')?.status?.inventory?.entries.map(({ id }) => id)).toEqual([
      'default_one__ConfigMap',
      'default_two__ConfigMap',
    ]);
    const revision = await bed.publish({ 'a.yaml': bare('one') });
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
    expect(bed.api.stored(CONFIG_MAPS).map(({ metadata }) => metadata.name)).toEqual(['one']);
  });

  it('are the same objects as those that name the default namespace', async () => {
    const app = await bed.deliver({
      'a.yaml': bare('one'),
      'b.yaml': bare('one').replace('name: one', 'name: one, namespace: default'),
    });
    expect(conditionOf(app, 'Ready')).toMatchObject({ status: 'False', reason: 'BuildFailed' });
  });
});

describe('secrets', () => {
  it('never reach conditions or events, however the API quotes them', async () => {
    const password = 'hunter2"\nsecond';
    const encoded = Buffer.from(password).toString('base64');
    bed.api.intercept = ({ verb, resource }) => {
      if (verb === 'apply' && resource.kind === 'Secret') {
        throw invalid(
          `Secret "s" is invalid: data[p]: Invalid value: ${JSON.stringify(password)} or ${password} or "${encoded}"`,
        );
      }
    };
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', namespace: NAMESPACE },
      stringData: { p: password },
    };
    const app = await bed.deliver({ 'a.json.yaml': JSON.stringify(secret) });
    expect(conditionOf(app, 'Ready')).toMatchObject({ status: 'False', reason: 'ReconciliationFailed' });
    const told = JSON.stringify([app, await bed.events()]);
    expect(told).not.toContain('hunter2');
    expect(told).not.toContain(encoded);
    expect(bed.api.stored(SECRETS)).toEqual([]);
  });

  it('substituted from a Secret are masked in what the API answers', async () => {
    bed.api.seed({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'vars', namespace: NAMESPACE },
      data: { TOKEN: Buffer.from('hunter2').toString('base64') },
    } as never);
    bed.api.intercept = ({ verb, resource }) => {
      if (verb === 'apply' && resource.kind === 'ConfigMap') throw invalid('Invalid value: "hunter2"');
    };
    const app = await bed.deliver(
      { 'a.yaml': configMap('one', '${TOKEN}') },
      { postBuild: { substituteFrom: [{ kind: 'Secret', name: 'vars' }] } },
    );
    expect(conditionOf(app, 'Ready')?.message).toContain('Invalid value');
    expect(JSON.stringify([app, await bed.events()])).not.toContain('hunter2');
  });

  it('that are no YAML when substituted are not quoted by the parser', async () => {
    bed.api.seed({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'vars', namespace: NAMESPACE },
      data: { TOKEN: Buffer.from('*hunter2').toString('base64') },
    } as never);
    const app = await bed.deliver(
      { 'a.yaml': configMap('one', '${TOKEN}') },
      { postBuild: { substituteFrom: [{ kind: 'Secret', name: 'vars' }] } },
    );
    expect(conditionOf(app, 'Ready')?.reason).toBe('BuildFailed');
    expect(JSON.stringify([app, await bed.events()])).not.toContain('hunter2');
  });
});

describe('failures of the API', () => {
  it('while health is first judged do not leave the new revision half told', async () => {
    bed.api.seed({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other', namespace: NAMESPACE } });
    const healthChecks = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'other' }];
    await bed.deliver({ 'a.yaml': configMap('one') }, { healthChecks });
    let failed = 0;
    bed.api.intercept = ({ verb, key }) => {
      if (verb === 'get' && key === 'apps/other' && failed === 0) {
        failed += 1;
        throw new KubeError('Unreachable', 'connection refused');
      }
    };
    const revision = await bed.publish({ 'a.yaml': configMap('one', 'two') });
    await eventually(() => failed === 1);
    await bed.clock.advance(5000);
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
  });

  it('when the status is written do not lose the result', async () => {
    await bed.deliver({ 'a.yaml': configMap('one') });
    let failed = 0;
    bed.api.intercept = ({ verb, resource, subresource, body }) => {
      const settles = JSON.stringify(body ?? '').includes('lastAppliedRevision');
      if (
        verb === 'patch' &&
        resource.kind === KUSTOMIZATIONS.kind &&
        subresource === 'status' &&
        settles &&
        failed < 2
      ) {
        failed += 1;
        throw new KubeError('Unreachable', 'connection refused');
      }
    };
    const revision = await bed.publish({ 'a.yaml': configMap('one', 'two') });
    await eventually(() => failed === 1);
    await bed.clock.advance(2000);
    await eventually(() => failed === 2);
    await bed.clock.advance(5000);
    await bed.until('app', ({ status }) => status?.lastAppliedRevision === revision);
  });
});
