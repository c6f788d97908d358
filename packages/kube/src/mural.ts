import { z } from 'zod';
import type { Condition, KubeObject, Resource } from './objects.ts';

/** Group and version of our own resources. */
export const MURAL_API_VERSION = 'mural.dev/v1alpha1';

/** The namespace that hub and spokes live in. */
export const MURAL_NAMESPACE = 'mural-system';

const Name = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
const Parameters = z.record(z.string(), z.unknown());
const StringMap = z.record(z.string(), z.string());

/** Where rendered input comes from when it is not written into the profile. */
export const ArtifactSource = z
  .strictObject({
    url: z
      .string()
      .regex(/^oci:\/\/.+$/)
      .optional()
      .describe('Repository to pull from; the repository of the hub unless given.'),
    tag: z.string().optional().describe('Tag to pull; resolved to its digest at every reconcile.'),
    digest: z.string().optional().describe('Digest to pull; wins over the tag.'),
  })
  .describe('An OCI artifact that holds the input.');
export type ArtifactSource = z.infer<typeof ArtifactSource>;

/** How a component is rendered. */
export const ComponentType = z.enum(['manifests', 'kustomize', 'helm', 'webservice']);
export type ComponentType = z.infer<typeof ComponentType>;

/** One part of a workload. The shape of `properties` follows from `type` and is checked by the hub. */
export const Component = z.strictObject({
  name: z
    .string()
    .max(63)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    .describe('Name of the component, unique within the profile.'),
  type: z.string().describe('manifests, kustomize, helm or webservice.'),
  namespace: Name.optional().describe('Namespace of namespaced objects that name none.'),
  expressions: z
    .boolean()
    .optional()
    .describe('Whether ${…} is evaluated in raw text (manifests, files) too. Elsewhere it always is.'),
  properties: Parameters.optional().describe('Input of the renderer; depends on the type.'),
});
export type Component = z.infer<typeof Component>;

/** A template of a workload: components and the parameters they take. */
export const WorkloadProfileSpec = z.strictObject({
  parameters: Parameters.optional().describe(
    'JSON schema (an object) of the parameters; its defaults are applied.',
  ),
  components: z.array(Component).min(1).describe('What the workload is made of, rendered in this order.'),
});
export type WorkloadProfileSpec = z.infer<typeof WorkloadProfileSpec>;

/** `metav1.LabelSelector`. */
export const LabelSelector = z.strictObject({
  matchLabels: StringMap.optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
});
export type LabelSelector = z.infer<typeof LabelSelector>;

/** Which spokes a deployment goes to. */
export const EnvironmentSpec = z.strictObject({
  spokeSelector: LabelSelector.optional().describe('Spokes by label. Empty selects all, absent none.'),
  spokes: z.array(Name).optional().describe('Spokes by name, beside those selected by label.'),
  parameters: Parameters.optional().describe('Parameters for every workload of this environment.'),
});
export type EnvironmentSpec = z.infer<typeof EnvironmentSpec>;

/** Parameters that hold for some environment or spokes only. */
export const Override = z.strictObject({
  environment: Name.optional().describe('Only in this environment.'),
  spokes: z.array(Name).optional().describe('Only on these spokes.'),
  spokeSelector: LabelSelector.optional().describe('Only on spokes with these labels.'),
  parameters: Parameters.describe('Merged over the parameters, later overrides over earlier ones.'),
});
export type Override = z.infer<typeof Override>;

