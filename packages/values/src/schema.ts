import { z } from 'zod';

/** How a registry is authenticated to: Flux's enum of OCIRepository `spec.provider`. */
export const Provider = z.enum(['generic', 'aws', 'azure', 'gcp']);
export type Provider = z.infer<typeof Provider>;

/** A user of a registry with basic authentication. */
export const BasicAuth = z.strictObject({
  username: z.string().optional(),
  password: z.string().optional(),
});
export type BasicAuth = z.infer<typeof BasicAuth>;

const registryKeys = {
  endpoint: z.string().optional().describe('oci://host[:port]/path, without the repository.'),
  insecure: z.boolean().default(false).describe('Plain HTTP instead of TLS.'),
  provider: Provider.default('generic'),
  basicAuth: BasicAuth.optional(),
};

/** The registry that the hub writes: `hue.ociRegistry`. */
export const HubRegistryValues = z.strictObject({
  enabled: z.boolean().default(true),
  ...registryKeys,
  repository: z.string().default('workloads').describe('Name of the repository below the endpoint.'),
  interval: z.string().default('5m').describe('How often spokes look for something new (Go duration).'),
  timeout: z.string().default('60s').describe('Deadline of one pull (Go duration).'),
});
export type HubRegistryValues = z.infer<typeof HubRegistryValues>;

/** The registry that one spoke reads: `fleetConfig.spokes[].ociRegistry`; that of the hub unless given. */
export const SpokeRegistryValues = z.strictObject({
  ...registryKeys,
  repository: z.string().optional(),
});
export type SpokeRegistryValues = z.infer<typeof SpokeRegistryValues>;

const StringMap = z.record(z.string(), z.string());
const Foreign = z.unknown().optional();

/**
 * One entry of `fleetConfig.spokes`. What stands below `labels` belongs to the chart of Open Cluster
 * Management's fleetconfig-controller: accepted, and not read here.
 */
export const SpokeValues = z.strictObject({
  name: z.string(),
  ociRegistry: SpokeRegistryValues.optional(),
  labels: StringMap.optional().describe('Labels of the Spoke: what environments select by.'),
  hubRef: Foreign,
  createNamespace: Foreign,
  syncLabels: Foreign,
  clusterARN: Foreign,
  cleanupConfig: Foreign,
  kubeconfig: Foreign,
  proxyCa: Foreign,
  proxyUrl: Foreign,
  klusterlet: Foreign,
  addOns: Foreign,
});
export type SpokeValues = z.infer<typeof SpokeValues>;

const HueServiceAccount = z.strictObject({
  create: z.boolean().default(true),
  annotations: StringMap.default({}),
});

/** The service account of Flux's source-controller: `flux2.sourceController.serviceAccount`. */
export const SourceServiceAccount = z.looseObject({
  create: z.boolean().default(true),
  automount: z.boolean().default(true),
  annotations: StringMap.default({}),
});

/**
 * The keys of `values.yaml` that mural reads, with their defaults. Strict objects are ours: an
 * unknown key in them is an error. Loose ones belong to other charts, which read more than we know.
 */
export const Values = z.looseObject({
  hue: z
    .strictObject({
      ociRegistry: HubRegistryValues.prefault({}),
      serviceAccount: HueServiceAccount.prefault({}),
    })
    .prefault({}),
  fleetConfig: z.looseObject({ spokes: z.array(SpokeValues).default([]) }).prefault({}),
  flux2: z
    .looseObject({
      sourceController: z.looseObject({ serviceAccount: SourceServiceAccount.prefault({}) }).prefault({}),
    })
    .prefault({}),
  zot: z.looseObject({ enabled: z.boolean().default(true) }).prefault({}),
});
export type Values = z.infer<typeof Values>;

/** Top-level keys of the chart that other subcharts read. */
export const FOREIGN_TREES: readonly string[] = [
  'global',
  'canvas',
  'dex',
  'dexIngress',
  'alertmanager',
  'cert-manager',
  'ingress-nginx',
];
