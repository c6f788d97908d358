import type { UnstructuredObject } from '@mural/kube';

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'patch', 'update', 'delete'];

/**
 * What the ServiceAccount `hue` may do, as RBAC: read what users ask for, write status and its own
 * marks on it, and keep the accounts of spokes in its namespace. It can hand out no more than it
 * holds, so the roles that it makes for spokes reach no further than `spokes/status`.
 *
 * @param namespace namespace of the hub
 */
export function hubAccess(namespace: string): UnstructuredObject[] {
  const subjects = [{ kind: 'ServiceAccount', name: 'hue', namespace }];
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', name: 'mural:hue' };
  const metadata = { name: 'mural:hue', labels: { 'app.kubernetes.io/part-of': 'mural' } };
  return [
    {
      apiVersion,
      kind: 'ClusterRole',
      metadata,
      rules: [
        { apiGroups: ['mural.dev'], resources: ['workloadprofiles', 'environments'], verbs: READ },
        {
          apiGroups: ['mural.dev'],
          resources: ['workloaddeployments', 'spokes'],
          verbs: [...READ, 'patch', 'update'],
        },
        {
          apiGroups: ['mural.dev'],
          resources: ['workloaddeployments/status', 'spokes/status'],
          verbs: ['get', 'patch', 'update'],
        },
        { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'create', 'patch'] },
        { apiGroups: [''], resources: ['events'], verbs: ['get', 'create', 'patch', 'update'] },
        {
          apiGroups: ['rbac.authorization.k8s.io'],
          resources: ['clusterroles', 'clusterrolebindings'],
          verbs: ['get', ...WRITE],
        },
      ],
    },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata,
      roleRef: { ...roleRef, kind: 'ClusterRole' },
      subjects,
    },
    {
      apiVersion,
      kind: 'Role',
      metadata: { ...metadata, namespace },
      rules: [{ apiGroups: [''], resources: ['secrets', 'serviceaccounts'], verbs: [...READ, ...WRITE] }],
    },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: { ...metadata, namespace },
      roleRef: { ...roleRef, kind: 'Role' },
      subjects,
    },
  ];
}
