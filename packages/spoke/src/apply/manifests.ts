import { isRecord } from '@mural/core';
import type { UnstructuredObject } from '@mural/kube';
import { describeObject } from './order.ts';
import { inventoryId } from './inventory.ts';
import { parseManifestsOnce } from './parse-cache.ts';
import { ManifestError, parseManifests } from './yaml.ts';

/** The files of an artifact by path, with forward slashes and no leading one. */
export type FileTree = ReadonlyMap<string, Uint8Array>;

const KUSTOMIZATION_FILES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
/** kustomize leaves objects with this annotation out: they are input of tools, not of the cluster. */
const LOCAL_CONFIG = 'config.kubernetes.io/local-config';

/** A path inside an artifact as a folder: no leading `./`, no trailing slash, `''` for the root. */
export function normalizePath(path: string | undefined): string {
  const segments = (path ?? '').split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..')) throw new ManifestError(`path "${path ?? ''}" leads out of the artifact`);
  return segments.join('/');
}

/** The files at and below a folder. */
export function filesUnder(files: FileTree, folder: string): FileTree {
  if (folder === '') return files;
  return new Map([...files].filter(([path]) => path.startsWith(`${folder}/`)));
}

/** The folder's own kustomization file, if it has one. */
export function kustomizationFileOf(files: FileTree, folder: string): string | undefined {
  const prefix = folder === '' ? '' : `${folder}/`;
  return KUSTOMIZATION_FILES.map((name) => prefix + name).find((path) => files.has(path));
}

/**
 * Reads the objects under a folder when that needs no kustomize: a folder of plain YAML, or a
 * kustomization that only lists resources.
 *
 * @returns the objects, or `undefined` when kustomize itself is needed
 * @throws ManifestError with file and line
 */
export function readPlain(files: FileTree, folder: string): UnstructuredObject[] | undefined {
  const paths = plainPaths(files, folder, new Set());
  if (paths === undefined) return undefined;
  return readObjects(files, paths);
}

function plainPaths(files: FileTree, folder: string, seen: Set<string>): string[] | undefined {
  const file = kustomizationFileOf(files, folder);
  if (file === undefined) return generatedPaths(files, folder, seen);
  if (seen.has(folder)) throw new ManifestError(`${file}: includes itself`);
  seen.add(folder);
  const [kustomization] = parseManifests(decode(files, file), file);
  const resources = isRecord(kustomization) ? (kustomization['resources'] ?? []) : undefined;
  const others = isRecord(kustomization)
    ? Object.keys(kustomization).filter(
        (key) => !['apiVersion', 'kind', 'resources', 'metadata'].includes(key),
      )
    : [];
  if (!Array.isArray(resources) || others.length > 0) return undefined;
  const paths: string[] = [];
  for (const resource of resources) {
    const path = resolveWithin(folder, String(resource));
    if (path === undefined) return undefined;
    if (files.has(path)) paths.push(path);
    else {
      const inner =
        kustomizationFileOf(files, path) === undefined ? undefined : plainPaths(files, path, seen);
      if (inner === undefined) return undefined;
      paths.push(...inner);
    }
  }
  return paths;
}

/** As Flux generates a kustomization for a folder without one: every YAML file, and folders that have their own. */
function generatedPaths(files: FileTree, folder: string, seen: Set<string>): string[] | undefined {
  const under = [...filesUnder(files, folder).keys()].sort();
  const owned = under
    .filter((path) => KUSTOMIZATION_FILES.includes(path.slice(path.lastIndexOf('/') + 1)))
    .map((path) => path.slice(0, Math.max(0, path.lastIndexOf('/'))));
  const outermost = owned.filter(
    (path) => !owned.some((other) => other !== path && path.startsWith(`${other}/`)),
  );
  const paths = under.filter(
    (path) => /\.ya?ml$/.test(path) && !outermost.some((owner) => path.startsWith(`${owner}/`)),
  );
  for (const owner of outermost) {
    const inner = plainPaths(files, owner, seen);
    if (inner === undefined) return undefined;
    paths.push(...inner);
  }
  return paths;
}

function resolveWithin(folder: string, path: string): string | undefined {
  if (path.includes('://') || path.startsWith('/')) return undefined;
  const segments = folder === '' ? [] : folder.split('/');
  for (const segment of path.split('/')) {
    if (segment === '..') {
      if (segments.pop() === undefined) return undefined;
    } else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return segments.join('/');
}

function readObjects(files: FileTree, paths: readonly string[]): UnstructuredObject[] {
  const objects: UnstructuredObject[] = [];
  const places = new Map<string, string>();
  for (const path of new Set(paths)) {
    for (const object of objectsIn(decode(files, path), path)) {
      const id = inventoryId(object);
      const first = places.get(id);
      if (first !== undefined) {
        throw new ManifestError(`${path}: ${describeObject(object)} is already defined in ${first}`);
      }
      places.set(id, path);
      objects.push(object);
    }
  }
  return objects;
}

/**
 * The objects of one manifest: lists are opened, local configuration is left out.
 *
 * @throws ManifestError when a document is no object with apiVersion, kind and name
 */
export function objectsIn(text: string, file: string): UnstructuredObject[] {
  return parseManifestsOnce(text, file).flatMap((document) => expand(document, file));
}

function expand(document: unknown, file: string): UnstructuredObject[] {
  if (!isRecord(document)) throw new ManifestError(`${file}: a document is not an object`);
  const { apiVersion, kind, metadata, items } = document;
  if (typeof kind !== 'string' || kind === '') throw new ManifestError(`${file}: an object has no kind`);
  if (typeof apiVersion !== 'string' || apiVersion === '') {
    throw new ManifestError(`${file}: ${kind} has no apiVersion`);
  }
  if (kind.endsWith('List') && Array.isArray(items)) return items.flatMap((item) => expand(item, file));
  if (!isRecord(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '') {
    throw new ManifestError(`${file}: ${kind} has no metadata.name`);
  }
  const annotations = metadata['annotations'];
  if (
    isRecord(annotations) &&
    annotations[LOCAL_CONFIG] !== undefined &&
    annotations[LOCAL_CONFIG] !== 'false'
  ) {
    return [];
  }
  return [document as unknown as UnstructuredObject];
}

function decode(files: FileTree, path: string): string {
  const content = files.get(path);
  if (content === undefined) throw new ManifestError(`${path}: no such file`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (cause) {
    throw new ManifestError(`${path}: is not UTF-8`, { cause });
  }
}
