import {
  type Condition,
  conditionsOf,
  findCondition,
  type Kustomization,
  MURAL_NAMESPACE,
  type OCIRepository,
  type SpokeWorkload,
  WORKLOAD_NAME_LABEL,
  WORKLOAD_NAMESPACE_LABEL,
} from '@mural/kube';
import { digestOfRevision } from '../apply/run.ts';
import { revisionOf } from '../apply/summary.ts';

/** Name of the OCIRepository and the Kustomization that deliver a spoke's own root. */
export const ROOT_NAME = 'mural-root';
/** Name of those that deliver its workloads, from the artifact of its group. */
export const GROUP_NAME = 'mural-group';

/** Characters of a message that is reported. */
const MESSAGE_LIMIT = 2000;

/** What a spoke runs, as it reports it. */
export interface SpokeReport {
  readonly rootDigest: string | undefined;
  readonly groupDigest: string | undefined;
  readonly registryUrl: string | undefined;
  readonly groupRegistryUrl: string | undefined;
  readonly rootRegistryUrl: string | undefined;
  readonly workloads: readonly SpokeWorkload[];
}

/** Reads the report off the spoke's Kustomizations and sources. */
export function reportOf(
  kustomizations: readonly Kustomization[],
  sources: readonly OCIRepository[],
): SpokeReport {
  const digestOf = (wanted: string): string | undefined =>
    appliedDigest(
      kustomizations.find(
        ({ metadata }) => metadata.namespace === MURAL_NAMESPACE && metadata.name === wanted,
      ),
    );
  const delivery = sources.filter(isOfDelivery);
  const root = delivery.find(({ metadata }) => metadata.name === ROOT_NAME);
  const others = delivery.filter((source) => source !== root);
  return {
    rootDigest: digestOf(ROOT_NAME),
    groupDigest: digestOf(GROUP_NAME),
    registryUrl: registryOf(delivery),
    // Workloads without their group say nothing about what the group is fetched from.
    groupRegistryUrl: others.some(({ metadata }) => metadata.name === GROUP_NAME)
      ? registryOf(others)
      : undefined,
    rootRegistryUrl: root?.spec.url,
    workloads: kustomizations
      .flatMap((kustomization) => workloadOf(kustomization) ?? [])
      .sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name)),
  };
}

/** Why what a spoke is to have cannot be fetched: of the first source that fails, its root before its group. */
export function fetchFailureOf(
  sources: readonly OCIRepository[],
): Pick<Condition, 'reason' | 'message'> | undefined {
  const rank = ({ metadata }: OCIRepository): number =>
    metadata.name === ROOT_NAME ? 0 : metadata.name === GROUP_NAME ? 1 : 2;
  const failing = sources
    .filter(isOfDelivery)
    .flatMap((source) => {
      const ready = findCondition(conditionsOf(source), 'Ready');
      return ready?.status === 'False' ? [{ source, ready }] : [];
    })
    .sort(
      (a, b) =>
        rank(a.source) - rank(b.source) ||
        compare(a.source.metadata.name ?? '', b.source.metadata.name ?? ''),
    );
  const [first] = failing;
  if (first === undefined) return undefined;
  const { ready, source } = first;
  const message = `OCIRepository ${source.metadata.name ?? ''}: ${ready.message}`;
  return { reason: ready.reason, message: message.slice(0, MESSAGE_LIMIT) };
}

function isOfDelivery({ metadata }: OCIRepository): boolean {
  const { labels = {}, name = '', namespace } = metadata;
  if (namespace !== MURAL_NAMESPACE) return false;
  return name === ROOT_NAME || name === GROUP_NAME || WORKLOAD_NAME_LABEL in labels;
}

/**
 * The repository that all sources have their content from. A source that names its content by digest and
 * has it is as good as fetched: neither Flux nor this spoke asks the registry for it again.
 */
function registryOf(sources: readonly OCIRepository[]): string | undefined {
  const [first] = sources;
  return sources.every((source) => isFetched(source) && source.spec.url === first?.spec.url)
    ? first?.spec.url
    : undefined;
}

function isFetched(source: OCIRepository): boolean {
  const { metadata, status } = source;
  const ready = findCondition(conditionsOf(source), 'Ready');
  // What is said of an older spec says nothing about its URL.
  const current =
    status?.observedGeneration === metadata.generation &&
    (ready?.observedGeneration ?? metadata.generation) === metadata.generation;
  return current && ready?.status === 'True' && status?.artifact !== undefined;
}

function workloadOf(kustomization: Kustomization): SpokeWorkload | undefined {
  const { labels = {}, deletionTimestamp, generation } = kustomization.metadata;
  const { [WORKLOAD_NAME_LABEL]: name, [WORKLOAD_NAMESPACE_LABEL]: namespace } = labels;
  if (name === undefined || namespace === undefined || deletionTimestamp !== undefined) return undefined;
  const conditions = conditionsOf(kustomization);
  const ready = findCondition(conditions, 'Ready');
  const digest = appliedDigest(kustomization);
  // A condition about an older spec says nothing about this one.
  const stale = ready?.observedGeneration !== undefined && ready.observedGeneration !== generation;
  const readyTime = ready?.status === 'True' && !stale ? readyTimeOf(kustomization) : undefined;
  return {
    name,
    namespace,
    ...(digest === undefined ? {} : { digest }),
    objects: objectsOf(kustomization),
    ...readiness(stale ? undefined : ready),
    ...health(findCondition(conditions, 'Healthy')),
    ...(readyTime === undefined ? {} : { readyTime }),
  };
}

function objectsOf({ status }: Kustomization): number {
  return status?.inventory?.entries.length ?? 0;
}

function health(healthy: Condition | undefined): Pick<SpokeWorkload, 'healthy' | 'healthReason'> {
  return healthy === undefined ? {} : { healthy: healthy.status, healthReason: healthy.reason };
}

function readiness(ready: Condition | undefined): Pick<SpokeWorkload, 'ready' | 'reason' | 'message'> {
  if (ready === undefined) return { ready: 'Unknown' };
  return { ready: ready.status, reason: ready.reason, message: ready.message };
}

/** When the revision that is applied was first ready; the history knows, and outlives a flapping condition. */
function readyTimeOf({ status }: Kustomization): string | undefined {
  const entry = status?.history?.find(
    (record) =>
      record['lastReconciledStatus'] === 'ReconciliationSucceeded' &&
      revisionOf(record) === status.lastAppliedRevision,
  );
  const first = entry?.['firstReconciled'];
  return typeof first === 'string' ? first : findCondition(status?.conditions, 'Ready')?.lastTransitionTime;
}

function appliedDigest(kustomization: Kustomization | undefined): string | undefined {
  const revision = kustomization?.status?.lastAppliedRevision;
  return revision === undefined ? undefined : digestOfRevision(revision);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
