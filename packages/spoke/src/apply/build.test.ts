import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { canonicalJson } from '@mural/core';
import { type KubeObject, KustomizationSpec, type UnstructuredObject } from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { describe, expect, it } from 'vitest';
import { configMap, type Files, kustomization, NAMESPACE, type SpecInput } from '../testing/bed.ts';
import { buildObjects } from './build.ts';
import { ConfidentialValues } from './confidential.ts';

const WEBHOOKS = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
  namespaced: false,
};
const kustomize = [
  ...(process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''),
  join(homedir(), '.cache/mural-tools/bin'),
]
  .map((folder) => join(folder, 'kustomize'))
  .find((path) => existsSync(path));

async function build(
  files: Files,
  spec: SpecInput = {},
  objects: readonly KubeObject[] = [],
  binary = kustomize ?? '/nonexistent',
): Promise<UnstructuredObject[]> {
  const object = kustomization('app', spec);
  const tree = new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]));
  return buildObjects(object, KustomizationSpec.parse(object.spec), tree, {
    client: createFakeKubeApi({ objects, resources: [WEBHOOKS] }),
    kustomize: binary,
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    confidential: new ConfidentialValues(),
  });
}

const nameOf = ({ metadata }: UnstructuredObject): string | undefined => metadata.name;

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

  it.skipIf(kustomize === undefined)('is done by it: prefix, suffix, generators, components', async () => {
    const files = {
      'app/kustomization.yaml':
        'resources: [a.yaml]\nconfigMapGenerator: [{ name: made, literals: [k=v] }]\n',
      'app/a.yaml': configMap('a'),
      'parts/kustomization.yaml':
        'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonLabels: { part: x }\n',
    };
    const spec = { path: 'app', namePrefix: 'p-', nameSuffix: '-s', components: ['../parts'] };
    const names = (await build(files, spec)).map((object) => [
      nameOf(object),
      object.metadata.labels?.['part'],
    ]);
    expect(names).toContainEqual(['p-a-s', 'x']);
    expect(names).toContainEqual([expect.stringMatching(/^p-made-s-[a-z0-9]+$/), 'x']);
  });
});

const BASE = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web } }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      initContainers: [{ name: init, image: "registry.test:5000/init:v1" }]
      containers:
        - { name: web, image: "nginx:1.0", env: [{ name: A, value: "1" }, { name: B, value: "2" }], args: [a, b], volumeMounts: [{ name: v, mountPath: /v }], ports: [{ containerPort: 53, protocol: TCP }, { containerPort: 53, protocol: UDP }] }
        - { name: side, image: "side@sha256:${'a'.repeat(64)}" }
      volumes: [{ name: v, configMap: { name: one } }]
      tolerations: [{ key: a, operator: Exists }]
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { ports: [{ port: 80, name: http }, { port: 443, name: https }], selector: { app: web } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: one, namespace: there, annotations: { x: y }, finalizers: [a/b] }
data: { k: v, "on": "yes" }
---
apiVersion: example.com/v1
kind: Widget
metadata: { name: w }
spec: { containers: [{ name: a, size: 1 }, { name: b, size: 2 }], list: [1, 2] }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: runner }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: bind }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects:
  - { kind: ServiceAccount, name: runner, namespace: old }
  - { kind: ServiceAccount, name: runner, namespace: default }
  - { kind: ServiceAccount, name: runner }
  - { kind: ServiceAccount, name: default, namespace: old }
  - { kind: ServiceAccount, name: foreign, namespace: old }
  - { kind: User, name: u, apiGroup: rbac.authorization.k8s.io }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: hook }
