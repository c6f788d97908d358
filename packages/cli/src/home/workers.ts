import { rfc3339 } from '@mural/core';
import {
  DEPLOYMENTS,
  type KubeClient,
  MURAL_NAMESPACE,
  NAMESPACES,
  PODS,
  SERVICE_ACCOUNTS,
  type UnstructuredObject,
} from '@mural/kube';
import type { Values } from '@mural/values';

/** The controllers that run within this process and whose logs the API serves. */
export const CONTROLLERS = ['hue', 'source-controller'] as const;
export type ControllerName = (typeof CONTROLLERS)[number];

const MANAGER = 'mural-up';

/** What values say of a controller's service account. */
export interface ServiceAccountSettings {
  readonly create: boolean;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The service accounts of the controllers, as values name them. */
export function serviceAccountsOf(values: Values): Readonly<Record<ControllerName, ServiceAccountSettings>> {
  return {
    hue: values.hue.serviceAccount,
    'source-controller': values.flux2.sourceController.serviceAccount,
  };
}

/**
 * Writes a Deployment and a Pod for each controller of this process. Nothing schedules them; they
 * are what `kubectl get` shows and where `kubectl logs deployment/hue` finds the log.
 */
export async function publishControllers(
  client: KubeClient,
  controllers: readonly ControllerName[],
  facts: {
    readonly version: string;
    readonly now: number;
    readonly accounts: Readonly<Record<ControllerName, ServiceAccountSettings>>;
  },
): Promise<void> {
  await client.apply<UnstructuredObject>(
    NAMESPACES,
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: MURAL_NAMESPACE } },
    { fieldManager: MANAGER, force: true },
  );
  for (const name of controllers) {
    const options = { fieldManager: MANAGER, force: true };
    await ensureAccount(client, name, facts.accounts[name]);
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

/** An account that the values leave to others is made all the same when nobody did: the Pod names it. */
async function ensureAccount(
  client: KubeClient,
  name: ControllerName,
  settings: ServiceAccountSettings,
): Promise<void> {
  const ref = { name, namespace: MURAL_NAMESPACE };
  if (!settings.create && (await client.find(SERVICE_ACCOUNTS, ref)) !== undefined) return;
  const account = accountOf(name, settings.create ? settings.annotations : {});
  await client.apply(SERVICE_ACCOUNTS, account, { fieldManager: MANAGER, force: true });
}

function accountOf(name: ControllerName, annotations: Readonly<Record<string, string>>): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: MURAL_NAMESPACE, labels: labelsOf(name), annotations },
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
