import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRecord } from '@mural/core';
import { ArtifactSource } from '@mural/kube';
import { z } from 'zod';
import { RenderError } from '../errors.ts';
import { findBinary, rendererMissing, runBinary, safePath, withFiles } from './binary.ts';
import { exactlyOne } from './manifests.ts';
import { evaluateFiles } from './kustomize.ts';
import { parseProperties } from './properties.ts';
import type { ComponentInput, Files, RenderedObject } from './types.ts';
import { parseManifests } from './yaml.ts';

/** Properties of a component of type `helm`. */
export const HelmProperties = z.strictObject({
  artifact: ArtifactSource.optional().describe('Helm chart artifact, or a Flux artifact that holds a chart.'),
  files: z.record(z.string(), z.string()).optional().describe('Files of the chart by path.'),
  path: z.string().optional().describe('Folder of the chart; that of the only Chart.yaml unless given.'),
  values: z.record(z.string(), z.unknown()).optional(),
  releaseName: z.string().max(53).optional().describe('Name of the deployment unless given.'),
  kubeVersion: z.string().optional().describe('Kubernetes version that templates see.'),
  apiVersions: z.array(z.string()).optional().describe('Further API versions that templates see.'),
});

/**
 * Renders with `helm template`, offline. Charts bring their dependencies in `charts/`.
 *
 * Hooks: those of tests are left out, and so are those of deletion and rollback, which nobody would
 * call at the right time. The others become ordinary objects, for the applier orders by kind and
 * has no notion of hooks.
 */
export async function renderHelm(input: ComponentInput): Promise<readonly RenderedObject[]> {
  const { component, evaluator } = input;
  const { files: raw, ...rest } = component.properties ?? {};
  const evaluated = evaluator.evaluate(rest, 'properties') as Record<string, unknown>;
  const properties = parseProperties(
    HelmProperties,
    raw === undefined ? evaluated : { ...evaluated, files: raw },
    component,
  );
  exactlyOne(component, properties, ['artifact', 'files']);
  const files = evaluateFiles(input, properties.files ?? input.artifact ?? {}, 'properties.files');
  const chart = chartFolder(component.name, files, properties.path);
  const binary = input.renderers.helm ?? (await findBinary(['helm'], input.searchPath))?.path;
  if (binary === undefined) {
    throw rendererMissing(
      component.name,
      'helm',
      'install it from https://helm.sh/docs/intro/install/ or name its path',
    );
  }
  const output = await withFiles(files, component.name, async (directory) => {
    await writeFile(join(directory, 'values.json'), JSON.stringify(properties.values ?? {}), { mode: 0o600 });
    const release = properties.releaseName ?? input.variables.deployment.name.slice(0, 53);
    return await runBinary({
      component: component.name,
      binary,
      args: [
        'template',
        release,
        join('input', chart),
        '--include-crds',
        '--skip-tests',
        '--namespace',
        input.namespace,
        '--values',
        'values.json',
        ...(properties.kubeVersion === undefined ? [] : ['--kube-version', properties.kubeVersion]),
        ...(properties.apiVersions ?? []).flatMap((version) => ['--api-versions', version]),
      ],
      directory,
      deadlineMs: input.deadlineMs,
    });
  });
  const objects = parseManifests(output, { component: component.name, file: 'helm output' });
  return objects.filter(({ object }) => !isDroppedHook(object.metadata.annotations));
}

const DROPPED_HOOKS = new Set(['test', 'test-success', 'test-failure', 'pre-delete', 'post-delete']);
const ROLLBACK_HOOKS = new Set(['pre-rollback', 'post-rollback']);

function isDroppedHook(annotations: unknown): boolean {
  const hook = isRecord(annotations) ? annotations['helm.sh/hook'] : undefined;
  if (typeof hook !== 'string') return false;
  const events = hook.split(',').map((event) => event.trim());
  return events.every((event) => DROPPED_HOOKS.has(event) || ROLLBACK_HOOKS.has(event));
}

function chartFolder(component: string, files: Files, path: string | undefined): string {
  if (path !== undefined) return safePath(path, component);
  const charts = Object.keys(files)
    .filter((name) => name === 'Chart.yaml' || name.endsWith('/Chart.yaml'))
    .sort((a, b) => a.split('/').length - b.split('/').length);
  const [first, second] = charts;
  if (first === undefined) {
    throw new RenderError('RenderFailed', `component ${component}: there is no Chart.yaml among the files`, {
      facts: { component },
    });
  }
  // Subcharts lie deeper than the chart that has them.
  if (second !== undefined && second.split('/').length === first.split('/').length) {
    throw new RenderError(
      'PropertiesInvalid',
      `component ${component}: there are several charts (${first}, ${second}); name one in properties.path`,
      { facts: { component } },
    );
  }
  return safePath(first.slice(0, -'Chart.yaml'.length) || '.', component);
}
