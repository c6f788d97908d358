import { join } from 'node:path';
import { isRecord } from '@mural/core';
import { ArtifactSource } from '@mural/kube';
import { z } from 'zod';
import { RenderError } from '../errors.ts';
import { findBinary, rendererMissing, runBinary, safePath, withFiles } from './binary.ts';
import { exactlyOne, textOf } from './manifests.ts';
import { parseProperties } from './properties.ts';
import type { ComponentInput, Files, RenderedObject } from './types.ts';
import { parseManifests, parseYamlValue } from './yaml.ts';

/** Properties of a component of type `kustomize`. */
export const KustomizeProperties = z.strictObject({
  files: z.record(z.string(), z.string()).optional().describe('Files by path.'),
  artifact: ArtifactSource.optional(),
  path: z.string().optional().describe('Folder of the kustomization to build; the root unless given.'),
});

/** Renders with `kustomize build` or, without that program, `kubectl kustomize`. */
export async function renderKustomize(input: ComponentInput): Promise<readonly RenderedObject[]> {
  const { component, evaluator } = input;
  const { files: raw, ...rest } = component.properties ?? {};
  const evaluated = evaluator.evaluate(rest, 'properties') as Record<string, unknown>;
  const properties = parseProperties(
    KustomizeProperties,
    raw === undefined ? evaluated : { ...evaluated, files: raw },
    component,
  );
  exactlyOne(component, properties, ['files', 'artifact']);
  const files = evaluateFiles(input, properties.files ?? input.artifact ?? {}, 'properties.files');
  refuseRemote(component.name, files);
  const program = await findKustomize(input);
  const output = await withFiles(files, component.name, async (directory) => {
    const folder = join('input', safePath(properties.path ?? '.', component.name));
    const command = program.name === 'kubectl' ? 'kustomize' : 'build';
    return await runBinary({
      component: component.name,
      binary: program.path,
      args: [command, folder],
      directory,
      deadlineMs: input.deadlineMs,
    });
  });
  return parseManifests(output, { component: component.name, file: 'kustomize output' });
}

async function findKustomize(input: ComponentInput): Promise<{ name: string; path: string }> {
  const given = input.renderers.kustomize;
  if (given !== undefined) return { name: given.endsWith('kubectl') ? 'kubectl' : 'kustomize', path: given };
  const found = await findBinary(['kustomize', 'kubectl'], input.searchPath);
  if (found !== undefined) return found;
  throw rendererMissing(
    input.component.name,
    'kustomize (or kubectl)',
    'install it from https://kubectl.docs.kubernetes.io/installation/kustomize/ or name its path',
  );
}

/** Files with their expressions evaluated where the component asks for it; what is not text is kept. */
export function evaluateFiles({ component, evaluator }: ComponentInput, files: Files, path: string): Files {
  if (component.expressions !== true) return files;
  return Object.fromEntries(
    Object.entries(files).map(([name, content]) => [
      name,
      isText(content) ? evaluator.evaluateText(textOf(content), `${path}["${name}"]`) : content,
    ]),
  );
}

function isText(content: Uint8Array | string): boolean {
  return typeof content === 'string' || !content.subarray(0, 8000).includes(0);
}

const KUSTOMIZATION = /(?:^|\/)(?:kustomization\.ya?ml|Kustomization)$/;
const LISTS = ['resources', 'bases', 'components', 'crds', 'configurations', 'transformers', 'generators'];
const REMOTE =
  /^[a-z][a-z0-9+.-]*:\/\/|^git@|^git::|^(?:www\.)?(?:github|gitlab|bitbucket)\.(?:com|org)[/:]|\?ref=/;

/** kustomize would fetch these; a clear refusal beats its network error. */
function refuseRemote(component: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    if (!KUSTOMIZATION.test(path)) continue;
    const kustomization = parseYamlValue(textOf(content), { component, file: path });
    if (!isRecord(kustomization)) continue;
    for (const list of LISTS) {
      const entries = kustomization[list];
      if (!Array.isArray(entries)) continue;
      const remote = entries.find((entry) => typeof entry === 'string' && REMOTE.test(entry)) as
        | string
        | undefined;
      if (remote === undefined) continue;
      throw new RenderError(
        'RenderFailed',
        `component ${component}, ${path}: ${list} names ${JSON.stringify(remote)}, and remote sources are not fetched`,
        { facts: { component, path }, hint: 'Bring the files along in the profile or in an artifact.' },
      );
    }
  }
}
