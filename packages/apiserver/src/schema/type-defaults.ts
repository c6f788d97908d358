import { isRecord } from '@mural/core';

/** The fields of an object. */
export type Fields = Readonly<Record<string, unknown>>;

/** Adds defaults to a value of a named type or kind; returns the value itself when it has them. */
export type Defaulter = (value: Fields) => Fields;

/** The value with the fields that it lacks; itself when it lacks none. */
export function fill(value: Fields, defaults: Fields): Fields {
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(defaults)) {
    if (value[key] === undefined && defaults[key] !== undefined)
      (result ??= { ...value })[key] = defaults[key];
  }
  return result ?? value;
}

/** The record under a key, or an empty one. */
export function sub(value: Fields, key: string): Fields {
  const found = value[key];
  return isRecord(found) ? found : {};
}

/** The value with a part of it changed; itself when the part stayed the same. */
export function change(value: Fields, key: string, defaulter: Defaulter): Fields {
  const before = value[key];
  if (before !== undefined && !isRecord(before)) return value;
  const after = defaulter(before ?? {});
  return after === before ? value : { ...value, [key]: after };
}

const CORE = 'io.k8s.api.core.v1.';
const ADMISSION = 'io.k8s.api.admissionregistration.v1.';
const RBAC_GROUP = 'rbac.authorization.k8s.io';
const FILE_MODE = 0o644;

const filling =
  (defaults: Fields): Defaulter =>
  (value) =>
    fill(value, defaults);

/** `PodSpec`; the old and the new name of the service account are kept equal. */
function podSpec(spec: Fields): Fields {
  const account = spec['serviceAccountName'] ?? spec['serviceAccount'];
  const filled = fill(spec, {
    dnsPolicy: 'ClusterFirst',
    restartPolicy: 'Always',
    schedulerName: 'default-scheduler',
    securityContext: {},
    terminationGracePeriodSeconds: 30,
    serviceAccountName: account,
    serviceAccount: account,
  });
  return filled['hostNetwork'] === true ? withHostPorts(filled) : filled;
}

function withHostPorts(spec: Fields): Fields {
  const withPorts = (container: unknown): unknown => {
    if (!isRecord(container) || !Array.isArray(container['ports'])) return container;
    const ports = (container['ports'] as unknown[]).map((port) =>
      isRecord(port) ? fill(port, { hostPort: port['containerPort'] }) : port,
    );
    return { ...container, ports };
  };
  const result: Record<string, unknown> = { ...spec };
  for (const key of ['containers', 'initContainers']) {
    const list = spec[key];
    if (Array.isArray(list)) result[key] = list.map(withPorts);
  }
  return result;
}

function container(value: Fields): Fields {
  return fill(value, {
    imagePullPolicy: typeof value['image'] === 'string' ? pullPolicy(value['image']) : undefined,
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
  });
}

/** Always for no tag and for `latest`; an image with a digest is as fixed as one with a tag. */
function pullPolicy(image: string): string {
  const at = image.indexOf('@');
  const name = at < 0 ? image : image.slice(0, at);
  const tag = /:([^:/]*)$/.exec(name)?.[1];
  if (at >= 0 && (tag === undefined || tag !== 'latest')) return 'IfNotPresent';
  return tag === undefined || tag === 'latest' || image === '' ? 'Always' : 'IfNotPresent';
}

function servicePort(port: Fields): Fields {
  return fill(port, { protocol: 'TCP', targetPort: port['port'] });
}

function subject(value: Fields): Fields {
  const named = value['kind'] === 'User' || value['kind'] === 'Group';
  return fill(value, { apiGroup: named ? RBAC_GROUP : undefined });
}

function webhook(value: Fields): Fields {
  return fill(value, {
    failurePolicy: 'Fail',
    matchPolicy: 'Equivalent',
    namespaceSelector: {},
    objectSelector: {},
    timeoutSeconds: 10,
  });
}

