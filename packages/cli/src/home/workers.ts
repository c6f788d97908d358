import { rfc3339 } from '@mural/core';
import {
  DEPLOYMENTS,
  type KubeClient,
  MURAL_NAMESPACE,
  NAMESPACES,
  PODS,
  type UnstructuredObject,
} from '@mural/kube';

/** The controllers that run within this process and whose logs the API serves. */
export const CONTROLLERS = ['hue', 'source-controller'] as const;
export type ControllerName = (typeof CONTROLLERS)[number];

const MANAGER = 'mural-up';

/**
 * Writes a Deployment and a Pod for each controller of this process. Nothing schedules them; they
 * are what `kubectl get` shows and where `kubectl logs deployment/hue` finds the log.
 */
export async function publishControllers(
  client: KubeClient,
  controllers: readonly ControllerName[],
  facts: { readonly version: string; readonly now: number },
): Promise<void> {
  await client.apply<UnstructuredObject>(
    NAMESPACES,
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: MURAL_NAMESPACE } },
    { fieldManager: MANAGER, force: true },
  );
  for (const name of controllers) {
    const options = { fieldManager: MANAGER, force: true };
    await client.apply(DEPLOYMENTS, deploymentOf(name, facts.version), options);
    await client.apply(PODS, podOf(name, facts.version), options);
    const deploymentStatus = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: MURAL_NAMESPACE },
      status: { replicas: 1, readyReplicas: 1, availableReplicas: 1, updatedReplicas: 1 },
    };
    await client.apply(DEPLOYMENTS, deploymentStatus, { ...options, subresource: 'status' });
    await client.apply(PODS, podStatusOf(name, facts), { ...options, subresource: 'status' });
  }
}

/** The controller that a Pod stands for. */
export function controllerOf(pod: {
  readonly namespace: string;
  readonly name: string;
}): ControllerName | undefined {
  if (pod.namespace !== MURAL_NAMESPACE) return undefined;
  return CONTROLLERS.find((name) => podName(name) === pod.name);
}

function podName(controller: ControllerName): string {
  return `${controller}-0`;
}

function labelsOf(name: string): Record<string, string> {
  return { app: name, 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'mural' };
}

function podSpec(name: string, version: string): Record<string, unknown> {
  return {
    serviceAccountName: name,
    containers: [{ name, image: `mural:${version}`, imagePullPolicy: 'Never' }],
  };
}

function deploymentOf(name: ControllerName, version: string): UnstructuredObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: MURAL_NAMESPACE, labels: labelsOf(name) },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: labelsOf(name) }, spec: podSpec(name, version) },
    },
  };
}

function podOf(name: ControllerName, version: string): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName(name), namespace: MURAL_NAMESPACE, labels: labelsOf(name) },
    spec: podSpec(name, version),
  };
}

function podStatusOf(
  name: ControllerName,
  facts: { readonly version: string; readonly now: number },
): UnstructuredObject {
  const startedAt = rfc3339(facts.now);
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: startedAt });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName(name), namespace: MURAL_NAMESPACE },
    status: {
      phase: 'Running',
      startTime: startedAt,
      conditions: [condition('Initialized'), condition('Ready'), condition('ContainersReady')],
      containerStatuses: [
        {
          name,
          image: `mural:${facts.version}`,
          imageID: '',
          ready: true,
          started: true,
          restartCount: 0,
          state: { running: { startedAt } },
        },
      ],
    },
  };
}
