import type { KubeObject } from '@mural/kube';
import { describe, expect, it } from 'vitest';
import { configMap, type Files, NAMESPACE } from '../testing/bed.ts';
import { BASE, build, json, merge, nameOf, pods } from '../testing/build-bed.ts';

describe('what is read', () => {
  it('is every YAML file of a folder without a kustomization, and what those of its folders list', async () => {
    const files = {
      'app/a.yaml': configMap('a'),
      'app/deep/b.yml': configMap('b'),
      'app/readme.md': 'no: [yaml',
      'app/own/kustomization.yaml': 'resources: [c.yaml]',
      'app/own/c.yaml': configMap('c'),
      'app/own/unlisted.yaml': configMap('unlisted'),
      'other/d.yaml': configMap('d'),
    };
    expect((await build(files, { path: './app/' })).map(nameOf).sort()).toEqual(['a', 'b', 'c']);
  });

  it('is what Kubernetes reads in it: YAML 1.1, lists, several documents, merge keys', async () => {
    const text = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: { name: a, namespace: apps }
  data: { "yes": "on" }
  extra: { bool: yes, mode: 0644, quoted: "0644" }
---
# nothing but a comment
---
base: &base { x: 1 }
apiVersion: v1
kind: ConfigMap
metadata: { name: b, namespace: apps }
merged: { <<: *base, y: 2 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: tool, annotations: { config.kubernetes.io/local-config: "true" } }
`;
    const [a, b, ...rest] = await build({ 'a.yaml': text });
    expect(rest).toEqual([]);
    expect(a).toMatchObject({ data: { yes: 'on' }, extra: { bool: true, mode: 420, quoted: '0644' } });
    expect(b).toMatchObject({ merged: { x: 1, y: 2 } });
  });

  it.each([
    ['broken YAML, with file and line', { 'x/a.yaml': 'a: 1\nb: [\n' }, /^x\/a\.yaml:\d: /],
    ['a key that is there twice', { 'a.yaml': `${configMap('a')}kind: Other\n` }, /^a\.yaml:\d+: .*unique/i],
    ['an alias bomb', { 'a.yaml': bomb() }, /^a\.yaml: the document cannot be read/],
    ['a document that is no object', { 'a.yaml': '- a\n' }, /^a\.yaml: a document is not an object/],
    ['no kind', { 'a.yaml': 'apiVersion: v1\n' }, /^a\.yaml: an object has no kind/],
    ['no name', { 'a.yaml': 'apiVersion: v1\nkind: X\n' }, /^a\.yaml: X has no metadata\.name/],
    [
      'an object twice',
      { 'a.yaml': configMap('a'), 'b.yaml': configMap('a') },
      /^b\.yaml: ConfigMap\/apps\/a is already defined in a\.yaml/,
    ],
    ['what is not UTF-8', { 'a.yaml': 'a: \ud800' }, /a\.yaml/],
    ['a kustomization that includes itself', { 'kustomization.yaml': 'resources: [.]' }, /includes itself/],
  ])('is refused for %s', async (_name, files, message) => {
    await expect(build(files as Files)).rejects.toThrow(message);
  });

  it.each(['../x', 'a/../../x'])('is never outside the artifact: %s', async (path) => {
    await expect(build({ 'a.yaml': configMap('a') }, { path })).rejects.toThrow('leads out of the artifact');
  });

  it('is refused when the path is not there', async () => {
    await expect(build({ 'a.yaml': configMap('a') }, { path: 'b' })).rejects.toThrow(
      'kustomization path not found: b: no such file or directory',
    );
  });
});

describe('substitution after the build', () => {
  const text = (value: string, metadata = ''): Files => ({ 'a.yaml': configMap('a', value, metadata) });
  const dataOf = async (
    value: string,
    postBuild: object,
    objects: readonly KubeObject[] = [],
  ): Promise<unknown> => {
    const [object] = await build(text(value), { postBuild }, objects);
    return (object?.['data'] as Record<string, unknown>)['key'];
  };
  const vars = (kind: string, name: string, data: Readonly<Record<string, string>>): KubeObject =>
    ({ apiVersion: 'v1', kind, metadata: { name, namespace: NAMESPACE }, data }) as KubeObject;

  it('takes variables from ConfigMaps and Secrets in order, and its own over them', async () => {
    const objects = [
      vars('ConfigMap', 'one', { A: 'a1', B: 'b1', C: 'c1' }),
      vars('Secret', 'two', {
        B: Buffer.from('b2\n').toString('base64'),
        C: Buffer.from('c2').toString('base64'),
      }),
    ];
    const substituteFrom = [
      { kind: 'ConfigMap', name: 'one' },
      { kind: 'Secret', name: 'two' },
      { kind: 'ConfigMap', name: 'none', optional: true },
    ];
    const postBuild = { substituteFrom, substitute: { C: 'c3' } };
    expect(await dataOf('${A} ${B} ${C}', postBuild, objects)).toBe('a1 b2 c3');
  });

  it('fails for a variable that nobody sets, with its name and what to do', async () => {
    const failed = build(text('${MISSING}'), { postBuild: { substitute: { A: 'x' } } });
    await expect(failed).rejects.toThrow(
      `post build failed for 'ConfigMap/apps/a': variable not set (strict mode): "MISSING"`,
    );
    await expect(failed).rejects.toMatchObject({ hint: expect.stringContaining('$${MISSING}') as string });
  });

  it('fails for a source that is missing', async () => {
    const postBuild = { substituteFrom: [{ kind: 'ConfigMap', name: 'none' }] };
    await expect(build(text('x'), { postBuild })).rejects.toThrow(
      `substitute from 'ConfigMap/none' error: ConfigMap "none" not found`,
    );
  });

  it('leaves the text alone without variables, unless told to substitute always', async () => {
    expect(await dataOf('${A:-x}', {})).toBe('${A:-x}');
    expect(await dataOf('${A:-x}', { substituteStrategy: 'Always' })).toBe('x');
  });

  it.each(['labels', 'annotations'])('leaves an object alone that says so in its %s', async (where) => {
    const metadata = `  ${where}: { kustomize.toolkit.fluxcd.io/substitute: disabled }\n`;
    const [object] = await build(text('${A}', metadata), { postBuild: { substitute: { A: 'x' } } });
    expect(object).toMatchObject({ data: { key: '${A}' } });
  });

  it('keeps texts that look like something else what they are', async () => {
    const [object] = await build(
      {
        'a.yaml': `${configMap('a', '${A}')}  "yes": "yes"\n  octal: "0644"\n  lines: |\n    a: \${A}\n    b\n`,
      },
      { postBuild: { substitute: { A: 'x' } } },
    );
    expect(object).toMatchObject({ data: { key: 'x', yes: 'yes', octal: '0644', lines: 'a: x\nb\n' } });
  });
});

it('common metadata is set over the objects’ own, and the owner’s labels over that', async () => {
  const commonMetadata = {
    labels: { team: 'x', 'kustomize.toolkit.fluxcd.io/name': 'stolen' },
    annotations: { note: 'y' },
  };
  const [object] = await build(
    { 'a.yaml': configMap('a', 'v', '  labels: { team: old, own: z }\n') },
    { commonMetadata },
  );
  expect(object?.metadata).toMatchObject({
    labels: { team: 'x', own: 'z', 'kustomize.toolkit.fluxcd.io/name': 'app' },
    annotations: { note: 'y' },
  });
});

describe('what only kustomize can do', () => {
  it('is said to need it when it is missing', async () => {
    await expect(
      build({ 'a.yaml': configMap('a') }, { namePrefix: 'x-' }, [], '/nonexistent'),
    ).rejects.toThrow(/kustomize/);
  });

  it.each(['https://example.com/x.yaml', 'github.com/a/b', 'git@example.com:a/b', 'ssh://example.com/a'])(
    'loads nothing from outside: %s',
    async (url) => {
      await expect(build({ 'kustomization.yaml': `resources: ["${url}"]` })).rejects.toThrow(
        'outside the artifact, which is not allowed',
      );
    },
  );
});

it('a patch of a port leaves one of the same number and another protocol alone', async () => {
  const patch = pods('{containers: [{name: web, ports: [{containerPort: 53, protocol: UDP, name: dns}]}]}');
  const objects = await build({ 'a.yaml': BASE }, patch);
  const web = JSON.stringify(objects.find(({ kind }) => kind === 'Deployment'));
  expect(web).toContain('{"containerPort":53,"protocol":"UDP","name":"dns"}');
  expect(web).toContain('{"containerPort":53,"protocol":"TCP"}');
});

describe('a patch is refused', () => {
  it.each([
    [
      'that matches nothing',
      merge('v1', 'ConfigMap', 'metadata: {name: absent}'),
      'no object matches ConfigMap absent',
    ],
    [
      'that is for another namespace',
      merge('v1', 'ConfigMap', 'metadata: {name: one}'),
      'no object matches ConfigMap one',
    ],
    ['that names nothing', { patches: [{ patch: 'data: {}' }] }, 'names neither a target nor kind'],
    [
      'that is a list without target',
      { patches: [{ patch: '- {op: test, path: /kind, value: X}' }] },
      'needs a target',
    ],
    ['that is a text', { patches: [{ patch: 'text' }] }, 'is neither'],
    ['that is no YAML', { patches: [{ patch: '[' }] }, 'spec.patches[0]:1'],
    [
      'with an unknown operation',
      json({ kind: 'Service' }, '- {op: do, path: /x}'),
      '"do" is not an operation',
    ],
    ['without path', json({ kind: 'Service' }, '- {op: add}'), 'no op or no path'],
    [
      'into nowhere',
      json({ kind: 'ConfigMap' }, '- {op: add, path: /metadata/labels/x, value: y}'),
      'there is nothing at /metadata/labels',
    ],
    [
      'that removes nothing',
      json({ kind: 'ConfigMap' }, '- {op: remove, path: /data/absent}'),
      'there is nothing at /data/absent',
    ],
    [
      'outside a list',
      json({ kind: 'Service' }, '- {op: replace, path: /spec/ports/5, value: 9}'),
      'is outside the list',
    ],
    [
      'with a wrong index',
      json({ kind: 'Service' }, '- {op: add, path: /spec/ports/01, value: 9}'),
      'is outside the list',
    ],
    [
      'into a scalar',
      json({ kind: 'ConfigMap' }, '- {op: add, path: /data/k/x, value: y}'),
      'is inside a scalar',
    ],
    [
      'whose test fails',
      json({ kind: 'ConfigMap' }, '- {op: test, path: /kind, value: X}'),
      'test of /kind failed',
    ],
    [
      'to the prototype',
      json({ kind: 'ConfigMap' }, '- {op: add, path: /__proto__/x, value: y}'),
      'is not allowed',
    ],
    [
      'with a target that is no expression',
      json({ name: '(' }, '- {op: test, path: /kind, value: X}'),
      'is not a regular expression',
    ],
  ])('%s', async (_name, spec, message) => {
    await expect(build({ 'a.yaml': BASE }, spec)).rejects.toThrow(message);
  });
});

/** Ten levels of ten aliases each. */
function bomb(): string {
  const levels = Array.from({ length: 10 }, (_, level) => {
    const inner = level === 0 ? 'x' : Array.from({ length: 10 }, () => `*l${level - 1}`).join(', ');
    return `l${level}: &l${level} [${inner}]`;
  });
  return `${levels.join('\n')}\n`;
}
