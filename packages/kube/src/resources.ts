import type { Resource } from './objects.ts';

function core(kind: string, plural: string, namespaced = true): Resource {
  return { group: '', version: 'v1', kind, plural, namespaced };
}

function rbac(kind: string, plural: string, namespaced: boolean): Resource {
  return { group: 'rbac.authorization.k8s.io', version: 'v1', kind, plural, namespaced };
}

function apps(kind: string, plural: string): Resource {
  return { group: 'apps', version: 'v1', kind, plural, namespaced: true };
}

export const NAMESPACES = core('Namespace', 'namespaces', false);
export const NODES = core('Node', 'nodes', false);
export const SECRETS = core('Secret', 'secrets');
export const CONFIG_MAPS = core('ConfigMap', 'configmaps');
export const SERVICE_ACCOUNTS = core('ServiceAccount', 'serviceaccounts');
export const SERVICES = core('Service', 'services');
export const EVENTS = core('Event', 'events');
export const PODS = core('Pod', 'pods');
export const DEPLOYMENTS = apps('Deployment', 'deployments');
export const STATEFUL_SETS = apps('StatefulSet', 'statefulsets');
export const DAEMON_SETS = apps('DaemonSet', 'daemonsets');
export const LEASES: Resource = {
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
};
export const CLUSTER_ROLES = rbac('ClusterRole', 'clusterroles', false);
export const CLUSTER_ROLE_BINDINGS = rbac('ClusterRoleBinding', 'clusterrolebindings', false);
export const ROLES = rbac('Role', 'roles', true);
export const ROLE_BINDINGS = rbac('RoleBinding', 'rolebindings', true);
export const CUSTOM_RESOURCE_DEFINITIONS: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
};
