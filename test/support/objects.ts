import type {
  Environment,
  KubeClient,
  KubeObject,
  UnstructuredObject,
  WorkloadDeployment,
  WorkloadProfile,
} from '@mural/kube';
import { parseAllDocuments } from 'yaml';

/** The objects of a multi-document YAML text. */
export function objectsOf(yaml: string): UnstructuredObject[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as UnstructuredObject | null)
    .filter((object) => object !== null);
}

/** Server-side apply, as `kubectl apply --server-side` does it. */
export async function apply(client: KubeClient, ...objects: readonly KubeObject[]): Promise<void> {
  for (const object of objects) {
    const resource = await client.resourceFor(object.apiVersion, object.kind);
    if (resource === undefined) throw new Error(`the API does not serve ${object.apiVersion} ${object.kind}`);
    const namespaced =
      resource.namespaced && object.metadata.namespace === undefined
        ? { ...object, metadata: { ...object.metadata, namespace: 'default' } }
        : object;
    await client.apply(resource, namespaced, { fieldManager: 'kubectl', force: true });
  }
}

/** A profile whose only component is the given manifests. */
export function manifestsProfile(name: string, manifests: string, namespace?: string): WorkloadProfile {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadProfile',
    metadata: { name, namespace: 'default' },
    spec: {
      components: [
        {
          name: 'app',
          type: 'manifests',
          ...(namespace === undefined ? {} : { namespace }),
          properties: { manifests },
        },
      ],
    },
  };
}

/** An environment of every spoke that has the labels. */
export function environment(name: string, matchLabels: Readonly<Record<string, string>>): Environment {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'Environment',
    metadata: { name, namespace: 'default' },
    spec: { spokeSelector: { matchLabels } },
  };
}

/** An environment of the whole fleet. */
export function everySpoke(name: string): Environment {
  return { ...environment(name, {}), spec: { spokeSelector: {} } };
}

/** A deployment of a profile to an environment. */
export function deployment(
  name: string,
  profile: string,
  environmentName: string,
  spec: Partial<WorkloadDeployment['spec']> = {},
): WorkloadDeployment {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadDeployment',
    metadata: { name, namespace: 'default' },
    spec: { profileRef: { name: profile }, environmentRef: { name: environmentName }, ...spec },
  };
}

/** A ConfigMap as YAML. */
export function configMap(name: string, data: Readonly<Record<string, string>>): string {
  const lines = Object.entries(data).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`);
  return ['apiVersion: v1', 'kind: ConfigMap', 'metadata:', `  name: ${name}`, 'data:', ...lines, ''].join(
    '\n',
  );
}
