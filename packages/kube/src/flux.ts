import { z } from 'zod';
import type { Condition, KubeObject, Resource } from './objects.ts';

/** Flux's duration pattern of `interval` and `retryInterval`: units ms, s, m and h. */
const Duration = z.string().regex(/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/);
const TimeoutDuration = z.string().regex(/^([0-9]+(\.[0-9]+)?(ms|s|m))+$/);
const LocalReference = z.strictObject({ name: z.string() });

/** Spec of source.toolkit.fluxcd.io/v1 OCIRepository. */
export const OCIRepositorySpec = z.strictObject({
  url: z.string().regex(/^oci:\/\/.*$/),
  ref: z
    .strictObject({
      digest: z.string().optional(),
      semver: z.string().optional(),
      semverFilter: z.string().optional(),
      tag: z.string().optional(),
    })
    .optional(),
  layerSelector: z
    .strictObject({ mediaType: z.string().optional(), operation: z.enum(['extract', 'copy']).optional() })
    .optional(),
  provider: z.enum(['generic', 'aws', 'azure', 'gcp']).optional().default('generic'),
  secretRef: LocalReference.optional(),
  serviceAccountName: z.string().optional(),
  certSecretRef: LocalReference.optional(),
  proxySecretRef: LocalReference.optional(),
  interval: Duration,
  timeout: TimeoutDuration.optional().default('60s'),
  ignore: z.string().optional(),
  insecure: z.boolean().optional(),
  suspend: z.boolean().optional(),
  verify: z
    .strictObject({
      provider: z.enum(['cosign', 'notation']).default('cosign'),
      secretRef: LocalReference.optional(),
      matchOIDCIdentity: z.array(z.strictObject({ issuer: z.string(), subject: z.string() })).optional(),
      trustedRootSecretRef: LocalReference.optional(),
    })
    .optional(),
});
export type OCIRepositorySpec = z.infer<typeof OCIRepositorySpec>;

/** What a source stored: `status.artifact`. */
export interface SourceArtifact {
  readonly digest: string;
  readonly path: string;
  readonly url: string;
  /** `<tag>@sha256:<hex>`, or `sha256:<hex>` when the reference is a digest. */
  readonly revision: string;
  readonly lastUpdateTime: string;
  readonly size?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Status of an OCIRepository. */
export interface OCIRepositoryStatus {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly url?: string;
  readonly artifact?: SourceArtifact;
  readonly observedIgnore?: string;
  readonly observedLayerSelector?: { readonly mediaType?: string; readonly operation?: string };
  readonly lastHandledReconcileAt?: string;
}

/** source.toolkit.fluxcd.io/v1 OCIRepository. */
export interface OCIRepository extends KubeObject {
  readonly spec: OCIRepositorySpec;
  readonly status?: OCIRepositoryStatus;
}

const ObjectReference = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.string(),
  name: z.string(),
  namespace: z.string().optional(),
});
const Target = z.strictObject({
  annotationSelector: z.string().optional(),
  group: z.string().optional(),
  kind: z.string().optional(),
  labelSelector: z.string().optional(),
  name: z.string().optional(),
  namespace: z.string().optional(),
  version: z.string().optional(),
});

