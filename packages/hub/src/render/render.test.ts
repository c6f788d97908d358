import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Component } from '@mural/kube';
import { packArtifact } from '@mural/oci';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { findBinary } from './binary.ts';
import { renderWorkload } from './render.ts';
import { RenderThread } from './thread.ts';
import type { Files, RenderInput, Rendering } from './types.ts';

const searchPath = [process.env['PATH'] ?? '', join(homedir(), '.cache/mural-tools/bin')].join(delimiter);

function input(
  components: readonly (Omit<Component, 'name' | 'properties'> & { name?: string; properties?: unknown })[],
  more: Partial<RenderInput> = {},
): RenderInput {
  return {
    profile: {
      components: components.map((component) => ({ name: 'app', ...component })) as unknown as Component[],
    },
    variables: {
      params: { image: 'nginx:1.27', replicas: 2 },
      environment: { name: 'prod', namespace: 'default', labels: {} },
      spoke: { name: 'eu-1', labels: {} },
      deployment: { name: 'shop', namespace: 'default', labels: {} },
    },
    artifacts: {},
    renderers: {},
    searchPath,
    scopes: {},
    deadlineMs: 20_000,
    ...more,
  };
}

const objectsOf = (rendering: Rendering) =>
  rendering.files.flatMap(
    ({ content }) => parseAllDocuments(content).map((document) => document.toJS() as Record<string, any>), // eslint-disable-line @typescript-eslint/no-explicit-any
  );
const manifests = (text: string, more: object = {}) =>
  input([{ type: 'manifests', properties: { manifests: text }, ...more }]);
