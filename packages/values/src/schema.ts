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

// Patterns are for the JSON Schema alone: the lint says more of what does not match.
const GO_DURATION = '^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$';

const registryKeys = {
  endpoint: z.string().optional().meta({
    description:
      'oci://host[:port][/path], without the repository. ECR: oci://<account-id>.dkr.ecr.<region>.amazonaws.com/<namespace>, or oci://public.ecr.aws/<alias>.',
    pattern: '^oci://[^/]+(/[^/]+)*$',
  }),
  insecure: z.boolean().default(false).describe('Plain HTTP instead of TLS.'),
  provider: Provider.default('generic').describe(
    'Who signs in: generic with basicAuth or nobody, aws, azure or gcp with the identity of the machine or service account.',
  ),
  basicAuth: BasicAuth.optional().describe('A user of the registry; not beside aws, azure or gcp.'),
};

/** The registry that the hub writes: `hue.ociRegistry`. */
export const HubRegistryValues = z.strictObject({
  enabled: z.boolean().default(true).describe('Whether the registry below is used; else the embedded one.'),
  ...registryKeys,
  repository: z.string().default('workloads').describe('Name of the repository below the endpoint.'),
  interval: z.string().default('5m').meta({
    description: 'How often spokes look for something new (Go duration).',
    pattern: GO_DURATION,
  }),
  timeout: z.string().default('60s').meta({
    description: 'Deadline of one pull (Go duration).',
    pattern: GO_DURATION,
  }),
});
export type HubRegistryValues = z.infer<typeof HubRegistryValues>;

/** The registry that one spoke reads: `fleetConfig.spokes[].ociRegistry`; that of the hub unless given. */
export const SpokeRegistryValues = z.strictObject({
  ...registryKeys,
  repository: z.string().optional().describe('That of hue.ociRegistry, beside an endpoint.'),
  ca: z
    .string()
    .optional()
    .describe('CA (PEM) of the registry of a site, beside the one that the hub knows of.'),
});
export type SpokeRegistryValues = z.infer<typeof SpokeRegistryValues>;

const StringMap = z.record(z.string(), z.string());
const Foreign = z.unknown().optional();

/**
 * One entry of `fleetConfig.spokes`. What stands below `labels` belongs to the chart of Open Cluster
 * Management's fleetconfig-controller: accepted, and not read here.
 */
export const SpokeValues = z.strictObject({
  name: z.string().meta({ description: 'A DNS label.', pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' }),
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

const CREATE = 'Whether the account is made, with the annotations.';
const ANNOTATIONS = 'For IRSA: eks.amazonaws.com/role-arn: arn:aws:iam::<account-id>:role/<iam-role-name>.';

const HueServiceAccount = z.strictObject({
  create: z.boolean().default(true).describe(CREATE),
  annotations: StringMap.default({}).describe(ANNOTATIONS),
});

/** The service account of Flux's source-controller: `flux2.sourceController.serviceAccount`. */
export const SourceServiceAccount = z.looseObject({
  create: z.boolean().default(true).describe(CREATE),
  automount: z.boolean().default(true).describe('Whether pods get the token of the account.'),
  annotations: StringMap.default({}).describe(ANNOTATIONS),
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
  zot: z
    .looseObject({ enabled: z.boolean().default(true).describe('Whether the embedded registry runs.') })
    .prefault({}),
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