function limitRangeItem(item: Fields): Fields {
  if (item['type'] !== 'Container') return item;
  const limits = fill(sub(item, 'default'), sub(item, 'max'));
  const requests = fill(fill(sub(item, 'defaultRequest'), limits), sub(item, 'min'));
  return fill(fillPart(item, 'default', limits), {
    defaultRequest: Object.keys(requests).length > 0 ? requests : undefined,
  });
}

function fillPart(value: Fields, key: string, part: Fields): Fields {
  return Object.keys(part).length === 0 || sub(value, key) === part ? value : { ...value, [key]: part };
}

function volume(value: Fields): Fields {
  return Object.keys(value).every((key) => key === 'name') ? { ...value, emptyDir: {} } : value;
}

/** Defaults that a type has wherever it stands, by its full name. */
export const TYPE_DEFAULTS: Readonly<Record<string, Defaulter | undefined>> = {
  [`${CORE}PodSpec`]: podSpec,
  [`${CORE}Container`]: container,
  [`${CORE}EphemeralContainer`]: container,
  [`${CORE}ContainerPort`]: filling({ protocol: 'TCP' }),
  [`${CORE}Probe`]: filling({
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  }),
  [`${CORE}HTTPGetAction`]: filling({ path: '/', scheme: 'HTTP' }),
  [`${CORE}GRPCAction`]: filling({ service: '' }),
  [`${CORE}ObjectFieldSelector`]: filling({ apiVersion: 'v1' }),
  [`${CORE}Volume`]: volume,
  [`${CORE}SecretVolumeSource`]: filling({ defaultMode: FILE_MODE }),
  [`${CORE}ConfigMapVolumeSource`]: filling({ defaultMode: FILE_MODE }),
  [`${CORE}DownwardAPIVolumeSource`]: filling({ defaultMode: FILE_MODE }),
  [`${CORE}ProjectedVolumeSource`]: filling({ defaultMode: FILE_MODE }),
  [`${CORE}ServiceAccountTokenProjection`]: filling({ expirationSeconds: 3600 }),
  [`${CORE}HostPathVolumeSource`]: filling({ type: '' }),
  [`${CORE}ISCSIVolumeSource`]: filling({ iscsiInterface: 'default' }),
  [`${CORE}ISCSIPersistentVolumeSource`]: filling({ iscsiInterface: 'default' }),
  [`${CORE}RBDVolumeSource`]: filling({ pool: 'rbd', user: 'admin', keyring: '/etc/ceph/keyring' }),
  [`${CORE}RBDPersistentVolumeSource`]: filling({ pool: 'rbd', user: 'admin', keyring: '/etc/ceph/keyring' }),
  [`${CORE}AzureDiskVolumeSource`]: filling({
    cachingMode: 'ReadWrite',
    fsType: 'ext4',
    kind: 'Shared',
    readOnly: false,
  }),
  [`${CORE}ScaleIOVolumeSource`]: filling({ storageMode: 'ThinProvisioned', fsType: 'xfs' }),
  [`${CORE}PersistentVolumeClaimSpec`]: filling({ volumeMode: 'Filesystem' }),
  [`${CORE}PersistentVolumeSpec`]: filling({
    persistentVolumeReclaimPolicy: 'Retain',
    volumeMode: 'Filesystem',
  }),
  [`${CORE}ServicePort`]: servicePort,
  [`${CORE}EndpointPort`]: filling({ protocol: 'TCP' }),
  [`${CORE}LimitRangeItem`]: limitRangeItem,
  'io.k8s.api.discovery.v1.EndpointPort': filling({ name: '', protocol: 'TCP' }),
  'io.k8s.api.networking.v1.NetworkPolicyPort': filling({ protocol: 'TCP' }),
  'io.k8s.api.rbac.v1.Subject': subject,
  'io.k8s.api.rbac.v1.RoleRef': filling({ apiGroup: RBAC_GROUP }),
  [`${ADMISSION}ValidatingWebhook`]: webhook,
  [`${ADMISSION}MutatingWebhook`]: (value) => fill(webhook(value), { reinvocationPolicy: 'Never' }),
  [`${ADMISSION}RuleWithOperations`]: filling({ scope: '*' }),
  [`${ADMISSION}ServiceReference`]: filling({ port: 443 }),
};
