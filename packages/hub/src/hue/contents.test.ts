import type { WorkloadDeployment } from '@mural/kube';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Contents } from './contents.ts';

type Recorded = readonly (readonly [spoke: string, digest: string])[];

function deployed(name: string, recorded: Recorded, interval: string, deleted: boolean): WorkloadDeployment {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadDeployment',
    metadata: { name, namespace: 'default', ...(deleted ? { deletionTimestamp: 'now' } : {}) },
    spec: { profileRef: { name }, environmentRef: { name: 'all' }, interval },
    status: {
      spokes: recorded.map(([spoke, digest]) => ({ name: spoke, tag: 't', digest, ready: 'Unknown' })),
    },
  };
}

const change = fc.record({
  name: fc.constantFrom('x', 'y', 'z'),
  gone: fc.boolean(),
  deleted: fc.boolean(),
  interval: fc.constantFrom('10m', '5m'),
  recorded: fc.uniqueArray(
    fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('sha256:1', 'sha256:2')),
    { selector: ([spoke]) => spoke },
  ),
});

describe('what spokes are to have', () => {
  it('is the same whatever the way there, and tells which spokes a change concerns', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const contents = new Contents();
        const last = new Map<string, WorkloadDeployment>();
        for (const { name, gone, deleted, interval, recorded } of changes) {
          const before = ['a', 'b', 'c', 'd'].map((spoke) => contents.of(spoke).id);
          const deployment = gone ? undefined : deployed(name, recorded, interval, deleted);
          const concerned = contents.set(`default/${name}`, deployment);
          if (deployment === undefined) last.delete(name);
          else last.set(name, deployment);
          const different = ['a', 'b', 'c', 'd'].filter(
            (spoke, index) => contents.of(spoke).id !== before[index],
          );
          expect([...concerned].sort()).toEqual(different);
        }
        const anew = new Contents();
        for (const [name, deployment] of [...last].reverse()) anew.set(`default/${name}`, deployment);
        for (const spoke of ['a', 'b', 'c', 'd']) {
          expect(contents.of(spoke).id).toBe(anew.of(spoke).id);
          expect([...contents.of(spoke).entries.keys()].sort()).toEqual(
            [...anew.of(spoke).entries.keys()].sort(),
          );
        }
      }),
    );
  });

  it('is one object for spokes that have the same, so that thousands cost what one does', () => {
    const contents = new Contents();
    contents.set('default/x', deployed('x', [['a', 'sha256:1']], '10m', false));
    contents.set(
      'default/x',
      deployed(
        'x',
        [
          ['a', 'sha256:1'],
          ['b', 'sha256:1'],
        ],
        '10m',
        false,
      ),
    );
    contents.set('default/y', deployed('y', [['b', 'sha256:1']], '10m', false));
    contents.set(
      'default/y',
      deployed(
        'y',
        [
          ['b', 'sha256:1'],
          ['a', 'sha256:1'],
        ],
        '10m',
        false,
      ),
    );
    expect(contents.of('a')).toBe(contents.of('b'));
  });
});
