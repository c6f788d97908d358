import { packArtifact } from '@mural/oci';
import { describe, expect, it } from 'vitest';
import { renderWorkload } from './render.ts';
import { input, manifests, map, objectsOf } from './test-input.ts';
import { RenderThread } from './thread.ts';
import type { Rendering } from './types.ts';

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
    [
      'kind: X\n  bad: [\n',
      /invalid YAML at line 2, column 6: a mapping is not allowed here; check the indent/,
    ],
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
