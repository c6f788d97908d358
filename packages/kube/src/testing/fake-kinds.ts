import { isRecord } from '@mural/core';
import { KUSTOMIZATIONS, OCI_REPOSITORIES } from '../flux.ts';
import { ENVIRONMENTS, SPOKES, WORKLOAD_DEPLOYMENTS, WORKLOAD_PROFILES } from '../mural.ts';
import type { Resource, UnstructuredObject } from '../objects.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  DAEMON_SETS,
  DEPLOYMENTS,
  EVENTS,
  LEASES,
  NAMESPACES,
  NODES,
  PODS,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  STATEFUL_SETS,
} from '../resources.ts';

/** What discovery knows without being told. */
export const KNOWN_RESOURCES: readonly Resource[] = [
  NAMESPACES,
  NODES,
  SECRETS,
  CONFIG_MAPS,
  SERVICE_ACCOUNTS,
  SERVICES,
  EVENTS,
  PODS,
  DEPLOYMENTS,
  STATEFUL_SETS,
  DAEMON_SETS,
  LEASES,
  CLUSTER_ROLES,
  CLUSTER_ROLE_BINDINGS,
  ROLES,
  ROLE_BINDINGS,
  CUSTOM_RESOURCE_DEFINITIONS,
  OCI_REPOSITORIES,
  KUSTOMIZATIONS,
  WORKLOAD_PROFILES,
  WORKLOAD_DEPLOYMENTS,
  ENVIRONMENTS,
  SPOKES,
];

/** Kinds whose status is a subresource: ordinary writes leave it as it is. */
export const WITH_STATUS: ReadonlySet<string> = new Set([
  'CronJob',
  'CustomResourceDefinition',
  'DaemonSet',
  'Deployment',
  'Job',
  'Kustomization',
  'Namespace',
  'Node',
  'OCIRepository',
  'PersistentVolumeClaim',
  'Pod',
  'ReplicaSet',
  'Service',
  'Spoke',
  'StatefulSet',
  'WorkloadDeployment',
]);

/** Kinds without `metadata.generation`. */
export const NO_GENERATION: ReadonlySet<string> = new Set([
  'ClusterRole',
  'ClusterRoleBinding',
  'ConfigMap',
  'Event',
  'Lease',
  'Namespace',
  'Node',
  'Role',
  'RoleBinding',
  'Secret',
  'Service',
  'ServiceAccount',
]);

/** What the schemas of Flux's kinds put into a new object's status. */
export const STATUS_DEFAULTS: Readonly<Record<string, { readonly status: unknown }>> = {
  OCIRepository: { status: { observedGeneration: -1 } },
  Kustomization: { status: { observedGeneration: -1 } },
};

/** The resources that stored CustomResourceDefinitions define. */
export function definedResources(definitions: readonly UnstructuredObject[]): Resource[] {
  return definitions.flatMap(({ spec }) => {
    if (!isRecord(spec) || !isRecord(spec['names']) || !Array.isArray(spec['versions'])) return [];
    const { kind, plural } = spec['names'];
    return (spec['versions'] as readonly { readonly name: string }[]).map(
      ({ name }): Resource => ({
        group: String(spec['group']),
        version: name,
        kind: String(kind),
        plural: String(plural),
        namespaced: spec['scope'] === 'Namespaced',
      }),
    );
  });
}
