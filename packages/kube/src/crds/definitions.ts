import type { z } from 'zod';
import { KUSTOMIZATIONS, KustomizationSpec, OCI_REPOSITORIES, OCIRepositorySpec } from '../flux.ts';
import {
  ENVIRONMENTS,
  EnvironmentSpec,
  SPOKES,
  SpokeSpec,
  SpokeStatus,
  WORKLOAD_DEPLOYMENTS,
  WORKLOAD_PROFILES,
  WorkloadDeploymentSpec,
  WorkloadDeploymentStatus,
  WorkloadProfileSpec,
} from '../mural.ts';
import type { Resource, UnstructuredObject } from '../objects.ts';
import { KustomizationStatusSchema, OCIRepositoryStatusSchema } from './status-schemas.ts';
import { structuralSchema } from './structural.ts';

interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'date' | 'integer';
  readonly jsonPath: string;
  readonly priority?: number;
}

interface Definition {
  readonly resource: Resource;
  readonly description: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly spec: z.ZodType;
  readonly specRequired: boolean;
  readonly status?: z.ZodType;
  /** Flux's objects start with a status that no generation was observed for. */
  readonly statusDefault?: Readonly<Record<string, unknown>>;
  readonly columns: readonly PrinterColumn[];
  readonly labels?: Readonly<Record<string, string>>;
}

const AGE: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const READY: PrinterColumn = {
  name: 'Ready',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].status',
};
const STATUS: PrinterColumn = {
  name: 'Status',
  type: 'string',
  jsonPath: '.status.conditions[?(@.type=="Ready")].message',
};
const NOT_SUBSTITUTED = { 'kustomize.toolkit.fluxcd.io/substitute': 'disabled' };

function column(name: string, jsonPath: string, type: PrinterColumn['type'] = 'string'): PrinterColumn {
  return { name, type, jsonPath };
}

const DEFINITIONS: readonly Definition[] = [
  {
    resource: OCI_REPOSITORIES,
    description: 'OCIRepository is a source of manifests in an OCI registry.',
    shortNames: ['ocirepo'],
    categories: ['all', 'fluxcd', 'fluxcd-sources'],
    spec: OCIRepositorySpec,
    specRequired: false,
    status: OCIRepositoryStatusSchema,
    statusDefault: { observedGeneration: -1 },
    columns: [column('URL', '.spec.url'), READY, STATUS, AGE],
    labels: NOT_SUBSTITUTED,
  },
  {
    resource: KUSTOMIZATIONS,
    description: 'Kustomization applies the manifests of a source.',
    shortNames: ['ks'],
    categories: ['all', 'fluxcd', 'fluxcd-appliers'],
    spec: KustomizationSpec,
    specRequired: false,
    status: KustomizationStatusSchema,
    statusDefault: { observedGeneration: -1 },
    columns: [AGE, READY, STATUS],
    labels: NOT_SUBSTITUTED,
  },
  {
    resource: WORKLOAD_PROFILES,
    description: 'WorkloadProfile is a template of a workload: components and the parameters they take.',
    shortNames: ['wp'],
    categories: ['all', 'mural'],
    spec: WorkloadProfileSpec,
    specRequired: true,
    // No more than Age: a column shows but the first match of a path, so no list of components.
    columns: [AGE],
  },
  {
    resource: ENVIRONMENTS,
    description: 'Environment chooses the spokes that workloads go to.',
    shortNames: ['env'],
    categories: ['all', 'mural'],
    spec: EnvironmentSpec,
    specRequired: true,
    columns: [column('Selector', '.spec.spokeSelector.matchLabels'), column('Spokes', '.spec.spokes'), AGE],
  },
  {
    resource: WORKLOAD_DEPLOYMENTS,
    description: 'WorkloadDeployment delivers a profile to the spokes of an environment.',
    shortNames: ['wd'],
    categories: ['all', 'mural'],
    spec: WorkloadDeploymentSpec,
    specRequired: true,
    status: WorkloadDeploymentStatus,
    columns: [
      column('Profile', '.spec.profileRef.name'),
      column('Environment', '.spec.environmentRef.name'),
      column('Spokes', '.status.summary'),
      READY,
      STATUS,
      AGE,
    ],
  },
  {
    resource: SPOKES,
    description: 'Spoke is a member of the fleet, a cluster that pulls its workloads from the registry.',
    shortNames: [],
    categories: ['all', 'mural'],
    spec: SpokeSpec,
    specRequired: false,
    status: SpokeStatus,
    columns: [
      READY,
      column('Root', '.status.rootDigest'),
      column('Version', '.status.agentVersion'),
      column('Last seen', '.status.lastHeartbeatTime', 'date'),
      AGE,
    ],
  },
];

/**
 * The CustomResourceDefinitions of our kinds and of Flux's OCIRepository and Kustomization, made
 * from the zod schemas that the rest of the code uses.
 */
export function customResourceDefinitions(): UnstructuredObject[] {
  return DEFINITIONS.map(definitionObject);
}

function definitionObject(definition: Definition): UnstructuredObject {
  const { group, version, kind, plural, namespaced } = definition.resource;
  const { shortNames, categories, columns, labels, status } = definition;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, ...(labels === undefined ? {} : { labels }) },
    spec: {
      group,
      scope: namespaced ? 'Namespaced' : 'Cluster',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        ...(shortNames.length === 0 ? {} : { shortNames }),
        categories,
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: objectSchema(definition) },
          ...(status === undefined ? {} : { subresources: { status: {} } }),
        },
      ],
    },
  };
}

function objectSchema(definition: Definition): Record<string, unknown> {
  const { status, statusDefault } = definition;
  return {
    description: definition.description,
    type: 'object',
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: structuralSchema(definition.spec),
      ...(status === undefined
        ? {}
        : {
            status: {
              ...structuralSchema(status),
              ...(statusDefault === undefined ? {} : { default: statusDefault }),
            },
          }),
    },
    ...(definition.specRequired ? { required: ['spec'] } : {}),
  };
}
