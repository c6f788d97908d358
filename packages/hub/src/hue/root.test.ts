import { type WorkloadDeployment } from '@mural/kube';
import { isValidTag, packArtifact } from '@mural/oci';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rootTag } from '../settings.ts';
import { Contents } from './contents.ts';
import { groupFiles, type Member, ownRootFiles, usableDuration } from './root.ts';
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

function member(name: string, deployments: readonly WorkloadDeployment[]): Member {
  const contents = new Contents();
  for (const deployment of deployments) contents.set(`default/${deployment.metadata.name ?? ''}`, deployment);
  return { name, settings, content: contents.of(name) };
}

function textOf(files: readonly { readonly path: string; readonly content: string }[], path: RegExp): string {
  return files.find((file) => path.test(file.path))?.content ?? '';
}

describe('the own root of a spoke', () => {
  const files = ownRootFiles('a', settings, { id: '0123456789ab', suspended: false });

  it('follows from its input alone', async () => {
    expect((await packArtifact({ files })).contentDigest).toMatchInlineSnapshot(
      `"sha256:ebf4105481117de47a2dec6038bd0b2720c1ccb94ca7545461b0146eb56cec14"`,
    );
  });

  it('holds its own source, which outlives it and is looked at less often than the group', () => {
    const root = textOf(files, /root\.yaml$/);
    expect(textOf(files, /^root\.yaml$/)).toMatch(
      /prune: disabled[\s\S]*interval: "15m0s"[\s\S]*tag: spoke-a\n/,
    );
    expect(root).toContain('spoke: a');
    expect(textOf(files, /^group\.yaml$/)).toMatch(/interval: "5m"[\s\S]*tag: group-0123456789ab\n/);
    expect(textOf(files, /^group\.yaml$/)).toContain('path: "./spokes/a"');
  });

  it('of a suspended spoke suspends the applier of its group', () => {
    const suspended = ownRootFiles('a', settings, { id: '0123456789ab', suspended: true });
    expect(textOf(suspended, /^group\.yaml$/)).toContain('suspend: true');
    expect(textOf(files, /^group\.yaml$/)).not.toContain('suspend');
  });
});

describe('the artifact of a group', () => {
  it('follows from what is recorded, in any order', async () => {
    const all = [deployed('x'), deployed('y', { dependsOn: [{ name: 'x' }] })];
    const digestOf = async (members: readonly Member[]) =>
      (await packArtifact({ files: groupFiles('0123456789ab', members) })).contentDigest;
    const [a, b] = [member('a', all), member('b', all)];
    expect(await digestOf([b, member('a', [...all].reverse())])).toBe(await digestOf([a, b]));
    expect(await digestOf([a, b])).toMatchInlineSnapshot(
      `"sha256:daee86cdc2268f1609d4d3337b3208e6a4c1dbf6ad02336dc65029610688ddf6"`,
    );
  });

  it('holds what is not being deleted, once, and names it for those who are to have it', () => {
    const going = {
      ...deployed('going'),
      metadata: { name: 'going', namespace: 'default', deletionTimestamp: 'now' },
    };
    const all = [deployed('x'), going, { ...deployed('unpublished'), status: {} }];
    const a = member('a', all);
    const files = groupFiles('0123456789ab', [a, { ...a, name: 'same' }, member('b', all)]);
    expect(files.map(({ path }) => path.replace(/-[0-9a-f]{12}/, '-HASH'))).toEqual([
      'group/marker.yaml',
      'group/kustomization.yaml',
      'workloads/default.x-HASH/workload.yaml',
      'workloads/default.x-HASH/kustomization.yaml',
      'spokes/a/kustomization.yaml',
      'spokes/same/kustomization.yaml',
      'spokes/b/kustomization.yaml',
    ]);
    expect(textOf(files, /spokes\/same/)).toMatch(
      /- "\.\.\/\.\.\/group"\n {2}- "\.\.\/\.\.\/workloads\/default\.x-/,
    );
    expect(textOf(files, /spokes\/b/)).not.toContain('workloads');
  });

  it('does not break of a duration that Flux would refuse', () => {
    const files = groupFiles('0123456789ab', [
      member('a', [deployed('x', { interval: 'soon', timeout: '0s' })]),
    ]);
    const text = textOf(files, /workload\.yaml$/);
    expect(text).toContain('interval: "10m"');
    expect(text).toContain('timeout: "5m"');
    expect(usableDuration('1h30m')).toBe('1h30m');
    expect(usableDuration('10 m')).toBeUndefined();
    expect(usableDuration('1us')).toBeUndefined();
  });

  it('can be packed whatever the names', async () => {
    const long = {
      ...member('a', [
        { ...deployed('x'.repeat(63)), metadata: { name: 'x'.repeat(63), namespace: 'y'.repeat(63) } },
      ]),
      name: `${'b'.repeat(250)}.c`,
    };
    await expect(packArtifact({ files: groupFiles('0123456789ab', [long]) })).resolves.toBeDefined();
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