/** A profile in an environment. */
export const WorkloadDeploymentSpec = z.strictObject({
  profileRef: z.strictObject({ name: Name }).describe('WorkloadProfile of the same namespace.'),
  environmentRef: z.strictObject({ name: Name }).describe('Environment of the same namespace.'),
  parameters: Parameters.optional().describe('Values for the parameters of the profile.'),
  overrides: z.array(Override).optional().describe('Parameters per environment and per spoke.'),
  dependsOn: z
    .array(z.strictObject({ name: Name, namespace: Name.optional() }))
    .optional()
    .describe('WorkloadDeployments that must be ready on a spoke before this one is applied there.'),
  interval: z.string().optional().describe('How often the spoke corrects drift; 10m unless given.'),
  timeout: z.string().optional().describe('How long the spoke waits for health; 5m unless given.'),
  prune: z
    .boolean()
    .optional()
    .describe('Whether objects that left the workload are deleted; true unless given.'),
  suspend: z.boolean().optional().describe('Stops rendering and publishing.'),
});
export type WorkloadDeploymentSpec = z.infer<typeof WorkloadDeploymentSpec>;

const ConditionSchema = z.strictObject({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string(),
  message: z.string(),
  lastTransitionTime: z.string(),
  observedGeneration: z.number().int().optional(),
});

/** What a workload is on one spoke: what was published to it and what it reports. */
export const WorkloadSpokeStatus = z.strictObject({
  name: z.string(),
  tag: z.string().optional().describe('Tag of the published artifact.'),
  digest: z.string().optional().describe('Digest of the published artifact.'),
  appliedDigest: z.string().optional().describe('Digest the spoke reports as applied.'),
  objects: z.number().int().optional().describe('Objects of the workload on the spoke.'),
  ready: z.enum(['True', 'False', 'Unknown']),
  healthy: z.enum(['True', 'False', 'Unknown']).optional(),
  healthReason: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  readyTime: z.string().optional().describe('When the spoke became ready at this digest.'),
});
export type WorkloadSpokeStatus = z.infer<typeof WorkloadSpokeStatus>;

/** Observed state of a {@link WorkloadDeployment}. */
export const WorkloadDeploymentStatus = z.strictObject({
  observedGeneration: z.number().int().optional(),
  conditions: z.array(ConditionSchema).optional(),
  spokes: z.array(WorkloadSpokeStatus).optional(),
  summary: z.string().optional().describe('Spokes that are ready, of those chosen: 2/3.'),
  lastHandledReconcileAt: z.string().optional(),
});
export type WorkloadDeploymentStatus = z.infer<typeof WorkloadDeploymentStatus>;

/** How one spoke reaches the registry (`fleetConfig.spokes[].ociRegistry`). */
export const SpokeRegistry = z.strictObject({
  endpoint: z.string().regex(/^oci:\/\/.+$/),
  repository: z.string(),
  insecure: z.boolean().optional(),
  provider: z.enum(['generic', 'aws', 'azure', 'gcp']).optional(),
  ca: z
    .string()
    .regex(/-----BEGIN CERTIFICATE-----/)
    .optional()
    .describe('CA of this registry (PEM), beside the one that the hub knows of.'),
});
export type SpokeRegistry = z.infer<typeof SpokeRegistry>;

/** A member of the fleet. Its labels are what environments select by. */
export const SpokeSpec = z.strictObject({
  ociRegistry: SpokeRegistry.optional().describe('Registry of this spoke; that of the hub unless given.'),
  suspend: z.boolean().optional().describe('Stops publishing to this spoke.'),
});
export type SpokeSpec = z.infer<typeof SpokeSpec>;

/** What a spoke reports of one workload. */
export const SpokeWorkload = z.strictObject({
  name: z.string().describe('Name of the WorkloadDeployment.'),
  namespace: z.string().describe('Namespace of the WorkloadDeployment.'),
  digest: z.string().optional().describe('Digest of the artifact that is applied.'),
  objects: z.number().int(),
  ready: z.enum(['True', 'False', 'Unknown']),
  healthy: z.enum(['True', 'False', 'Unknown']).optional(),
  healthReason: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  readyTime: z.string().optional(),
});
export type SpokeWorkload = z.infer<typeof SpokeWorkload>;