/** Spec of kustomize.toolkit.fluxcd.io/v1 Kustomization. */
export const KustomizationSpec = z.strictObject({
  buildMetadata: z.array(z.string()).optional(),
  commonMetadata: z
    .strictObject({
      annotations: z.record(z.string(), z.string()).optional(),
      labels: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  components: z.array(z.string()).optional(),
  decryption: z
    .strictObject({
      provider: z.enum(['sops']),
      secretRef: LocalReference.optional(),
      serviceAccountName: z.string().optional(),
    })
    .optional(),
  deletionPolicy: z.enum(['MirrorPrune', 'Delete', 'WaitForTermination', 'Orphan']).optional(),
  dependsOn: z
    .array(
      z.strictObject({
        name: z.string(),
        namespace: z.string().optional(),
        readyExpr: z.string().optional(),
      }),
    )
    .optional(),
  force: z.boolean().optional().default(false),
  healthCheckExprs: z
    .array(
      z.strictObject({
        apiVersion: z.string(),
        kind: z.string(),
        current: z.string(),
        failed: z.string().optional(),
        inProgress: z.string().optional(),
      }),
    )
    .optional(),
  healthChecks: z.array(ObjectReference).optional(),
  ignoreMissingComponents: z.boolean().optional(),
  images: z
    .array(
      z.strictObject({
        name: z.string(),
        newName: z.string().optional(),
        newTag: z.string().optional(),
        digest: z.string().optional(),
      }),
    )
    .optional(),
  interval: Duration,
  kubeConfig: z
    .strictObject({
      secretRef: z.strictObject({ name: z.string(), key: z.string().optional() }).optional(),
      configMapRef: LocalReference.optional(),
    })
    .optional(),
  namePrefix: z.string().optional(),
  nameSuffix: z.string().optional(),
  patches: z.array(z.strictObject({ patch: z.string(), target: Target.optional() })).optional(),
  path: z.string().optional(),
  postBuild: z
    .strictObject({
      substitute: z.record(z.string(), z.string()).optional(),
      substituteFrom: z
        .array(
          z.strictObject({
            kind: z.enum(['Secret', 'ConfigMap']),
            name: z.string(),
            optional: z.boolean().optional().default(false),
          }),
        )
        .optional(),
      substituteStrategy: z.enum(['WithVariables', 'Always']).optional(),
    })
    .optional(),
  prune: z.boolean(),
  retryInterval: Duration.optional(),
  serviceAccountName: z.string().optional(),
  sourceRef: z.strictObject({
    apiVersion: z.string().optional(),
    kind: z.enum(['OCIRepository', 'GitRepository', 'Bucket', 'ExternalArtifact']),
    name: z.string(),
    namespace: z.string().optional(),
  }),
  suspend: z.boolean().optional(),
  targetNamespace: z.string().max(63).optional(),
  timeout: Duration.optional(),
  wait: z.boolean().optional(),
});
export type KustomizationSpec = z.infer<typeof KustomizationSpec>;

/** One object that a Kustomization applied: `<namespace>_<name>_<group>_<kind>` and the version. */
export interface InventoryEntry {
  readonly id: string;
  readonly v: string;
}

/** Status of a Kustomization. */
export interface KustomizationStatus {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly lastAppliedRevision?: string;
  readonly lastAppliedOriginRevision?: string;
  readonly lastAttemptedRevision?: string;
  readonly lastHandledReconcileAt?: string;
  readonly inventory?: { readonly entries: readonly InventoryEntry[] };
  readonly history?: readonly Readonly<Record<string, unknown>>[];
}

/** kustomize.toolkit.fluxcd.io/v1 Kustomization. */
export interface Kustomization extends KubeObject {
  readonly spec: KustomizationSpec;
  readonly status?: KustomizationStatus;
}

export const OCI_REPOSITORIES: Resource = {
  group: 'source.toolkit.fluxcd.io',
  version: 'v1',
  kind: 'OCIRepository',
  plural: 'ocirepositories',
  namespaced: true,
};
export const KUSTOMIZATIONS: Resource = {
  group: 'kustomize.toolkit.fluxcd.io',
  version: 'v1',
  kind: 'Kustomization',
  plural: 'kustomizations',
  namespaced: true,
};

/** Annotation that asks a Flux object to be reconciled now; echoed in `status.lastHandledReconcileAt`. */
export const RECONCILE_REQUEST_ANNOTATION = 'reconcile.fluxcd.io/requestedAt';
/** Finalizer of Flux's objects. */
export const FLUX_FINALIZER = 'finalizers.fluxcd.io';
/** Labels by which a Kustomization knows its objects again. */
export const KUSTOMIZE_NAME_LABEL = 'kustomize.toolkit.fluxcd.io/name';
export const KUSTOMIZE_NAMESPACE_LABEL = 'kustomize.toolkit.fluxcd.io/namespace';
