import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findBinary } from './binary.ts';
import { renderWorkload } from './render.ts';
import { input, map, objectsOf } from './test-input.ts';
import type { Files } from './types.ts';

const overlay: Files = {
  'base/kustomization.yaml': 'resources: [web.yaml]\n',
  'base/web.yaml': `${map('web')}data: {a: "1"}\n`,
  'overlay/kustomization.yaml': 'resources: [../base]\nnamePrefix: prod-\ncommonAnnotations: {team: web}\n',
};

describe('a component of type kustomize', () => {
  const component = { type: 'kustomize', properties: { files: overlay, path: 'overlay' } };

  it('is what kustomize build gives', async () => {
    const [object] = objectsOf(await renderWorkload(input([component])));
    expect(object).toMatchObject({
      metadata: { name: 'prod-web', annotations: { team: 'web' } },
      data: { a: '1' },
    });
  });

  it('is the same with kubectl', async () => {
    const kubectl = await findBinary(['kubectl'], process.env['PATH'] ?? '');
    const own = await renderWorkload(input([component]));
    const other = await renderWorkload(input([component], { renderers: { kustomize: kubectl?.path ?? '' } }));
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

describe('a component of type helm', () => {
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
