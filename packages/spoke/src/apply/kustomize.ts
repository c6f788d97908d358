import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errorMessage, isRecord, MuralError } from '@mural/core';
import type { KustomizationSpec, UnstructuredObject } from '@mural/kube';
import { type FileTree, filesUnder, kustomizationFileOf, objectsIn } from './manifests.ts';
import { ManifestError, parseManifests, writeYaml } from './yaml.ts';

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const REMOTE =
  /^(?:https?|ssh|git|file|s3|gcs):|^git@|[?&](?:ref|version)=|^(?:github|gitlab|bitbucket)\.\w+[/:]/;
/** Keys whose values are content and not places to load from. */
const CONTENT_KEYS: ReadonlySet<string> = new Set([
  ...['commonAnnotations', 'commonLabels', 'labels', 'literals', 'patch', 'patchesStrategicMerge', 'images'],
  ...['namespace', 'namePrefix', 'nameSuffix', 'replicas', 'metadata', 'apiVersion'],
]);

/** A build by kustomize that could not be made. */
export class KustomizeError extends MuralError<'KustomizeMissing' | 'KustomizeFailed'> {}

/** What {@link kustomizeBuild} needs beside the files. */
export interface KustomizeOptions {
  /** Path of the binary; looked for on PATH unless given. */
  readonly binary?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Whether the spec asks for something that only kustomize itself does. */
export function specNeedsKustomize(spec: KustomizationSpec): boolean {
  return [spec.namePrefix, spec.nameSuffix, spec.components, spec.buildMetadata].some(
    (field) => field !== undefined && field.length > 0,
  );
}

/**
 * Builds a folder with the kustomize binary, its kustomization merged with the fields of the spec as
 * Flux's generator does. Nothing is loaded from outside the artifact, and no plugins run.
 *
 * @throws KustomizeError `KustomizeMissing`, `KustomizeFailed`
 */
export async function kustomizeBuild(
  files: FileTree,
  folder: string,
  spec: KustomizationSpec,
  options: KustomizeOptions,
): Promise<UnstructuredObject[]> {
  const binary = options.binary ?? (await findBinary('kustomize'));
  if (binary === undefined) {
    throw new KustomizeError(
      'KustomizeMissing',
      'this build needs the kustomize binary, which is not on PATH',
      {
        hint: 'Install kustomize (https://kubectl.docs.kubernetes.io/installation/kustomize/) where the spoke runs.',
      },
    );
  }
  refuseRemotes(files);
  const workspace = await mkdtemp(join(tmpdir(), 'mural-kustomize-'));
  try {
    for (const [path, content] of files) {
      await mkdir(dirname(join(workspace, path)), { recursive: true });
      await writeFile(join(workspace, path), content);
    }
    const file = kustomizationFileOf(files, folder);
    const merged = mergedKustomization(files, folder, file, spec);
    await writeFile(join(workspace, file ?? join(folder, 'kustomization.yaml')), writeYaml(merged));
    return objectsIn(await run(binary, join(workspace, folder), options), 'kustomize build');
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
}

async function run(binary: string, folder: string, options: KustomizeOptions): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(binary, ['build', folder], {
      timeout: options.timeoutMs,
      maxBuffer: MAX_OUTPUT_BYTES,
      killSignal: 'SIGKILL',
      // Nothing of this process's environment reaches the build: its output may depend on the files alone.
      env: { PATH: '', HOME: folder },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return stdout;
  } catch (cause) {
    const stderr = isRecord(cause) && typeof cause['stderr'] === 'string' ? cause['stderr'].trim() : '';
    const detail = (stderr === '' ? errorMessage(cause) : stderr).replaceAll(folder, '.').slice(0, 2000);
    throw new KustomizeError('KustomizeFailed', `kustomize build failed: ${detail}`, { cause });
  }
}

function mergedKustomization(
  files: FileTree,
  folder: string,
  file: string | undefined,
  spec: KustomizationSpec,
): Record<string, unknown> {
  const base = file === undefined ? generated(files, folder) : readKustomization(files, file);
  const list = (key: string): unknown[] => (Array.isArray(base[key]) ? (base[key] as unknown[]) : []);
  const given = new Set(spec.images?.map(({ name }) => name));
  const images = list('images').filter((image) => !isRecord(image) || !given.has(String(image['name'])));
  return {
    ...base,
    ...(spec.targetNamespace === undefined ? {} : { namespace: spec.targetNamespace }),
    ...(spec.namePrefix === undefined ? {} : { namePrefix: spec.namePrefix }),
    ...(spec.nameSuffix === undefined ? {} : { nameSuffix: spec.nameSuffix }),
    ...(spec.patches === undefined ? {} : { patches: [...list('patches'), ...spec.patches] }),
    ...(spec.images === undefined ? {} : { images: [...images, ...spec.images] }),
    ...(spec.buildMetadata === undefined ? {} : { buildMetadata: spec.buildMetadata }),
    ...componentsOf(files, folder, list('components'), spec),
  };
}

function componentsOf(
  files: FileTree,
  folder: string,
  base: readonly unknown[],
  spec: KustomizationSpec,
): Record<string, unknown> {
  if (spec.components === undefined) return {};
  const present = spec.components.filter(
    (component) =>
      spec.ignoreMissingComponents !== true ||
      filesUnder(files, join(folder, component).replace(/\/$/, '')).size > 0,
  );
  return { components: [...base, ...present] };
}

function generated(files: FileTree, folder: string): Record<string, unknown> {
  const prefix = folder === '' ? '' : `${folder}/`;
  const under = [...filesUnder(files, folder).keys()].sort().map((path) => path.slice(prefix.length));
  const owned = under
    .filter((path) => /\/(?:kustomization\.ya?ml|Kustomization)$/.test(path))
    .map((path) => dirname(path));
  const outermost = owned.filter((path) => !owned.some((other) => path.startsWith(`${other}/`)));
  const plain = under.filter(
    (path) => /\.ya?ml$/.test(path) && !outermost.some((owner) => path.startsWith(`${owner}/`)),
  );
  return {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [...plain, ...outermost],
  };
}

function readKustomization(files: FileTree, file: string): Record<string, unknown> {
  const [value] = parseManifests(new TextDecoder().decode(files.get(file)), file);
  if (!isRecord(value)) throw new ManifestError(`${file}: is not a kustomization`);
  return value;
}

/** kustomize would fetch URLs by git or HTTP: a spoke takes content from its registry and nowhere else. */
function refuseRemotes(files: FileTree): void {
  for (const path of files.keys()) {
    if (!/(?:^|\/)(?:kustomization\.ya?ml|Kustomization)$/.test(path)) continue;
    const remote = findRemote(readKustomization(files, path));
    if (remote === undefined) continue;
    throw new KustomizeError(
      'KustomizeFailed',
      `${path}: "${remote}" is outside the artifact, which is not allowed`,
    );
  }
}

function findRemote(value: unknown): string | undefined {
  if (typeof value === 'string') return REMOTE.test(value) ? value : undefined;
  if (Array.isArray(value)) return value.map(findRemote).find((found) => found !== undefined);
  if (!isRecord(value)) return undefined;
  return Object.entries(value)
    .filter(([key]) => !CONTENT_KEYS.has(key))
    .map(([, inner]) => findRemote(inner))
    .find((found) => found !== undefined);
}

async function findBinary(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (folder === '') continue;
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}
