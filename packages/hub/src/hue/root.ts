import { createHash } from 'node:crypto';
import { canonicalJson, parseDuration } from '@mural/core';
import {
  type KubeObject,
  MURAL_NAMESPACE,
  WORKLOAD_NAME_LABEL,
  WORKLOAD_NAMESPACE_LABEL,
  type WorkloadDeployment,
} from '@mural/kube';
import { emitDocuments, emitYaml } from '../render/emit.ts';
import {
  FOLDER_LIMIT,
  GROUP_NAME,
  groupTag,
  ROOT_NAME,
  rootSource,
  type SpokeRegistrySettings,
  sourceSettings,
  spokeFolder,
} from '../settings.ts';
import type { Content, Entry } from './contents.ts';

/** A file of an artifact. */
export interface RootFile {
  readonly path: string;
  readonly content: string;
}

/** A spoke as the artifact of its group has it. */
export interface Member {
  readonly name: string;
  readonly settings: SpokeRegistrySettings;
  readonly content: Content;
}

type Manifest = KubeObject & Record<string, unknown>;

/** Unless the deployment says otherwise. */
const DEFAULT_INTERVAL = '10m';
const DEFAULT_TIMEOUT = '5m';
/** How soon a spoke tries again what failed. */
const RETRY_INTERVAL = '1m';
/** Keeps the source of the root when the root itself goes, or a root comes that does not have it (Flux). */
const KEEP = { 'kustomize.toolkit.fluxcd.io/prune': 'disabled' };

/** The group of a spoke, as its own root is to have it. */
export interface OwnRootGroup {
  readonly id: string;
  readonly suspended: boolean;
  /** Whether the source of the root is left as the spoke has it: see `moves.ts`. */
  readonly rootStays?: boolean;
}

/**
 * The files of a spoke's own root: its own source, so that the spoke follows the settings of the hub,
 * and source and applier of its group. They depend on their input alone, and change only when the spoke
 * moves to another group or registry or is suspended.
 */
export function ownRootFiles(
  spoke: string,
  settings: SpokeRegistrySettings,
  group: OwnRootGroup,
): RootFile[] {
  const root = object('source.toolkit.fluxcd.io/v1', 'OCIRepository', ROOT_NAME, {
    spec: rootSource(spoke, settings),
  });
  const source = object('source.toolkit.fluxcd.io/v1', 'OCIRepository', GROUP_NAME, {
    spec: { ...sourceSettings(settings), ref: { tag: groupTag(group.id) } },
  });
  const applier = object('kustomize.toolkit.fluxcd.io/v1', 'Kustomization', GROUP_NAME, {
    spec: {
      sourceRef: { kind: 'OCIRepository', name: GROUP_NAME },
      path: `./${spokeFolder(spoke)}`,
      interval: settings.interval,
      retryInterval: RETRY_INTERVAL,
      timeout: DEFAULT_TIMEOUT,
      prune: true,
      // It only makes sources and appliers; they report their health themselves.
      wait: false,
      ...(group.suspended ? { suspend: true } : {}),
    },
  });
  return [
    { path: '000-root.yaml', content: emitDocuments([marker(ROOT_NAME, { spoke })]) },
    { path: 'group.yaml', content: emitDocuments([source, applier]) },
    // Without it the spoke keeps the one that it has, for that is never pruned.
    ...(group.rootStays === true
      ? []
      : [
          {
            path: 'root.yaml',
            content: emitDocuments([{ ...root, metadata: { ...root.metadata, annotations: KEEP } }]),
          },
        ]),
  ];
}

/**
 * The files of a group's artifact: what its members are to have, each workload once however many have
 * it, and a folder for each member that names its own. A spoke that is no member finds no folder, and so
 * applies nothing that is not meant for it and deletes nothing either.
 */
export function groupFiles(group: string, members: readonly Member[]): RootFile[] {
  const files = new Map<string, RootFile>();
  const add = (path: string, content: string): void => void files.set(path, { path, content });
  add('group/marker.yaml', emitDocuments([marker(GROUP_NAME, { group })]));
  add('group/kustomization.yaml', listing(['marker.yaml']));
  for (const { name, settings, content } of members) {
    const folders: string[] = [];
    for (const entry of content.entries.values()) {
      const { folder, text } = workload(entry, settings);
      folders.push(folder);
      if (files.has(`${folder}/workload.yaml`)) continue;
      add(`${folder}/workload.yaml`, text);
      add(`${folder}/kustomization.yaml`, listing(['workload.yaml']));
    }
    // A kustomization without resources is refused, so every member has the marker at least.
    const resources = ['group', ...folders.sort()].map((folder) => `../../${folder}`);
    add(`${spokeFolder(name)}/kustomization.yaml`, listing(resources));
  }
  return [...files.values()];
}