webhooks: [{ name: a.example.com, clientConfig: { service: { name: web, namespace: default, path: /x } }, sideEffects: None, admissionReviewVersions: [v1] }]
`;

/** A strategic merge patch of the deployment's pods. */
function pods(spec: string): SpecInput {
  const head = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n';
  return { patches: [{ patch: `${head}spec: {template: {spec: ${spec}}}` }] };
}
function merge(apiVersion: string, kind: string, rest: string): SpecInput {
  return { patches: [{ patch: `apiVersion: ${apiVersion}\nkind: ${kind}\n${rest}` }] };
}
function json(target: object, patch: string): SpecInput {
  return { patches: [{ target, patch }] };
}

const CASES: readonly (readonly [string, SpecInput])[] = [
  ['a target namespace, and what refers into it', { targetNamespace: 'moved' }],
  [
    'tags and names of images',
    {
      images: [
        { name: 'nginx', newTag: '2.0' },
        { name: 'registry.test:5000/init', newName: 'other/init' },
        { name: 'side', newName: 's', newTag: 't' },
      ],
    },
  ],
  [
    'digests of images',
    {
      images: [
        { name: 'nginx', digest: `sha256:${'b'.repeat(64)}` },
        { name: 'side', newName: 's' },
      ],
    },
  ],
  [
    'containers by name',
    pods(
      '{containers: [{name: extra, image: x}, {name: web, image: y, env: [{name: B, value: "3"}, {name: C, value: "4"}]}]}',
    ),
  ],
  ['removal by $patch and null', pods('{containers: [{name: side, $patch: delete}], tolerations: null}')],
  ['replacement by $patch', pods('{containers: [{$patch: replace}, {name: only, image: x}]}')],
  [
    'lists without a key',
    pods(
      '{tolerations: [{key: b}], containers: [{name: web, args: [z], volumeMounts: [{mountPath: /w, name: v}]}], volumes: [{name: w, emptyDir: {}}]}',
    ),
  ],
  [
    'constraints that differ in what they do',
    pods('{topologySpreadConstraints: [{maxSkew: 2, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}'),
  ],
  [
    'ports of a service',
    merge(
      'v1',
      'Service',
      'metadata: {name: web}\nspec: {ports: [{port: 443, targetPort: 8443}, {port: 22}]}',
    ),
  ],
  [
    'finalizers and metadata',
    merge(
      'v1',
      'ConfigMap',
      'metadata: {name: one, namespace: there, annotations: {x: null, y: z}, finalizers: [c/d]}',
    ),
  ],
  [
    'deletion of an object',
    merge('v1', 'ConfigMap', 'metadata: {name: one, namespace: there}\n$patch: delete'),
  ],
  [
    'a kind that is not Kubernetes’ own',
    merge(
      'example.com/v1',
      'Widget',
      'metadata: {name: w}\nspec: {containers: [{name: a, size: 9}], list: [3]}',
    ),
  ],
  [
    'webhooks by name',
    merge(
      'admissionregistration.k8s.io/v1',
      'ValidatingWebhookConfiguration',
      'metadata: {name: hook}\nwebhooks: [{name: a.example.com, failurePolicy: Ignore}]',
    ),
  ],
  [
    'a target by kinds',
    json(
      { kind: 'ConfigMap|Service' },
      'apiVersion: v1\nkind: Any\nmetadata: {name: any, labels: {added: "true"}}',
    ),
  ],
  [
    'a target by label',
    json({ labelSelector: 'app=web' }, '- {op: replace, path: /spec/replicas, value: 3}'),
  ],
  [
    'a target without label',
    json({ labelSelector: '!app' }, '- {op: add, path: /metadata/annotations, value: {p: q}}'),
  ],
  [
    'a target by annotation',
    json(
      { annotationSelector: 'x in (y, z)' },
      '- {op: add, path: /data/new, value: "1"}\n- {op: remove, path: /data/k}',
    ),
  ],
  [
    'a target by version',
    json({ group: 'apps', version: 'v1' }, '- {op: add, path: /spec/paused, value: true}'),
  ],
  [
    'a target by the default namespace',
    json({ kind: 'Service', namespace: 'default' }, '- {op: add, path: /spec/x, value: "1"}'),
  ],
  ['a target that matches in part only', json({ name: 'we' }, '- {op: add, path: /spec/x, value: "1"}')],
  [
    'all operations',
    json(
      { kind: 'Deployment', name: 'w.*' },
      '- {op: add, path: /spec/template/spec/containers/-, value: {name: z}}\n- {op: move, from: /spec/replicas, path: /spec/minReadySeconds}\n- {op: copy, from: /metadata/labels/app, path: /metadata/labels/a~1b}\n- {op: test, path: /kind, value: Deployment}',
    ),
  ],
  [
    'places in lists',
    json(
      { kind: 'Service' },
      '- {op: replace, path: /spec/ports/1/port, value: 9}\n- {op: add, path: /spec/ports/0, value: {port: 1}}\n- {op: remove, path: /spec/ports/2}',
    ),
  ],
  [
    'replacement of what is not there',
    json({ kind: 'ConfigMap' }, '- {op: replace, path: /data/absent, value: x}'),
  ],
  [
    'a new name, and what refers to it',
    json({ kind: 'Service' }, '- {op: replace, path: /metadata/name, value: renamed}'),
  ],
  [
    'a patch before images and namespace',
    {
      ...pods('{containers: [{name: extra, image: x}]}'),
      images: [{ name: 'x', newTag: 'ok' }],
      targetNamespace: 'moved',
    },
  ],
];

describe.skipIf(kustomize === undefined)('what is built without kustomize is what kustomize builds', () => {
  const sorted = (objects: readonly UnstructuredObject[]): string[] =>
    objects.map((object) => canonicalJson(object)).sort();

  it.concurrent.each(CASES)('%s', async (_name, spec) => {
    const plain = await build({ 'a.yaml': BASE }, spec);
    // Asking for build metadata changes nothing but who builds.
    const real = await build({ 'a.yaml': BASE }, { ...spec, buildMetadata: ['x'] });
    expect(sorted(plain)).toEqual(sorted(real));
  });
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
