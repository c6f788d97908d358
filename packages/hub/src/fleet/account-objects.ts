import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  type KubeObject,
  type Resource,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '@mural/kube';
import { dockerConfigOf, type RegistryLogin } from '@mural/oci';
import { SERVICE_ACCOUNT_ANNOTATION, spokeNames } from './names.ts';

/** An object and where it is written to. */
export interface PlacedObject {
  readonly resource: Resource;
  readonly object: KubeObject & Readonly<Record<string, unknown>>;
}

const LABELS = { 'app.kubernetes.io/managed-by': 'mural', 'app.kubernetes.io/component': 'spoke' };

/**
 * What a spoke needs on the hub, in the order in which it is written. The token comes last, so that
 * whoever finds it finds everything.
 *
 * The role lets the spoke see its own Spoke and write the status of that, and nothing else.
 */
export function accountObjects(
  spoke: string,
  namespace: string,
  registries: readonly RegistryLogin[],
): PlacedObject[] {
  const names = spokeNames(spoke);
  const labels = { ...LABELS, 'mural.dev/spoke': spoke };
  return [
    ...(registries.length === 0 ? [] : [registrySecret(names.registrySecret, namespace, labels, registries)]),
    {
      resource: SERVICE_ACCOUNTS,
      object: {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: names.serviceAccount, namespace, labels },
      },
    },
    { resource: CLUSTER_ROLES, object: role(spoke, labels) },
    { resource: CLUSTER_ROLE_BINDINGS, object: binding(spoke, namespace, labels) },
    {
      resource: SECRETS,
      object: {
        apiVersion: 'v1',
        kind: 'Secret',
        type: 'kubernetes.io/service-account-token',
        metadata: {
          name: names.tokenSecret,
          namespace,
          labels,
          annotations: { [SERVICE_ACCOUNT_ANNOTATION]: names.serviceAccount },
        },
      },
    },
  ];
}

function registrySecret(
  name: string,
  namespace: string,
  labels: Readonly<Record<string, string>>,
  registries: readonly RegistryLogin[],
): PlacedObject {
  const config = dockerConfigOf(registries);
  return {
    resource: SECRETS,
    object: {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/dockerconfigjson',
      metadata: { name, namespace, labels },
      data: { '.dockerconfigjson': Buffer.from(config).toString('base64') },
    },
  };
}

function role(spoke: string, labels: Readonly<Record<string, string>>): PlacedObject['object'] {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: spokeNames(spoke).clusterRole, labels },
    rules: [
      {
        apiGroups: ['mural.dev'],
        resources: ['spokes'],
        resourceNames: [spoke],
        verbs: ['get', 'list', 'watch'],
      },
      {
        apiGroups: ['mural.dev'],
        resources: ['spokes/status'],
        resourceNames: [spoke],
        verbs: ['get', 'patch', 'update'],
      },
    ],
  };
}

function binding(
  spoke: string,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): PlacedObject['object'] {
  const names = spokeNames(spoke);
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: names.clusterRole, labels },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: names.clusterRole },
    subjects: [{ kind: 'ServiceAccount', name: names.serviceAccount, namespace }],
  };
}
