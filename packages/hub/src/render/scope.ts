import { isRecord } from '@mural/core';
import type { UnstructuredObject } from '@mural/kube';
import { parseApiVersion } from '@mural/kube';

/** Kinds of Kubernetes' own API groups that live outside namespaces, as `group/Kind`. */
const CLUSTER_SCOPED = new Set([
  '/ComponentStatus',
  '/Namespace',
  '/Node',
  '/PersistentVolume',
  'admissionregistration.k8s.io/MutatingAdmissionPolicy',
  'admissionregistration.k8s.io/MutatingAdmissionPolicyBinding',
  'admissionregistration.k8s.io/MutatingWebhookConfiguration',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicy',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding',
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration',
  'apiextensions.k8s.io/CustomResourceDefinition',
  'apiregistration.k8s.io/APIService',
  'certificates.k8s.io/CertificateSigningRequest',
  'certificates.k8s.io/ClusterTrustBundle',
  'flowcontrol.apiserver.k8s.io/FlowSchema',
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration',
  'mural.dev/Spoke',
  'networking.k8s.io/IPAddress',
  'networking.k8s.io/IngressClass',
  'networking.k8s.io/ServiceCIDR',
  'node.k8s.io/RuntimeClass',
  'policy/PodSecurityPolicy',
  'rbac.authorization.k8s.io/ClusterRole',
  'rbac.authorization.k8s.io/ClusterRoleBinding',
  'resource.k8s.io/DeviceClass',
  'resource.k8s.io/ResourceSlice',
  'scheduling.k8s.io/PriorityClass',
  'storage.k8s.io/CSIDriver',
  'storage.k8s.io/CSINode',
  'storage.k8s.io/StorageClass',
  'storage.k8s.io/VolumeAttachment',
  'storage.k8s.io/VolumeAttributesClass',
]);

/** Groups of Kubernetes itself: whatever of theirs is not listed above lives in a namespace. */
const OWN_GROUP = /^(?:|apps|batch|autoscaling|policy|extensions|[a-z.]+\.k8s\.io)$/;

/** Whether kinds beyond the built-in ones live in a namespace, by `group/Kind`. */
export type KnownScopes = Readonly<Record<string, boolean>>;

/** The key of a kind in {@link KnownScopes}. */
export function kindKey(object: Pick<UnstructuredObject, 'apiVersion' | 'kind'>): string {
  return `${parseApiVersion(object.apiVersion).group}/${object.kind}`;
}

/** Decides for the objects of one rendering whether they live in a namespace. */
export class Scopes {
  readonly #defined = new Map<string, boolean>();
  readonly #known: KnownScopes;
  readonly #unknown = new Map<string, { readonly apiVersion: string; readonly kind: string }>();

  /**
   * @param objects all objects of the rendering; the CustomResourceDefinitions among them count
   * @param known what discovery answered before
   */
  constructor(objects: readonly UnstructuredObject[], known: KnownScopes) {
    this.#known = known;
    for (const object of objects) this.#define(object);
  }

  /** Kinds that nothing here knows; they are taken for namespaced, as most kinds are. */
  get unknown(): readonly { readonly apiVersion: string; readonly kind: string }[] {
    return [...this.#unknown.values()];
  }

  namespaced(object: UnstructuredObject): boolean {
    const key = kindKey(object);
    if (CLUSTER_SCOPED.has(key)) return false;
    const told = this.#defined.get(key) ?? this.#known[key];
    if (told !== undefined) return told;
    if (!OWN_GROUP.test(parseApiVersion(object.apiVersion).group)) {
      this.#unknown.set(key, { apiVersion: object.apiVersion, kind: object.kind });
    }
    return true;
  }

  #define(object: UnstructuredObject): void {
    if (object.kind !== 'CustomResourceDefinition') return;
    const spec = object['spec'];
    if (!isRecord(spec) || !isRecord(spec['names'])) return;
    const key = `${String(spec['group'])}/${String(spec['names']['kind'])}`;
    this.#defined.set(key, spec['scope'] !== 'Cluster');
  }
}
