import type {
  InventoryEntry,
  Kustomization,
  KustomizationSpec,
  ReconcileError,
  SourceArtifact,
  UnstructuredObject,
} from '@mural/kube';
import type { AppliedObject, ApplyRecords } from './applier.ts';
import type { ConfidentialValues } from './confidential.ts';
import type { HealthTarget, HealthVerdict } from './health.ts';

/** What one run of the apply controller knows, from step to step. */
export interface ApplyRun {
  readonly key: string;
  object: Kustomization;
  spec: KustomizationSpec;
  readonly startedAt: number;
  readonly timeoutMs: number;
  /** The inventory before the run. */
  readonly known: readonly InventoryEntry[];
  readonly records: ApplyRecords;
  artifact: SourceArtifact | undefined;
  objects: readonly UnstructuredObject[];
  /** Digest of what was built: equal builds are one entry of the history. */
  buildDigest: string | undefined;
  /** What is in the cluster, or may be, under this Kustomization's name. */
  inventory: readonly InventoryEntry[];
  applied: readonly AppliedObject[];
  deleted: readonly UnstructuredObject[];
  /** What no message of this run may quote. */
  readonly confidential: ConfidentialValues;
}

/** Objects that were applied and are being watched for their health. */
export interface HealthWatch {
  readonly run: ApplyRun;
  readonly targets: readonly HealthTarget[];
  readonly deadlineAt: number;
  polls: number;
}

/** How a run ended, or stands. */
export type ApplyOutcome =
  /** Applied, pruned, and as healthy as was asked for; the verdict is absent when nothing was asked. */
  | { readonly kind: 'done'; readonly verdict: HealthVerdict | undefined }
  /** Applied and pruned; health is not settled yet. */
  | { readonly kind: 'checking'; readonly message: string }
  | { readonly kind: 'failed'; readonly error: ReconcileError };

/** The digest of a revision: `<tag>@<digest>` or the digest alone. */
export function digestOfRevision(revision: string): string {
  return revision.slice(revision.lastIndexOf('@') + 1);
}

/** Where a revision comes from, as the pusher said (`org.opencontainers.image.revision`). */
export function originOf(artifact: SourceArtifact | undefined): string | undefined {
  return artifact?.metadata?.['org.opencontainers.image.revision'];
}
