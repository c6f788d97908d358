import { ArtifactSource } from '@mural/kube';
import { z } from 'zod';
import { RenderError } from '../errors.ts';
import { parseProperties } from './properties.ts';
import type { ComponentInput, Files, RenderedObject } from './types.ts';
import { checkObject, parseManifests } from './yaml.ts';

/** Properties of a component of type `manifests`: exactly one of the three. */
export const ManifestsProperties = z.strictObject({
  manifests: z.string().optional().describe('Multi-document YAML.'),
  objects: z.array(z.record(z.string(), z.unknown())).optional().describe('Objects, or lists of them.'),
  artifact: ArtifactSource.optional(),
});

/** Renders manifests that are written out: what is there, is applied. */
export async function renderManifests(input: ComponentInput): Promise<readonly RenderedObject[]> {
  const { component, evaluator } = input;
  const raw = component.properties ?? {};
  // Raw text is full of ${…} of its own (shell, Grafana, Flux), so it is left alone unless told.
  const { manifests: text, ...rest } = raw;
  const evaluated = evaluator.evaluate(rest, 'properties') as Record<string, unknown>;
  const properties = parseProperties(
    ManifestsProperties,
    text === undefined ? evaluated : { ...evaluated, manifests: text },
    component,
  );
  exactlyOne(component, properties, ['manifests', 'objects', 'artifact']);
  const origin = { component: component.name };
  if (properties.manifests !== undefined) {
    const manifests = component.expressions
      ? evaluator.evaluateText(properties.manifests, 'properties.manifests')
      : properties.manifests;
    return parseManifests(manifests, origin);
  }
  if (properties.objects !== undefined) {
    return properties.objects.flatMap((object, index) =>
      checkObject(object, origin, `properties.objects[${index}]`),
    );
  }
  return readYamlFiles(input, input.artifact ?? {});
}

/** Every object of the .yaml and .yml files, in the order of their paths. */
function readYamlFiles({ component, evaluator }: ComponentInput, files: Files): RenderedObject[] {
  const paths = Object.keys(files)
    .filter((path) => /\.ya?ml$/.test(path))
    .sort();
  if (paths.length === 0) {
    throw new RenderError(
      'ArtifactInvalid',
      `component ${component.name}: the artifact holds no .yaml or .yml file`,
      { facts: { component: component.name } },
    );
  }
  return paths.flatMap((path) => {
    const text = textOf(files[path] ?? '');
    const evaluated = component.expressions ? evaluator.evaluateText(text, path) : text;
    return parseManifests(evaluated, { component: component.name, file: path });
  });
}

/** The text of a file. */
export function textOf(content: Uint8Array | string): string {
  return typeof content === 'string' ? content : Buffer.from(content).toString('utf8');
}

/** @throws RenderError `PropertiesInvalid` unless one, and only one, of the keys is given */
export function exactlyOne(
  component: { readonly name: string; readonly type: string },
  properties: Readonly<Record<string, unknown>>,
  keys: readonly string[],
): void {
  const given = keys.filter((key) => properties[key] !== undefined);
  if (given.length === 1) return;
  const has = given.length === 0 ? 'none of them' : given.join(' and ');
  throw new RenderError(
    'PropertiesInvalid',
    `component ${component.name} (${component.type}): properties needs exactly one of ${keys.join(', ')}, and has ${has}`,
    { facts: { component: component.name } },
  );
}
