import { errorMessage, isRecord, MuralError } from '@mural/core';
import {
  CONFIG_MAPS,
  KUSTOMIZE_NAME_LABEL,
  KUSTOMIZE_NAMESPACE_LABEL,
  type KubeClient,
  type KubeObject,
  type Kustomization,
  type KustomizationSpec,
  SECRETS,
  type UnstructuredObject,
} from '@mural/kube';
import type { ConfidentialValues } from './confidential.ts';
import { inventoryId } from './inventory.ts';
import { kustomizeBuild, specNeedsKustomize } from './kustomize.ts';
import { type FileTree, filesUnder, normalizePath, readPlain } from './manifests.ts';
import { describeObject } from './order.ts';
import { applyPatches } from './patches.ts';
import { checkVariables, hasVariables, oneLine, substitute } from './substitute.ts';
import { withImages, withMetadata, withNamespace } from './transform.ts';
import { parseOne, writeYaml } from './yaml.ts';

/** Objects cannot be built from an artifact; `PathMissing` is told apart because Flux gives it another reason. */
export class BuildError extends MuralError<'PathMissing' | 'BuildFailed'> {}

/** What a build needs beside artifact and spec. */
export interface BuildContext {
  readonly client: KubeClient;
  /** Path of the kustomize binary; looked for on PATH unless given. */
  readonly kustomize?: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Told of what must not be quoted in a message. */
  readonly confidential: ConfidentialValues;
}

/** Label or annotation that keeps `${…}` in an object as it is. */
const SUBSTITUTE = 'kustomize.toolkit.fluxcd.io/substitute';

/**
 * The objects that a Kustomization stands for: read, transformed, substituted, labelled as its own.
 *
 * @throws BuildError, or an error of the step with its own words
 */
export async function buildObjects(
  kustomization: Kustomization,
  spec: KustomizationSpec,
  files: FileTree,
  context: BuildContext,
): Promise<UnstructuredObject[]> {
  const folder = normalizePath(spec.path);
  if (filesUnder(files, folder).size === 0) {
    throw new BuildError(
      'PathMissing',
      `kustomization path not found: ${spec.path ?? '.'}: no such file or directory`,
    );
  }
  let objects = await builtPlain(spec, files, folder, context);
  objects ??= await kustomizeBuild(files, folder, spec, {
    binary: context.kustomize,
    timeoutMs: context.timeoutMs,
    signal: context.signal,
  });
  objects = await placed(await substituted(kustomization, spec, objects, context), context.client);
  for (const object of objects) context.confidential.addSecret(object);
  return objects.map((object) => owned(object, kustomization, spec));
}

/**
 * Namespaced objects that name no namespace go to `default`, objects of the cluster have none: so that the
 * inventory, which outlives the build, names objects by where they are.
 *
 * @throws BuildError when two turn out to be the same object
 */
async function placed(
  objects: readonly UnstructuredObject[],
  client: KubeClient,
): Promise<UnstructuredObject[]> {
  const namespaced = await namespacedKinds(objects, client);
  const seen = new Set<string>();
  return objects.map((object) => {
    const { namespace = 'default', ...metadata } = object.metadata;
    const isNamespaced = namespaced.has(`${object.apiVersion}/${object.kind}`);
    const result = { ...object, metadata: isNamespaced ? { ...metadata, namespace } : metadata };
    const id = inventoryId(result);
    if (seen.has(id)) {
      throw new BuildError('BuildFailed', `${describeObject(result)} is defined more than once`);
    }
    seen.add(id);
    return result;
  });
}

/** The objects, transformed; `undefined` when that needs kustomize itself. */
async function builtPlain(
  spec: KustomizationSpec,
  files: FileTree,
  folder: string,
  { client }: BuildContext,
): Promise<UnstructuredObject[] | undefined> {
  const plain = specNeedsKustomize(spec) ? undefined : readPlain(files, folder);
  if (plain === undefined) return undefined;
  let result = spec.patches === undefined ? plain : applyPatches(plain, spec.patches);
  // What refers to a renamed object must be renamed too, and only kustomize knows all that may.
  if (result !== plain && hasNewIdentities(result, plain)) return undefined;
  if (spec.images !== undefined) result = withImages(result, spec.images);
  if (spec.targetNamespace === undefined) return result;
  const namespaced = await namespacedKinds(result, client);
  return withNamespace(result, spec.targetNamespace, (object) =>
    namespaced.has(`${object.apiVersion}/${object.kind}`),
  );
}

function hasNewIdentities(
  now: readonly UnstructuredObject[],
  before: readonly UnstructuredObject[],
): boolean {
  const known = new Set(before.map(inventoryId));
  return now.some((object) => !known.has(inventoryId(object)));
}

