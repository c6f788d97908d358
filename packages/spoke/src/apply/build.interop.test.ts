import { delimiter, join } from 'node:path';
import { existsSync } from 'node:fs';
import { canonicalJson } from '@mural/core';
import type { UnstructuredObject } from '@mural/kube';
import { describe, expect, it } from 'vitest';
import { configMap, type Files, type SpecInput } from '../testing/bed.ts';
import { BASE, build, json, merge, nameOf, pods } from '../testing/build-bed.ts';

const kustomize = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'kustomize'))
  .find((path) => existsSync(path));

const buildWithIt = async (files: Files, spec: SpecInput): Promise<UnstructuredObject[]> =>
  build(files, spec, [], kustomize);

it('kustomize adds what only it can: prefix, suffix, generators, components', async () => {
  const files = {
    'app/kustomization.yaml': 'resources: [a.yaml]\nconfigMapGenerator: [{ name: made, literals: [k=v] }]\n',
    'app/a.yaml': configMap('a'),
    'parts/kustomization.yaml':
      'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonLabels: { part: x }\n',
  };
  const spec = { path: 'app', namePrefix: 'p-', nameSuffix: '-s', components: ['../parts'] };
  const names = (await buildWithIt(files, spec)).map((object) => [
    nameOf(object),
    object.metadata.labels?.['part'],
  ]);
  expect(names).toContainEqual(['p-a-s', 'x']);
  expect(names).toContainEqual([expect.stringMatching(/^p-made-s-[a-z0-9]+$/), 'x']);
});

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

describe('what needs no kustomize is built as kustomize builds it', () => {
  const sorted = (objects: readonly UnstructuredObject[]): string[] =>
    objects.map((object) => canonicalJson(object)).sort();

  it.concurrent.each(CASES)('%s', async (_name, spec) => {
    const plain = await buildWithIt({ 'a.yaml': BASE }, spec);
    // Asking for build metadata changes nothing but who builds.
    const real = await buildWithIt({ 'a.yaml': BASE }, { ...spec, buildMetadata: ['x'] });
    expect(sorted(plain)).toEqual(sorted(real));
  });
});
