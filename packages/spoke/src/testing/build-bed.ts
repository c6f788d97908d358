import { type KubeObject, KustomizationSpec, type UnstructuredObject } from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import { buildObjects } from '../apply/build.ts';
import { ConfidentialValues } from '../apply/confidential.ts';
import { type Files, kustomization, type SpecInput } from './bed.ts';

const WEBHOOKS = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
  namespaced: false,
};
/** Builds what `files` and `spec` make; without `binary`, no kustomize is found. */
export async function build(
  files: Files,
  spec: SpecInput = {},
  objects: readonly KubeObject[] = [],
  binary = '/nonexistent',
): Promise<UnstructuredObject[]> {
  const object = kustomization('app', spec);
  const tree = new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]));
  return buildObjects(object, KustomizationSpec.parse(object.spec), tree, {
    client: createFakeKubeApi({ objects, resources: [WEBHOOKS] }),
    kustomize: binary,
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    confidential: new ConfidentialValues(),
  });
}

/** The name of an object. */
export const nameOf = ({ metadata }: UnstructuredObject): string | undefined => metadata.name;

/** A workload with everything that patches like to touch. */
export const BASE = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web } }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      initContainers: [{ name: init, image: "registry.test:5000/init:v1" }]
      containers:
        - { name: web, image: "nginx:1.0", env: [{ name: A, value: "1" }, { name: B, value: "2" }], args: [a, b], volumeMounts: [{ name: v, mountPath: /v }], ports: [{ containerPort: 53, protocol: TCP }, { containerPort: 53, protocol: UDP }] }
        - { name: side, image: "side@sha256:${'a'.repeat(64)}" }
      volumes: [{ name: v, configMap: { name: one } }]
      tolerations: [{ key: a, operator: Exists }]
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { ports: [{ port: 80, name: http }, { port: 443, name: https }], selector: { app: web } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: one, namespace: there, annotations: { x: y }, finalizers: [a/b] }
data: { k: v, "on": "yes" }
---
apiVersion: example.com/v1
kind: Widget
metadata: { name: w }
spec: { containers: [{ name: a, size: 1 }, { name: b, size: 2 }], list: [1, 2] }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: runner }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: bind }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects:
  - { kind: ServiceAccount, name: runner, namespace: old }
  - { kind: ServiceAccount, name: runner, namespace: default }
  - { kind: ServiceAccount, name: runner }
  - { kind: ServiceAccount, name: default, namespace: old }
  - { kind: ServiceAccount, name: foreign, namespace: old }
  - { kind: User, name: u, apiGroup: rbac.authorization.k8s.io }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: hook }
webhooks: [{ name: a.example.com, clientConfig: { service: { name: web, namespace: default, path: /x } }, sideEffects: None, admissionReviewVersions: [v1] }]
`;

/** A strategic merge patch of the deployment's pods. */
/** A strategic merge patch of the pods of the workload. */
export function pods(spec: string): SpecInput {
  const head = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n';
  return { patches: [{ patch: `${head}spec: {template: {spec: ${spec}}}` }] };
}
/** A strategic merge patch of one object. */
export function merge(apiVersion: string, kind: string, rest: string): SpecInput {
  return { patches: [{ patch: `apiVersion: ${apiVersion}\nkind: ${kind}\n${rest}` }] };
}
/** A JSON6902 patch. */
export function json(target: object, patch: string): SpecInput {
  return { patches: [{ target, patch }] };
}