const map = (name: string, namespace?: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n${namespace === undefined ? '' : `  namespace: ${namespace}\n`}`;

/** Digest of what would be packed, before compression. */
async function digestOf(rendering: Rendering): Promise<string> {
  return (await packArtifact({ files: rendering.files })).contentDigest;
}

describe('a component of type manifests', () => {
  it('keeps what is written, with shell and Grafana variables in it', async () => {
    const text = `${map('x')}data:\n  run.sh: |\n    echo "\${HOME}" \${1:-none}\n  mode: "0644"\n`;
    const [object] = objectsOf(await renderWorkload(manifests(text)));
    expect(object?.['data']).toEqual({ 'run.sh': 'echo "${HOME}" ${1:-none}\n', mode: '0644' });
  });

  it('evaluates its text when it asks for that', async () => {
    const text = `${map('${spoke.name}')}data:\n  image: \${params.image}\n`;
    const [object] = objectsOf(await renderWorkload(manifests(text, { expressions: true })));
    expect(object).toMatchObject({ metadata: { name: 'eu-1' }, data: { image: 'nginx:1.27' } });
  });

  it('reads numbers as kubectl does and flattens lists', async () => {
    const text = `apiVersion: v1\nkind: List\nitems:\n- ${map('a').replaceAll('\n', '\n  ')}\n- ${map('b').replaceAll('\n', '\n  ')}\n---\n${map('c')}mode: 0644\n`;
    const objects = objectsOf(await renderWorkload(manifests(text)));
    expect(objects.map(({ metadata }) => metadata.name)).toEqual(['a', 'b', 'c']);
    expect(objects[2]?.['mode']).toBe(0o644);
  });

  it('reads scalars as go-yaml does', async () => {
    const data =
      'a: e0, b: 1e3, c: 1.5, d: 22:22, e: 2020-01-01, f: ., g: 1_000, h: .5, i: 12345678901234567890';
    const [rendered] = (await renderWorkload(manifests(`${map('x')}data: {${data}}\n`))).files;
    expect(rendered?.content).toContain(
      [
        'data:',
        '  a: "e0"',
        '  b: 1000',
        '  c: 1.5',
        '  d: "22:22"',
        '  e: "2020-01-01"',
        '  f: "."',
        '  g: 1000',
        '  h: 0.5',
        '  i: 12345678901234567890',
      ].join('\n'),
    );
  });

  it('takes objects, with expressions in them', async () => {
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'x' },
      data: { n: '${params.replicas}' },
    };
    const objects = objectsOf(
      await renderWorkload(input([{ type: 'manifests', properties: { objects: [object] } }])),
    );
    expect(objects[0]?.['data']).toEqual({ n: 2 });
  });

  it('takes every YAML file of an artifact', async () => {
    const artifacts = { app: { 'b.yml': Buffer.from(map('b')), 'a/a.yaml': map('a'), 'README.md': '# no' } };
    const rendering = await renderWorkload(
      input([{ type: 'manifests', properties: { artifact: { tag: 'v1' } } }], { artifacts }),
    );
    expect(objectsOf(rendering).map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
  });

  it('puts objects into namespaces, makes those that are not there, and leaves cluster objects alone', async () => {
    const crd =
      'apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.io}\nspec: {group: x.io, scope: Cluster, names: {kind: Thing}}\n';
    const text = [
      map('a'),
      map('b', 'other'),
      'apiVersion: v1\nkind: Node\nmetadata: {name: one}\n',
      crd,
      'apiVersion: x.io/v1\nkind: Thing\nmetadata: {name: t}\n',
      'apiVersion: y.io/v1\nkind: Wide\nmetadata: {name: w}\n',
    ].join('---\n');
    const rendering = await renderWorkload({
      ...manifests(text, { namespace: 'web' }),
      scopes: { 'y.io/Wide': false },
    });
    const byName = Object.fromEntries(
      objectsOf(rendering).map(({ kind, metadata }) => [`${kind}/${metadata.name}`, metadata.namespace]),
    );
    expect(byName).toEqual({
      'Namespace/web': undefined,
      'ConfigMap/a': 'web',
      'ConfigMap/b': 'other',
      'Node/one': undefined,
      'CustomResourceDefinition/things.x.io': undefined,
      'Thing/t': undefined,
      'Wide/w': undefined,
    });
    expect(rendering.unknownKinds).toEqual([]);
  });

  it.each([
    ['a: [1,\n---\n', /component app: invalid YAML at line 2, column 1/],
    [`${map('x')}---\nfoo: {\n`, /invalid YAML at line \d+, column \d+/],
    [`${map('x')}---\napiVersion: v1\nmetadata: {name: y}\n`, /document 2 \(line 6\) has no kind/],
    [`kind: ConfigMap\nmetadata: {name: y}\n`, /document 1 \(line 1\) has no apiVersion/],
    [
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n`,
      /metadata\.name is not a text: put it in quotes/,
    ],
    [`apiVersion: v1\nkind: ConfigMap\n`, /document 1 \(line 1\) \(ConfigMap\) has no metadata\.name/],
    ['- 1\n', /document 1 \(line 1\) is not an object but a list/],
    [
      `${map('x')}---\n${map('x')}`,
      /document 2 \(line 6\): ConfigMap default\/x is there already \(component app, document 1/,
    ],
    [`${map('x')}data: {a: 1, a: 2}\n`, /invalid YAML at line 5, column \d+: Map keys must be unique/],
  ])('refuses %j', async (text, message) => {
    const run = renderWorkload(manifests(text));
    await expect(run).rejects.toThrow(message);
    await expect(run).rejects.toMatchObject({ code: 'RenderFailed' });
  });
});

describe('properties', () => {
  it.each([
    [
      { type: 'manifests', properties: {} },
      /needs exactly one of manifests, objects, artifact, and has none of them/,
    ],
    [{ type: 'manifests', properties: { manifests: 'x', objects: [] } }, /has manifests and objects/],
    [
      { type: 'manifests', properties: { manifest: 'x' } },
      /properties\.manifest does not exist; did you mean manifests\?/,
    ],
    [
      { type: 'webservice', properties: { image: 'x', replica: 1 } },
      /properties\.replica does not exist; did you mean replicas\?/,
    ],
    [{ type: 'webservice', properties: { image: 'x', port: 'http' } }, /properties\.port: .*expected number/],
    [{ type: 'webservice', properties: {} }, /properties\.image/],
    [{ type: 'kustomize', properties: { files: { '../x': '' } } }, /"\.\.\/x" leads out of its folder/],
  ])('refuses %j', async (component, message) => {
    const run = renderWorkload(input([component]));
    await expect(run).rejects.toThrow(message);
    await expect(run).rejects.toMatchObject({ code: 'PropertiesInvalid' });
  });

  it('name the component type that was meant', async () => {
    const run = renderWorkload(input([{ type: 'webservise' }]));
    await expect(run).rejects.toMatchObject({ code: 'ComponentTypeUnknown' });
    await expect(run).rejects.toThrow(
      /"webservise"; known are manifests, kustomize, helm, webservice\. Did you mean webservice\?/,
    );
  });
});

