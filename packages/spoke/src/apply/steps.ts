import { createHash } from 'node:crypto';
import {
  canonicalJson,
  type Clock,
  formatDuration,
  type Logger,
  MuralError,
  parseDuration,
} from '@mural/core';
import {
  isKubeError,
  KUSTOMIZE_NAME_LABEL,
  KUSTOMIZE_NAMESPACE_LABEL,
  type KubeClient,
  type Kustomization,
  KustomizationSpec,
  type OCIRepository,
  ReconcileError,
  type UnstructuredObject,
} from '@mural/kube';
import { unpackLayer } from '@mural/oci';
import { conditionMessage, splitKey } from '../status.ts';
import { type ArtifactStorage, StorageError } from '../source/storage.ts';
import { applyObjects } from './applier.ts';
import { BuildError, buildObjects } from './build.ts';
import { expressionError } from './cel.ts';
import { unmetDependency } from './dependencies.ts';
import type { HealthTarget } from './health.ts';
import { inventoryEntry, mergeInventories, staleEntries } from './inventory.ts';
import type { FileTree } from './manifests.ts';
import { describeObject } from './order.ts';
import { pruneObjects } from './prune.ts';
import type { ApplyRun } from './run.ts';

/** What the steps work with. */
export interface ApplyTools {
  readonly client: KubeClient;
  readonly storage: ArtifactStorage;
  readonly clock: Clock;
  readonly log: Logger;
  /** Path of the kustomize binary; looked for on PATH unless given. */
  readonly kustomize: string | undefined;
  /** Objects of one Kustomization that are worked on at a time. */
  readonly concurrency: number;
  findSource(key: string): OCIRepository | undefined;
  findKustomization(key: string): Kustomization | undefined;
}

/** How soon a dependency or source that is not there yet is looked for, should its change go unnoticed. */
export const DEPENDENCY_RETRY_MS = 30_000;

/** `namespace/name` of the source of a Kustomization. */
export function sourceKey({ spec, metadata }: Kustomization): string {
  return `${spec.sourceRef.namespace ?? metadata.namespace ?? ''}/${spec.sourceRef.name}`;
}

/** Step 1: defaults are filled in; what this controller cannot do is refused rather than passed over. */
export function validateSpec(run: ApplyRun): void {
  const parsed = KustomizationSpec.safeParse(run.object.spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw stalled('InvalidSpec', `spec.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`);
  }
  run.spec = parsed.data;
  const { sourceRef, decryption, kubeConfig, serviceAccountName } = run.spec;
  if (sourceRef.kind !== 'OCIRepository') {
    throw stalled(
      'UnsupportedFeature',
      `spec.sourceRef.kind '${sourceRef.kind}' is not supported, only OCIRepository`,
    );
  }
  const unsupported = Object.entries({ decryption, kubeConfig, serviceAccountName }).find(
    ([, value]) => value !== undefined,
  );
  if (unsupported !== undefined) {
    throw stalled('UnsupportedFeature', `spec.${unsupported[0]} is not supported by this controller`);
  }
  checkExpressions(run.spec);
}

function checkExpressions({ healthCheckExprs = [] }: KustomizationSpec): void {
  for (const [index, { current, failed, inProgress }] of healthCheckExprs.entries()) {
    for (const expression of [current, failed, inProgress]) {
      const error = expression === undefined ? undefined : expressionError(expression);
      if (error !== undefined)
        throw stalled('InvalidCELExpression', `spec.healthCheckExprs[${index}]: ${error}`);
    }
  }
}

/** Step 2: the source is there and has an artifact. */
export function findArtifact(run: ApplyRun, tools: ApplyTools): void {
  const key = sourceKey(run.object);
  const source = tools.findSource(key);
  if (source === undefined) throw waiting('ArtifactFailed', `Source 'OCIRepository/${key}' not found`);
  const artifact = source.status?.artifact;
  if (artifact === undefined) {
    const ready = source.status?.conditions?.find(({ type }) => type === 'Ready');
    const why = ready?.status === 'False' ? `: ${ready.message}` : '';
    throw waiting(
      'ArtifactFailed',
      `Source artifact not found, retrying in ${formatDuration(DEPENDENCY_RETRY_MS)}${why}`,
    );
  }
  run.artifact = artifact;
}

/** Step 3: what this Kustomization depends on is ready. */
export function checkDependencies(run: ApplyRun, tools: ApplyTools): void {
  const revision = run.artifact?.revision ?? '';
  const unmet = unmetDependency(run.object, run.spec, revision, (key) => tools.findKustomization(key));
  if (unmet === undefined) return;
  if (unmet.kind === 'invalid') throw stalled('InvalidCELExpression', unmet.message);
  throw waiting('DependencyNotReady', unmet.message);
}

/** Step 4: the artifact is read, checked against its digest, and made into objects. */
export async function build(run: ApplyRun, tools: ApplyTools, signal: AbortSignal): Promise<void> {
  const files = await readArtifact(run, tools);
  try {
    run.objects = await buildObjects(run.object, run.spec, files, {
      client: tools.client,
      kustomize: tools.kustomize,
      timeoutMs: run.timeoutMs,
      signal,
      confidential: run.confidential,
    });
  } catch (cause) {
    signal.throwIfAborted();
    const reason =
      cause instanceof BuildError && cause.code === 'PathMissing' ? 'ArtifactFailed' : 'BuildFailed';
    throw failure(run, reason, cause);
  }
  run.buildDigest = `sha256:${createHash('sha256').update(canonicalJson(run.objects)).digest('hex')}`;
  run.inventory = mergeInventories(run.objects.map(inventoryEntry), run.known);
}

