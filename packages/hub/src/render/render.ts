import { nearest } from '@mural/core';
import { type Component, type KubeObject, MURAL_NAMESPACE, objectKey } from '@mural/kube';
import { RenderError } from '../errors.ts';
import { emitDocuments } from './emit.ts';
import { Evaluator, type SpokeUse, widest } from './expressions.ts';
import { renderHelm } from './helm.ts';
import { renderKustomize } from './kustomize.ts';
import { renderManifests } from './manifests.ts';
import { kindKey, Scopes } from './scope.ts';
import type { ComponentRenderer, RenderedObject, RenderInput, Rendering } from './types.ts';
import { renderWebservice } from './webservice.ts';

const RENDERERS: ReadonlyMap<string, ComponentRenderer> = new Map([
  ['manifests', renderManifests],
  ['kustomize', renderKustomize],
  ['helm', renderHelm],
  ['webservice', renderWebservice],
]);

interface ComponentObjects {
  readonly component: Component;
  readonly namespace: string;
  readonly objects: readonly RenderedObject[];
}

/**
 * Renders a workload: its components in their order, each into one file of canonical YAML. The
 * result is a function of the input alone.
 *
 * @throws RenderError when the input cannot be rendered; nothing is returned in part
 */
export async function renderWorkload(input: RenderInput): Promise<Rendering> {
  checkComponents(input.profile.components);
  const rendered: ComponentObjects[] = [];
  let spokeUse: SpokeUse = 'none';
  for (const component of input.profile.components) {
    const result = await renderComponent(component, input);
    spokeUse = widest(spokeUse, result.spokeUse);
    rendered.push(result);
  }
  const all = rendered.flatMap((part) => part.objects.map(({ object }) => object));
  const scopes = new Scopes(all, input.scopes);
  const placed = rendered.map((part) => placeAll(part, scopes));
  refuseDuplicates(placed);
  const namespaces = new Set(all.filter(isNamespace).map(({ metadata }) => metadata.name ?? ''));
  const files = placed.map((part, index) => ({
    path: `${String(index).padStart(3, '0')}-${part.component.name}.yaml`,
    content: emitDocuments([
      ...missingNamespace(part, namespaces),
      ...part.objects.map(({ object }) => object),
    ]),
  }));
  return { files, objects: all.length, spokeUse, unknownKinds: scopes.unknown };
}

/** Errors that need no rendering to be seen. */
function checkComponents(components: readonly Component[]): void {
  const seen = new Set<string>();
  for (const { name, type } of components) {
    if (seen.has(name)) {
      throw new RenderError('RenderFailed', `component ${name} is there twice`, {
        facts: { component: name },
      });
    }
    seen.add(name);
    if (RENDERERS.has(type)) continue;
    const known = [...RENDERERS.keys()];
    const near = nearest(type, known);
    throw new RenderError(
      'ComponentTypeUnknown',
      `component ${name}: there is no component type ${JSON.stringify(type)}; known are ${known.join(', ')}` +
        (near === undefined ? '' : `. Did you mean ${near}?`),
      { facts: { component: name, type, known } },
    );
  }
}

async function renderComponent(
  component: Component,
  input: RenderInput,
): Promise<ComponentObjects & { readonly spokeUse: SpokeUse }> {
  const evaluator = new Evaluator(component.name, input.variables);
  const namespace = component.namespace ?? input.variables.deployment.namespace;
  const renderer = RENDERERS.get(component.type);
  const objects = await renderer?.({
    component,
    evaluator,
    variables: input.variables,
    artifact: input.artifacts[component.name],
    namespace,
    renderers: input.renderers,
    searchPath: input.searchPath,
    deadlineMs: input.deadlineMs,
  });
  return { component, namespace, objects: objects ?? [], spokeUse: evaluator.spokeUse };
}

interface PlacedObjects extends ComponentObjects {
  /** Whether some object got the namespace of the component because it named none. */
  readonly usesNamespace: boolean;
}

/** Gives objects of namespaced kinds their namespace when they name none. */
function placeAll(part: ComponentObjects, scopes: Scopes): PlacedObjects {
  let usesNamespace = false;
  const objects = part.objects.map((item) => {
    const { object } = item;
    if (!scopes.namespaced(object) || (object.metadata.namespace ?? '') !== '') return item;
    usesNamespace = true;
    return { ...item, object: { ...object, metadata: { ...object.metadata, namespace: part.namespace } } };
  });
  return { ...part, objects, usesNamespace };
}

function refuseDuplicates(parts: readonly ComponentObjects[]): void {
  const seen = new Map<string, string>();
  for (const { component, objects } of parts) {
    for (const { object, where } of objects) {
      const key = `${kindKey(object)} ${objectKey(object)}`;
      const here = `component ${component.name}, ${where}`;
      const before = seen.get(key);
      if (before !== undefined) {
        throw new RenderError(
          'RenderFailed',
          `${here}: ${object.kind} ${objectKey(object)} is there already (${before})`,
          { facts: { component: component.name, object: key } },
        );
      }
      seen.set(key, here);
    }
  }
}

function isNamespace(object: KubeObject): boolean {
  return object.kind === 'Namespace' && object.apiVersion === 'v1';
}

/** Namespaces that are on every cluster. */
const GIVEN_NAMESPACES = new Set([
  'default',
  'kube-system',
  'kube-public',
  'kube-node-lease',
  MURAL_NAMESPACE,
]);

/**
 * The Namespace that objects were put into and that nothing of the workload brings. Others may live
 * in it too, so it is only ever created: never changed, and not pruned with the workload.
 */
function missingNamespace(part: PlacedObjects, present: Set<string>): KubeObject[] {
  const name = part.namespace;
  if (!part.usesNamespace || GIVEN_NAMESPACES.has(name) || present.has(name)) return [];
  present.add(name);
  const annotations = {
    'kustomize.toolkit.fluxcd.io/prune': 'disabled',
    'kustomize.toolkit.fluxcd.io/ssa': 'IfNotPresent',
  };
  return [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, annotations } }];
}