/** Kinds are looked up in the API and, for those that the set itself defines, in its definitions. */
async function namespacedKinds(
  objects: readonly UnstructuredObject[],
  client: KubeClient,
): Promise<Set<string>> {
  const kinds = new Map(
    objects.map(({ apiVersion, kind }) => [`${apiVersion}/${kind}`, { apiVersion, kind }]),
  );
  const namespaced = new Set<string>();
  for (const [key, { apiVersion, kind }] of kinds) {
    const resource = await client.resourceFor(apiVersion, kind);
    if (resource?.namespaced ?? definedNamespaced(objects, apiVersion, kind)) namespaced.add(key);
  }
  return namespaced;
}

function definedNamespaced(
  objects: readonly UnstructuredObject[],
  apiVersion: string,
  kind: string,
): boolean {
  const definition = objects.find(({ kind: of, ...rest }) => {
    const spec = rest['spec'];
    if (of !== 'CustomResourceDefinition' || !isRecord(spec) || !isRecord(spec['names'])) return false;
    return spec['names']['kind'] === kind && apiVersion.startsWith(`${String(spec['group'])}/`);
  });
  const spec = definition?.['spec'];
  return !isRecord(spec) || spec['scope'] !== 'Cluster';
}

async function substituted(
  kustomization: Kustomization,
  spec: KustomizationSpec,
  objects: readonly UnstructuredObject[],
  context: BuildContext,
): Promise<UnstructuredObject[]> {
  if (spec.postBuild === undefined) return [...objects];
  const variables = await variablesOf(kustomization, spec.postBuild, context);
  if (variables.size === 0 && spec.postBuild.substituteStrategy !== 'Always') return [...objects];
  return objects.map((object) => {
    const { labels, annotations } = object.metadata;
    if (labels?.[SUBSTITUTE] === 'disabled' || annotations?.[SUBSTITUTE] === 'disabled') return object;
    const text = writeYaml(object);
    if (!hasVariables(text)) return object;
    try {
      return parseSubstituted(substitute(text, variables));
    } catch (cause) {
      const hint = cause instanceof MuralError && cause.hint !== undefined ? { hint: cause.hint } : {};
      throw new BuildError(
        'BuildFailed',
        `post build failed for '${describeObject(object)}': ${errorMessage(cause)}`,
        { cause, ...hint },
      );
    }
  });
}

function parseSubstituted(text: string): UnstructuredObject {
  let result: unknown;
  try {
    result = parseOne(text, 'the result');
  } catch {
    // The parser's own words may quote a part of a value, which may be a secret.
    throw new BuildError('BuildFailed', 'the result is not valid YAML', {
      hint: 'Put quotes around a variable whose value is text.',
    });
  }
  if (!isRecord(result) || !isRecord(result['metadata'])) {
    throw new BuildError('BuildFailed', 'the result is not an object');
  }
  return result as unknown as UnstructuredObject;
}

/** Variables of `substituteFrom` in order, then those of `substitute`, which win. */
async function variablesOf(
  kustomization: Kustomization,
  postBuild: NonNullable<KustomizationSpec['postBuild']>,
  { client, signal, confidential }: BuildContext,
): Promise<Map<string, string>> {
  const variables = new Map<string, string>();
  const namespace = kustomization.metadata.namespace;
  for (const { kind, name, optional } of postBuild.substituteFrom ?? []) {
    const resource = kind === 'Secret' ? SECRETS : CONFIG_MAPS;
    const object = await client.find<KubeObject & { readonly data?: Readonly<Record<string, string>> }>(
      resource,
      { name, namespace },
      { signal },
    );
    if (object === undefined) {
      if (optional) continue;
      throw new BuildError(
        'BuildFailed',
        `substitute from '${kind}/${name}' error: ${kind} "${name}" not found`,
      );
    }
    for (const [key, value] of Object.entries(object.data ?? {})) {
      const plain = kind === 'Secret' ? Buffer.from(value, 'base64').toString('utf8') : value;
      // As it is substituted, which is without newlines, and as it is.
      if (kind === 'Secret') for (const form of [plain, oneLine(plain)]) confidential.add(form);
      variables.set(key, plain);
    }
  }
  for (const [key, value] of Object.entries(postBuild.substitute ?? {})) variables.set(key, value);
  return checkVariables(variables);
}

function owned(
  object: UnstructuredObject,
  kustomization: Kustomization,
  spec: KustomizationSpec,
): UnstructuredObject {
  const { name = '', namespace = '' } = kustomization.metadata;
  const common = spec.commonMetadata ?? {};
  return withMetadata(object, {
    ...common,
    labels: {
      ...common.labels,
      [KUSTOMIZE_NAME_LABEL]: name,
      [KUSTOMIZE_NAMESPACE_LABEL]: namespace,
    },
  });
}
