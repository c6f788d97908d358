import { parseDuration } from '@mural/core';
import {
  type KubeObject,
  MURAL_NAMESPACE,
  objectKey,
  WORKLOAD_NAME_LABEL,
  WORKLOAD_NAMESPACE_LABEL,
  type WorkloadDeployment,
} from '@mural/kube';
import { emitDocuments } from '../render/emit.ts';
import { ROOT_NAME, type SpokeRegistrySettings, sourceSettings } from '../settings.ts';

/** A workload that a spoke is to have, and the artifact it is to have it from. */
export interface RootEntry {
  readonly deployment: WorkloadDeployment;
  readonly digest: string;
}

/** Unless the deployment says otherwise. */
const DEFAULT_INTERVAL = '10m';
const DEFAULT_TIMEOUT = '5m';
/** How soon a spoke tries again what failed. */
const RETRY_INTERVAL = '1m';

/** What the root of a spoke is made from: the recorded state of all deployments. */
export function rootEntries(spoke: string, deployments: readonly WorkloadDeployment[]): RootEntry[] {
  return deployments
    .flatMap((deployment) => {
      // A deployment that is being deleted is withdrawn, whatever its status says.
      if (deployment.metadata.deletionTimestamp !== undefined) return [];
      const digest = recordedDigests(deployment).get(spoke);
      return digest === undefined ? [] : [{ deployment, digest }];
    })
    .sort((a, b) => (objectKey(a.deployment) < objectKey(b.deployment) ? -1 : 1));
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

/**
 * The files of a spoke's root: an OCIRepository, pinned by digest, and a Kustomization for each
 * workload. It is a function of its input alone, so that equal state gives an equal digest.
 */
export function rootFiles(
  spoke: string,
  entries: readonly RootEntry[],
  settings: SpokeRegistrySettings,
): { readonly path: string; readonly content: string }[] {
  return [
    { path: '000-root.yaml', content: emitDocuments([rootMarker(spoke)]) },
    ...entries.map((entry) => ({
      path: `${workloadName(entry.deployment)}.yaml`,
      content: emitDocuments([source(entry, settings), kustomization(entry)]),
    })),
  ];
}

/** The name of a deployment's objects on a spoke: `<namespace>.<name>`. */
export function workloadName(deployment: KubeObject): string {
  return childName(deployment.metadata.namespace ?? '', deployment.metadata.name ?? '');
}

function childName(namespace: string, name: string): string {
  return `${namespace}.${name}`;
}

/** Keeps the root of a spoke without workloads from being empty, which kustomize refuses. */
function rootMarker(spoke: string): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: ROOT_NAME, namespace: MURAL_NAMESPACE },
    data: { spoke },
  };
}

function metadataOf({ deployment }: RootEntry): KubeObject['metadata'] {
  return {
    name: workloadName(deployment),
    namespace: MURAL_NAMESPACE,
    labels: {
      [WORKLOAD_NAME_LABEL]: deployment.metadata.name ?? '',
      [WORKLOAD_NAMESPACE_LABEL]: deployment.metadata.namespace ?? '',
    },
  };
}

function source(entry: RootEntry, settings: SpokeRegistrySettings): KubeObject & Record<string, unknown> {
  return {
    apiVersion: 'source.toolkit.fluxcd.io/v1',
    kind: 'OCIRepository',
    metadata: metadataOf(entry),
    spec: { ...sourceSettings(settings), ref: { digest: entry.digest } },
  };
}

function kustomization(entry: RootEntry): KubeObject & Record<string, unknown> {
  const { metadata, spec } = entry.deployment;
  const dependsOn = (spec.dependsOn ?? []).map(({ name, namespace }) => ({
    name: childName(namespace ?? metadata.namespace ?? '', name),
  }));
  return {
    apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
    kind: 'Kustomization',
    metadata: metadataOf(entry),
    spec: {
      sourceRef: { kind: 'OCIRepository', name: workloadName(entry.deployment) },
      path: './',
      // An invalid duration is told in the deployment's conditions and must not break the root, which
      // the other workloads of the spoke share.
      interval: usableDuration(spec.interval) ?? DEFAULT_INTERVAL,
      retryInterval: RETRY_INTERVAL,
      timeout: usableDuration(spec.timeout) ?? DEFAULT_TIMEOUT,
      prune: spec.prune ?? true,
      wait: true,
      ...(dependsOn.length === 0 ? {} : { dependsOn }),
    },
  };
}

/** Flux's pattern of durations; Go's further units (`ns`, `us`) are not in it. */
const FLUX_DURATION = /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;

/** The duration if Flux takes it and it is longer than nothing. */
export function usableDuration(text: string | undefined): string | undefined {
  return text !== undefined && FLUX_DURATION.test(text) && parseDuration(text) > 0 ? text : undefined;
}