async function readArtifact(run: ApplyRun, tools: ApplyTools): Promise<FileTree> {
  const digest = run.artifact?.digest ?? '';
  try {
    const content = await tools.storage.read(splitKey(sourceKey(run.object)), digest);
    const files = await unpackLayer(content);
    return new Map([...files].map(([path, file]) => [path, file.content]));
  } catch (cause) {
    // The source controller finds the same at its next run, and fetches the artifact again.
    const kind = cause instanceof StorageError ? 'waiting' : 'generic';
    throw new ReconcileError(
      kind,
      'ArtifactFailed',
      `failed to read the artifact: ${conditionMessage(cause)}`,
      {
        cause,
        requeueAfterMs: 5000,
      },
    );
  }
}

/** Step 5: the objects are applied, stage by stage. */
export async function apply(run: ApplyRun, tools: ApplyTools, signal: AbortSignal): Promise<void> {
  const { name, namespace } = splitKey(run.key);
  try {
    run.applied = await applyObjects(tools, withoutChangedSource(run, tools), {
      force: run.spec.force,
      records: run.records,
      known: new Set(run.known.map(({ id }) => id)),
      ownerSelector: `${KUSTOMIZE_NAME_LABEL}=${name},${KUSTOMIZE_NAMESPACE_LABEL}=${namespace}`,
      timeoutMs: run.timeoutMs,
      signal,
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw failure(run, 'ReconciliationFailed', cause);
  }
}

/**
 * The objects but the Kustomization's own source while that has been changed and not been fetched since:
 * what was stored before the change must not take back where the source now looks, for the place that
 * it looked at may be gone.
 */
function withoutChangedSource(run: ApplyRun, tools: ApplyTools): readonly UnstructuredObject[] {
  const key = sourceKey(run.object);
  const source = tools.findSource(key);
  if (source === undefined || source.status?.observedGeneration === source.metadata.generation)
    return run.objects;
  const own = splitKey(key);
  return run.objects.filter(
    ({ apiVersion, kind, metadata }) =>
      kind !== 'OCIRepository' ||
      apiVersion !== source.apiVersion ||
      metadata.name !== own.name ||
      metadata.namespace !== own.namespace,
  );
}

/** Step 6: objects that left the set are deleted; those that could not be stay in the inventory. */
export async function prune(run: ApplyRun, tools: ApplyTools, signal: AbortSignal): Promise<void> {
  const intended = run.objects.map(inventoryEntry);
  const stale = staleEntries(intended, run.known);
  if (!run.spec.prune || stale.length === 0) {
    run.inventory = mergeInventories(intended, []);
    return;
  }
  const { client, concurrency } = tools;
  const keep = new Set(intended.map(({ id }) => id));
  const result = await pruneObjects(stale, { client, owner: splitKey(run.key), keep, concurrency, signal });
  run.deleted = result.deleted;
  run.inventory = mergeInventories(intended, result.survivors);
  for (const { id } of stale) run.records.delete(id);
  if (result.errors.length > 0) {
    throw new ReconcileError('generic', 'PruneFailed', result.errors.slice(0, 5).join('; '), {
      retryable: true,
    });
  }
}

/** What is to be judged: everything for `wait`, and what `healthChecks` names; nothing unless asked. */
export function healthTargets(run: ApplyRun): HealthTarget[] {
  const { spec, object } = run;
  const named = (spec.healthChecks ?? []).map(({ apiVersion, kind, name, namespace }) => ({
    apiVersion: apiVersion ?? 'v1',
    kind,
    name,
    namespace: namespace ?? spec.targetNamespace ?? object.metadata.namespace,
  }));
  if (spec.wait !== true) return named;
  return run.applied
    .filter(({ action }) => action !== 'skipped')
    .map(({ live: { apiVersion, kind, metadata } }) => ({
      apiVersion,
      kind,
      name: metadata.name ?? '',
      namespace: metadata.namespace,
    }));
}

/** The deadline of everything that one run does: the spec's, or the interval less 30 s and at least 30 s. */
export function timeoutOf({ timeout, interval }: Kustomization['spec']): number {
  try {
    return timeout === undefined
      ? Math.max(30_000, parseDuration(interval) - 30_000)
      : parseDuration(timeout);
  } catch {
    return 30_000;
  }
}

/** What a run changed, one object a line, as events tell it. */
export function changesOf(run: ApplyRun): string[] {
  return [
    ...run.applied
      .filter(({ action }) => action === 'created' || action === 'configured')
      .map(({ live, action }) => `${describeObject(live)} ${action}`),
    ...run.deleted.map((object) => `${describeObject(object)} deleted`),
  ];
}

/** What was quoted of secrets is masked; the cause, which the log would quote again, then stays behind. */
function failure(run: ApplyRun, reason: string, cause: unknown): ReconcileError {
  const text = conditionMessage(cause);
  const message = run.confidential.mask(text);
  const retryable = isRetryable(cause);
  return new ReconcileError(
    'generic',
    reason,
    message,
    message === text ? { cause, retryable } : { retryable },
  );
}

function isRetryable(cause: unknown): boolean {
  if (cause instanceof Error && cause.cause instanceof MuralError && isRetryable(cause.cause)) return true;
  return isKubeError(cause) ? cause.retryable : cause instanceof MuralError && cause.retryable;
}

function stalled(reason: string, message: string): ReconcileError {
  return new ReconcileError('stalling', reason, message);
}

function waiting(reason: string, message: string): ReconcileError {
  return new ReconcileError('waiting', reason, message, { requeueAfterMs: DEPENDENCY_RETRY_MS });
}
