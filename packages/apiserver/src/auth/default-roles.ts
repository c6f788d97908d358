/** A role that every installation has. */
interface DefaultRole {
  readonly name: string;
  readonly rules: readonly object[];
  readonly labels?: Readonly<Record<string, string>>;
  /** The label of the roles that this one is put together from. */
  readonly aggregates?: string;
  /** Groups that a ClusterRoleBinding of the same name gives it to. */
  readonly groups?: readonly string[];
}

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const ALL = [...READ, ...WRITE];

function rule(apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): object {
  return { apiGroups, resources, verbs };
}

const CORE_PUBLIC = [
  'configmaps',
  'endpoints',
  'events',
  'limitranges',
  'namespaces',
  'persistentvolumeclaims',
  'persistentvolumeclaims/status',
  'pods',
  'pods/log',
  'pods/status',
  'replicationcontrollers',
  'replicationcontrollers/scale',
  'replicationcontrollers/status',
  'resourcequotas',
  'resourcequotas/status',
  'serviceaccounts',
  'services',
  'services/status',
];
const CORE_EDITED = [
  'configmaps',
  'events',
  'persistentvolumeclaims',
  'pods',
  'replicationcontrollers',
  'replicationcontrollers/scale',
  'secrets',
  'serviceaccounts',
  'services',
];
/** Charts of others extend the three roles for users with roles that carry these labels. */
const AGGREGATE = 'rbac.authorization.k8s.io/aggregate-to';

const VIEW = [
  rule([''], CORE_PUBLIC, READ),
  rule(['discovery.k8s.io'], ['endpointslices'], READ),
  rule(['apps', 'autoscaling', 'batch', 'policy'], ['*'], READ),
  rule(['networking.k8s.io'], ['ingresses', 'ingresses/status', 'networkpolicies'], READ),
];
const EDIT = [
  rule([''], ['secrets'], READ),
  rule([''], CORE_EDITED, WRITE),
  rule([''], ['serviceaccounts/token'], ['create']),
  rule(['apps', 'autoscaling', 'batch', 'policy'], ['*'], WRITE),
  rule(['networking.k8s.io'], ['ingresses', 'networkpolicies'], WRITE),
  rule(['coordination.k8s.io'], ['leases'], ALL),
  rule(['events.k8s.io'], ['events'], ALL),
];
const ADMIN = [
  rule(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
  rule(['rbac.authorization.k8s.io'], ['rolebindings', 'roles'], ALL),
];
const PUBLIC_PATHS = ['/healthz', '/livez', '/livez/*', '/readyz', '/readyz/*', '/version', '/version/'];
const DISCOVERY_PATHS = ['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*', ...PUBLIC_PATHS];

/** Roles and bindings as a new Kubernetes cluster has them, as far as this server serves what they name. */
export const DEFAULT_ROLES: readonly DefaultRole[] = [
  {
    name: 'cluster-admin',
    groups: ['system:masters'],
    rules: [rule(['*'], ['*'], ['*']), { nonResourceURLs: ['*'], verbs: ['*'] }],
  },
  { name: 'admin', rules: [], aggregates: `${AGGREGATE}-admin` },
  { name: 'edit', rules: [], aggregates: `${AGGREGATE}-edit`, labels: { [`${AGGREGATE}-admin`]: 'true' } },
  { name: 'view', rules: [], aggregates: `${AGGREGATE}-view`, labels: { [`${AGGREGATE}-edit`]: 'true' } },
  { name: 'system:aggregate-to-admin', rules: ADMIN, labels: { [`${AGGREGATE}-admin`]: 'true' } },
  { name: 'system:aggregate-to-edit', rules: EDIT, labels: { [`${AGGREGATE}-edit`]: 'true' } },
  { name: 'system:aggregate-to-view', rules: VIEW, labels: { [`${AGGREGATE}-view`]: 'true' } },
  {
    name: 'system:discovery',
    groups: ['system:authenticated'],
    rules: [{ nonResourceURLs: DISCOVERY_PATHS, verbs: ['get'] }],
  },
  {
    name: 'system:public-info-viewer',
    groups: ['system:authenticated', 'system:unauthenticated'],
    rules: [{ nonResourceURLs: PUBLIC_PATHS, verbs: ['get'] }],
  },
  {
    name: 'system:basic-user',
    groups: ['system:authenticated'],
    rules: [
      rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
      rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
    ],
  },
  {
    name: 'system:service-account-issuer-discovery',
    groups: ['system:serviceaccounts'],
    rules: [{ nonResourceURLs: ['/.well-known/openid-configuration', '/openid/v1/jwks'], verbs: ['get'] }],
  },
];