describe('a component of type webservice', () => {
  const properties = {
    image: '${params.image}',
    replicas: '${params.replicas}',
    port: 8080,
    env: { B: 1, A: 'x' },
    host: 'shop.example.org',
    healthPath: '/healthz',
  };

  it('is a Deployment that may do little, a Service and an Ingress', async () => {
    const objects = objectsOf(await renderWorkload(input([{ type: 'webservice', properties }])));
    expect(objects.map(({ kind }) => kind)).toEqual(['Deployment', 'Service', 'Ingress']);
    const [deployment, service] = objects;
    expect(deployment?.['spec']).toMatchObject({
      replicas: 2,
      template: {
        spec: {
          automountServiceAccountToken: false,
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              image: 'nginx:1.27',
              env: [
                { name: 'A', value: 'x' },
                { name: 'B', value: '1' },
              ],
              ports: [{ containerPort: 8080, protocol: 'TCP' }],
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            },
          ],
        },
      },
    });
    expect(service?.['spec'].selector).toEqual(deployment?.['spec'].selector.matchLabels);
  });

  it('gives the same bytes on every machine', async () => {
    const rendering = await renderWorkload(input([{ type: 'webservice', properties }]));
    expect(await digestOf(rendering)).toMatchInlineSnapshot(
      `"sha256:fd3de21a382f1d51f45559809571e0fd6346c76053e715c17c3cae8602cd2379"`,
    );
  });
});

describe('large input', () => {
  it('is rendered in a thread, with the same result and the same errors', async () => {
    const thread = new RenderThread();
    try {
      const text = Array.from({ length: 3000 }, (_, index) => map(`x${index}`)).join('---\n');
      const here = await renderWorkload(manifests(text));
      expect(await thread.render(manifests(text))).toEqual(here);
      const run = thread.render(manifests(`${text}---\napiVersion: v1\n`));
      await expect(run).rejects.toMatchObject({ code: 'RenderFailed', facts: { component: 'app' } });
      await expect(run).rejects.toThrow(/document 3001 .* has no kind/);
    } finally {
      await thread.close();
    }
  });
});

/** Tests with a real program: it must be there in CI, elsewhere its absence is told. */
async function program(name: string): Promise<string | undefined> {
  const found = await findBinary([name], searchPath);
  if (found === undefined && process.env['CI'] === 'true') throw new Error(`${name} is not installed`);
  if (found === undefined) console.warn(`${name} is not on PATH: its tests do not run`);
  return found?.path;
}
const kustomize = await program('kustomize');
const kubectl = await program('kubectl');
const helm = await program('helm');

describe('programs', () => {
  it.each([
    [
      'kustomize',
      { files: { 'kustomization.yaml': 'resources: []' } },
      /needs the program kustomize \(or kubectl\)/,
    ],
    ['helm', { files: { 'Chart.yaml': 'name: x' } }, /needs the program helm, .*: install it from https/],
  ])('%s is named when it is missing, with how to get it', async (type, properties, message) => {
    const run = renderWorkload(input([{ type, properties }], { searchPath: '/nonexistent' }));
    await expect(run).rejects.toMatchObject({ code: 'RendererMissing' });
    await expect(run).rejects.toThrow(message);
  });
});

const overlay: Files = {
  'base/kustomization.yaml': 'resources: [web.yaml]\n',
  'base/web.yaml': `${map('web')}data: {a: "1"}\n`,
  'overlay/kustomization.yaml': 'resources: [../base]\nnamePrefix: prod-\ncommonAnnotations: {team: web}\n',
};

