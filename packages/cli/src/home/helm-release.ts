import type { Condition, KubeObject, Resource, UnstructuredObject } from '@mural/kube';

/** helm.toolkit.fluxcd.io/v2 HelmRelease. */
export const HELM_RELEASES: Resource = {
  group: 'helm.toolkit.fluxcd.io',
  version: 'v2',
  kind: 'HelmRelease',
  plural: 'helmreleases',
  namespaced: true,
};

/** Where values of a HelmRelease come from beside its `spec.values`. */
export interface ValuesReference {
  readonly kind: string;
  readonly name: string;
  /** `values.yaml` unless given. */
  readonly valuesKey?: string;
  readonly targetPath?: string;
  readonly optional?: boolean;
}

/** What of a HelmRelease is read here, and what is written. */
export interface HelmRelease extends KubeObject {
  readonly spec?: {
    readonly interval?: string;
    readonly suspend?: boolean;
    readonly values?: unknown;
    readonly valuesFrom?: readonly ValuesReference[];
  };
  readonly status?: HelmReleaseStatus;
}

/** Status of a {@link HelmRelease}, with the names that Flux gives it. */
export interface HelmReleaseStatus {
  readonly observedGeneration?: number;
  readonly conditions?: readonly Condition[];
  readonly lastAttemptedGeneration?: number;
  /** Digest of the values that were taken last, as `sha256:…`. */
  readonly lastAttemptedConfigDigest?: string;
  readonly lastHandledReconcileAt?: string;
}

const OPEN = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const STRING = { type: 'string' };
const BOOLEAN = { type: 'boolean' };
const INTEGER = { type: 'integer', format: 'int64' };

/**
 * The definition of HelmRelease as far as a hub takes it: whatever else Flux knows of it is stored and
 * not read. Only the release of the hub itself is acted on.
 */
export function helmReleaseDefinition(): UnstructuredObject {
  const { group, plural, kind, version } = HELM_RELEASES;
  const ready = (field: string) => `.status.conditions[?(@.type=="Ready")].${field}`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: 'helmrelease',
        shortNames: ['hr'],
        categories: ['all', 'fluxcd'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [
            { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
            { name: 'Ready', type: 'string', jsonPath: ready('status') },
            { name: 'Status', type: 'string', jsonPath: ready('message') },
          ],
          schema: { openAPIV3Schema: schema() },
        },
      ],
    },
  };
}

function schema(): Record<string, unknown> {
  const reference = {
    type: 'object',
    required: ['kind', 'name'],
    properties: {
      kind: { type: 'string', enum: ['Secret', 'ConfigMap'] },
      name: { type: 'string', minLength: 1, maxLength: 253 },
      valuesKey: { type: 'string', maxLength: 253 },
      targetPath: { type: 'string', maxLength: 250 },
      optional: BOOLEAN,
    },
  };
  const condition = {
    type: 'object',
    required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
    properties: {
      type: STRING,
      status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
      reason: STRING,
      message: STRING,
      lastTransitionTime: { type: 'string', format: 'date-time' },
      observedGeneration: INTEGER,
    },
  };
  return {
    description: 'HelmRelease carries the values of a release of a chart.',
    type: 'object',
    properties: {
      apiVersion: STRING,
      kind: STRING,
      metadata: { type: 'object' },
      spec: {
        ...OPEN,
        properties: {
          interval: STRING,
          suspend: BOOLEAN,
          values: OPEN,
          valuesFrom: { type: 'array', maxItems: 100, items: reference },
        },
      },
      status: {
        ...OPEN,
        properties: {
          observedGeneration: INTEGER,
          conditions: { type: 'array', items: condition },
          lastAttemptedGeneration: INTEGER,
          lastAttemptedConfigDigest: STRING,
          lastHandledReconcileAt: STRING,
        },
        default: { observedGeneration: -1 },
      },
    },
  };
}