/** Observed state of a {@link Spoke}, written by the spoke itself. */
export const SpokeStatus = z.strictObject({
  observedGeneration: z.number().int().optional(),
  conditions: z.array(ConditionSchema).optional(),
  lastHeartbeatTime: z.string().optional(),
  agentVersion: z.string().optional(),
  rootDigest: z.string().optional().describe('Digest of the root artifact that is applied.'),
  groupDigest: z.string().optional().describe('Digest of the artifact of its group that is applied.'),
  registryUrl: z
    .string()
    .optional()
    .describe(
      'Repository that every source of the delivery was last fetched from; absent while they differ.',
    ),
  groupRegistryUrl: z
    .string()
    .optional()
    .describe('The same of all sources but that of the root: what the spoke can read beside its root.'),
  rootRegistryUrl: z
    .string()
    .optional()
    .describe('Repository that the source of the root names, whether or not it can be fetched.'),
  workloads: z.array(SpokeWorkload).optional(),
});
export type SpokeStatus = z.infer<typeof SpokeStatus>;

export interface WorkloadProfile extends KubeObject {
  readonly spec: WorkloadProfileSpec;
}
export interface Environment extends KubeObject {
  readonly spec: EnvironmentSpec;
}
export interface WorkloadDeployment extends KubeObject {
  readonly spec: WorkloadDeploymentSpec;
  readonly status?: WorkloadDeploymentStatus;
}
export interface Spoke extends KubeObject {
  readonly spec?: SpokeSpec;
  readonly status?: SpokeStatus;
}

/**
 * Annotation of a Spoke: what was last published for it, by the hub. A nudge, not the path of content.
 * Its value is that of {@link formatPublishedRoot}.
 */
export const PUBLISHED_ROOT_ANNOTATION = 'mural.dev/published-root';
/** Annotation of a Spoke: the group that its workloads are published in, by the hub. */
export const ROOT_GROUP_ANNOTATION = 'mural.dev/root-group';

/** Digests of what was last published for a spoke. */
export interface PublishedRoot {
  /** Of its own root. */
  readonly root: string;
  /** Of the artifact of its group; absent for a spoke that is suspended. */
  readonly group?: string | undefined;
}

/** The value of {@link PUBLISHED_ROOT_ANNOTATION}: the digests of root and group, with a comma between. */
export function formatPublishedRoot({ root, group }: PublishedRoot): string {
  return group === undefined ? root : `${root},${group}`;
}

/** Reads what {@link formatPublishedRoot} wrote. */
export function parsePublishedRoot(text: string): PublishedRoot {
  const [root = '', group] = text.split(',', 2);
  return group === undefined ? { root } : { root, group };
}
/** Labels of the OCIRepository and Kustomization of a workload on a spoke: what they were made from. */
export const WORKLOAD_NAME_LABEL = 'mural.dev/workload-name';
export const WORKLOAD_NAMESPACE_LABEL = 'mural.dev/workload-namespace';
/** Finalizer of WorkloadDeployments: withdrawn from every root before the object goes. */
export const WORKLOAD_FINALIZER = 'mural.dev/withdraw';

const group = 'mural.dev';
const version = 'v1alpha1';
export const WORKLOAD_PROFILES: Resource = {
  group,
  version,
  kind: 'WorkloadProfile',
  plural: 'workloadprofiles',
  namespaced: true,
};
export const WORKLOAD_DEPLOYMENTS: Resource = {
  group,
  version,
  kind: 'WorkloadDeployment',
  plural: 'workloaddeployments',
  namespaced: true,
};
export const ENVIRONMENTS: Resource = {
  group,
  version,
  kind: 'Environment',
  plural: 'environments',
  namespaced: true,
};
export const SPOKES: Resource = { group, version, kind: 'Spoke', plural: 'spokes', namespaced: false };

/** The conditions of an object that may have none yet. */
export function conditionsOf(object: {
  readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
}): readonly Condition[] {
  return object.status?.conditions ?? [];
}