describe.skipIf(kustomize === undefined)('a component of type kustomize', () => {
  const component = { type: 'kustomize', properties: { files: overlay, path: 'overlay' } };

  it('is what kustomize build gives', async () => {
    const [object] = objectsOf(await renderWorkload(input([component])));
    expect(object).toMatchObject({
      metadata: { name: 'prod-web', annotations: { team: 'web' } },
      data: { a: '1' },
    });
  });

  it.skipIf(kubectl === undefined)('is the same with kubectl', async () => {
    const own = await renderWorkload(input([component]));
    const other = await renderWorkload(input([component], { renderers: { kustomize: kubectl ?? '' } }));
    expect(other).toEqual(own);
  });

  it('evaluates its files when it asks for that', async () => {
    const files = { ...overlay, 'base/web.yaml': `${map('web')}data: {a: "\${params.image}"}\n` };
    const asked = { ...component, properties: { files, path: 'overlay' }, expressions: true };
    const [object] = objectsOf(await renderWorkload(input([asked])));
    expect(object?.['data']).toEqual({ a: 'nginx:1.27' });
  });

  it('says what kustomize says, and fetches nothing', async () => {
    const broken = { 'kustomization.yaml': 'resources: [nope.yaml]\n' };
    const run = renderWorkload(input([{ type: 'kustomize', properties: { files: broken } }]));
    await expect(run).rejects.toMatchObject({ code: 'RenderFailed' });
    await expect(run).rejects.toThrow(/component app: kustomize: .*nope\.yaml/s);
    const remote = { 'kustomization.yaml': 'resources:\n- https://example.org/x.yaml\n' };
    await expect(
      renderWorkload(input([{ type: 'kustomize', properties: { files: remote } }])),
    ).rejects.toThrow(
      /kustomization\.yaml: resources names "https:\/\/example\.org\/x\.yaml", and remote sources/,
    );
  });

  it('cannot read beyond its folder', async () => {
    const files = { 'kustomization.yaml': 'resources: [../../../../etc/passwd]\n' };
    await expect(renderWorkload(input([{ type: 'kustomize', properties: { files } }]))).rejects.toMatchObject(
      { code: 'RenderFailed' },
    );
  });
});

const chart: Files = {
  'shop/Chart.yaml': 'apiVersion: v2\nname: shop\nversion: 0.1.0\n',
  'shop/values.yaml': 'replicas: 1\nimage: none\n',
  'shop/crds/thing.yaml':
    'apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.io}\nspec: {group: x.io, scope: Namespaced, names: {kind: Thing}}\n',
  'shop/templates/map.yaml': `${map('{{ .Release.Name }}', '{{ .Release.Namespace }}')}data:\n  image: {{ .Values.image }}\n  replicas: {{ .Values.replicas | quote }}\n`,
  'shop/templates/test.yaml': `${map('a-test')}  annotations: {helm.sh/hook: test}\n`,
  'shop/templates/gone.yaml': `${map('a-cleanup')}  annotations: {helm.sh/hook: "pre-delete,post-rollback"}\n`,
  'shop/templates/first.yaml': `${map('a-migration')}  annotations: {helm.sh/hook: "pre-install,pre-upgrade"}\n`,
};

describe.skipIf(helm === undefined)('a component of type helm', () => {
  const values = { image: '${params.image}', replicas: '${params.replicas}' };

  it('is what helm template gives, without hooks that belong to other occasions', async () => {
    const component = { type: 'helm', namespace: 'web', properties: { files: chart, values } };
    const objects = objectsOf(await renderWorkload(input([component])));
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(names).toEqual([
      'Namespace/web',
      'CustomResourceDefinition/things.x.io',
      'ConfigMap/shop',
      'ConfigMap/a-migration',
    ]);
    expect(objects[2]).toMatchObject({
      metadata: { namespace: 'web' },
      data: { image: 'nginx:1.27', replicas: '2' },
    });
  });

  it('takes the release name and finds the chart at the root too', async () => {
    const files = Object.fromEntries(
      Object.entries(chart).map(([path, text]) => [path.slice('shop/'.length), text]),
    );
    const component = { type: 'helm', properties: { files, values, releaseName: 'r' } };
    const objects = objectsOf(await renderWorkload(input([component])));
    expect(objects.some(({ metadata }) => metadata.name === 'r')).toBe(true);
  });

  it('says what helm says, without the path of its folder', async () => {
    const files = { ...chart, 'shop/templates/bad.yaml': '{{ .Values.nope.deeper }}' };
    const run = renderWorkload(input([{ type: 'helm', properties: { files } }]));
    await expect(run).rejects.toThrow(/component app: helm: .*bad\.yaml/s);
    await expect(run).rejects.not.toThrow(tmpdir());
  });

  it('is ended when it takes too long', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mural-test-'));
    try {
      await writeFile(join(folder, 'helm'), '#!/bin/sh\nwhile :; do :; done\n', { mode: 0o755 });
      const run = renderWorkload(
        input([{ type: 'helm', properties: { files: chart } }], {
          renderers: { helm: join(folder, 'helm') },
          deadlineMs: 200,
        }),
      );
      await expect(run).rejects.toThrow(/helm: took longer than 0\.2 s/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
