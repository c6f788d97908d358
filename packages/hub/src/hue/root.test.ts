import type { WorkloadDeployment } from '@mural/kube';
import { isValidTag, packArtifact } from '@mural/oci';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rootTag } from '../settings.ts';
import { rootEntries, rootFiles, usableDuration } from './root.ts';
import { workloadTag } from './tag.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const settings = { url: 'oci://registry:5000/mural/workloads', interval: '5m', timeout: '60s' };

function deployed(name: string, more: Partial<WorkloadDeployment['spec']> = {}): WorkloadDeployment {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadDeployment',
    metadata: { name, namespace: 'default' },
    spec: { profileRef: { name }, environmentRef: { name: 'all' }, ...more },
    status: { spokes: [{ name: 'a', tag: 't', digest, ready: 'Unknown' }] },
  };
}

describe('the root of a spoke', () => {
  it('follows from what is recorded, in any order', async () => {
    const all = [deployed('x'), deployed('y', { dependsOn: [{ name: 'x' }] })];
    const files = rootFiles('a', rootEntries('a', all), settings);
    expect(rootFiles('a', rootEntries('a', [...all].reverse()), settings)).toEqual(files);
    expect((await packArtifact({ files })).contentDigest).toMatchInlineSnapshot(
      `"sha256:78a19ef77e269dcf47c4f556bbec62542a6bd71ae88b5ae0c4e5d33362218b28"`,
    );
  });

  it('holds what is for that spoke and is not being deleted', () => {
    const going = {
      ...deployed('going'),
      metadata: { name: 'going', namespace: 'default', deletionTimestamp: 'now' },
    };
    const all = [deployed('x'), going, { ...deployed('unpublished'), status: {} }];
    expect(rootEntries('a', all).map(({ deployment }) => deployment.metadata.name)).toEqual(['x']);
    expect(rootEntries('b', all)).toEqual([]);
  });

  it('is there without workloads too', () => {
    expect(rootFiles('a', [], settings)).toEqual([
      {
        path: '000-root.yaml',
        content:
          '---\napiVersion: v1\ndata:\n  spoke: a\nkind: ConfigMap\nmetadata:\n  name: mural-root\n  namespace: mural-system\n',
      },
    ]);
  });

  it('does not break of a duration that Flux would refuse', () => {
    const [, file] = rootFiles(
      'a',
      rootEntries('a', [deployed('x', { interval: 'soon', timeout: '0s' })]),
      settings,
    );
    expect(file?.content).toContain('interval: "10m"');
    expect(file?.content).toContain('timeout: "5m"');
    expect(usableDuration('1h30m')).toBe('1h30m');
    expect(usableDuration('10 m')).toBeUndefined();
    expect(usableDuration('1us')).toBeUndefined();
  });
});

describe('tags', () => {
  it('are valid whatever the names', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 300 }),
        fc.string({ minLength: 1, maxLength: 300 }),
        (namespace, name) => {
          expect(isValidTag(workloadTag(`n${namespace}`, name, digest))).toBe(true);
        },
      ),
    );
    expect(workloadTag('default', 'shop', digest)).toBe('default.shop-aaaaaaaaaaaa');
    expect(rootTag('x'.repeat(253))).toHaveLength(128);
  });
});