/** How many workloads differ in some way between the members of a group: what its artifact grows with. */
export function distinctWorkloads(members: readonly Member[]): number {
  const distinct = new Set<string>();
  for (const { content, settings } of uniqueContents(members)) {
    for (const { id } of content.entries.values()) distinct.add(`${id} ${settingsKey(settings)}`);
  }
  return distinct.size;
}

/** One member of each content and settings. */
export function uniqueContents(members: readonly Member[]): Member[] {
  const unique = new Map<string, Member>();
  for (const member of members) unique.set(`${member.content.id} ${settingsKey(member.settings)}`, member);
  return [...unique.values()];
}

const digestsByStatus = new WeakMap<object, ReadonlyMap<string, string>>();
const NONE: ReadonlyMap<string, string> = new Map();

/** What is recorded as published, by spoke; kept per status, for there may be thousands of spokes. */
export function recordedDigests(deployment: WorkloadDeployment | undefined): ReadonlyMap<string, string> {
  const spokes = deployment?.status?.spokes;
  if (spokes === undefined) return NONE;
  const known = digestsByStatus.get(spokes);
  if (known !== undefined) return known;
  const digests = new Map(
    spokes.flatMap(({ name, digest }) => (digest === undefined ? [] : [[name, digest] as const])),
  );
  digestsByStatus.set(spokes, digests);
  return digests;
}

const settingsKeys = new WeakMap<object, string>();

/** Equal for equal settings. */
export function settingsKey(settings: SpokeRegistrySettings): string {
  const known = settingsKeys.get(settings) ?? canonicalJson(settings);
  settingsKeys.set(settings, known);
  return known;
}

/** The name of a deployment's objects on a spoke: `<namespace>.<name>`. */
export function workloadName({
  namespace,
  name,
}: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${namespace}.${name}`;
}

interface Written {
  readonly folder: string;
  readonly text: string;
}

const written = new WeakMap<Entry, Map<string, Written>>();

/** Folder and manifests of a workload, written once for all spokes that have it so. */
function workload(entry: Entry, settings: SpokeRegistrySettings): Written {
  const bySettings = written.get(entry) ?? new Map<string, Written>();
  written.set(entry, bySettings);
  const key = settingsKey(settings);
  const known = bySettings.get(key);
  if (known !== undefined) return known;
  const text = emitDocuments([source(entry, settings), kustomization(entry)]);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12);
  const name = workloadName(entry).slice(0, FOLDER_LIMIT - 1 - hash.length);
  const made = { folder: `workloads/${name}-${hash}`, text };
  bySettings.set(key, made);
  return made;
}

function source(entry: Entry, settings: SpokeRegistrySettings): Manifest {
  return object('source.toolkit.fluxcd.io/v1', 'OCIRepository', workloadName(entry), {
    ...labels(entry),
    spec: { ...sourceSettings(settings), ref: { digest: entry.digest } },
  });
}

function kustomization(entry: Entry): Manifest {
  const { namespace, spec } = entry;
  const dependsOn = (spec.dependsOn ?? []).map((other) => ({
    name: workloadName({ namespace: other.namespace ?? namespace, name: other.name }),
  }));
  return object('kustomize.toolkit.fluxcd.io/v1', 'Kustomization', workloadName(entry), {
    ...labels(entry),
    spec: {
      sourceRef: { kind: 'OCIRepository', name: workloadName(entry) },
      path: './',
      // An invalid duration is told in the deployment's conditions and must not break the artifact, which
      // the other workloads of the group share.
      interval: usableDuration(spec.interval) ?? DEFAULT_INTERVAL,
      retryInterval: RETRY_INTERVAL,
      timeout: usableDuration(spec.timeout) ?? DEFAULT_TIMEOUT,
      prune: spec.prune ?? true,
      wait: true,
      ...(dependsOn.length === 0 ? {} : { dependsOn }),
    },
  });
}

function labels({ name, namespace }: Entry): { readonly labels: Readonly<Record<string, string>> } {
  return { labels: { [WORKLOAD_NAME_LABEL]: name, [WORKLOAD_NAMESPACE_LABEL]: namespace } };
}

function object(
  apiVersion: string,
  kind: string,
  name: string,
  { labels, spec }: { readonly labels?: Readonly<Record<string, string>>; readonly spec: unknown },
): Manifest {
  const metadata = { name, namespace: MURAL_NAMESPACE, ...(labels === undefined ? {} : { labels }) };
  return { apiVersion, kind, metadata, spec };
}

function marker(name: string, data: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: MURAL_NAMESPACE }, data };
}

function listing(resources: readonly string[]): string {
  return emitYaml({ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources });
}

/** Flux's pattern of durations; Go's further units (`ns`, `us`) are not in it. */
const FLUX_DURATION = /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;

/** The duration if Flux takes it and it is longer than nothing. */
export function usableDuration(text: string | undefined): string | undefined {
  return text !== undefined && FLUX_DURATION.test(text) && parseDuration(text) > 0 ? text : undefined;
}
