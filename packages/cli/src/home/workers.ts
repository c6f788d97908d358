import { jsonEqual, rfc3339 } from '@mural/core';
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
import { type ControllerName, podName } from './controllers.ts';
import { RELEASE_MANAGER, RELEASE_METADATA } from './values-store.ts';

const MANAGER = 'mural-up';

/** What values say of a controller's service account. */
export interface ServiceAccountSettings {
  readonly create: boolean;
  readonly automount?: boolean | undefined;
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
  facts: { readonly version: string; readonly now: number; readonly released: boolean },
): Promise<void> {
  await client.apply<UnstructuredObject>(
    NAMESPACES,
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: MURAL_NAMESPACE } },
    { fieldManager: MANAGER, force: true },
  );
  for (const name of controllers) {
    // Admission takes no Pod whose service account is not there.
    await publishAccounts(client, { [name]: { create: false, annotations: {} } }, facts);
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

function labelsOf(name: string): Record<string, string> {
  return { app: name, 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'mural' };
}

function podSpec(name: string, version: string): Record<string, unknown> {
  return {
    serviceAccountName: name,
    containers: [{ name, image: `mural:${version}`, imagePullPolicy: 'Never' }],
  };
}

/**
 * Writes the service accounts of controllers as the values say. One that the values leave to others is
 * made all the same when nobody did: the Pod names it.
 *
 * @param options.released whether they belong to the Helm release of the hub. They are then written
 *   as its chart writes them, so that `helm upgrade` takes them over.
 */
export async function publishAccounts(
  client: KubeClient,
  accounts: Partial<Readonly<Record<ControllerName, ServiceAccountSettings>>>,
  options: { readonly released: boolean },
): Promise<void> {
  for (const [name, settings] of Object.entries(accounts)) {
    const found = await client.find<UnstructuredObject>(SERVICE_ACCOUNTS, {
      name,
      namespace: MURAL_NAMESPACE,
    });
    if (!settings.create && found !== undefined) continue;
    const account = accountOf(name, settings, options.released);
    if (found !== undefined && holds(found, account)) continue;
    const fieldManager = options.released ? RELEASE_MANAGER : MANAGER;
    await client.apply(SERVICE_ACCOUNTS, account, { fieldManager, force: true });
  }
}

/** Whether applying would change nothing: an upgrade by Helm is then left as Helm wrote it. */
function holds(found: UnstructuredObject, wanted: UnstructuredObject): boolean {
  const labels = found.metadata.labels ?? {};
  return (
    jsonEqual(found.metadata.annotations ?? {}, wanted.metadata.annotations ?? {}) &&
    Object.entries(wanted.metadata.labels ?? {}).every(([key, value]) => labels[key] === value) &&
    found.automountServiceAccountToken === wanted.automountServiceAccountToken
  );
}

function accountOf(name: string, settings: ServiceAccountSettings, released: boolean): UnstructuredObject {
  const release = released ? RELEASE_METADATA : { labels: {}, annotations: {} };
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: {
      name,
      namespace: MURAL_NAMESPACE,
      labels: { ...labelsOf(name), ...release.labels },
      annotations: { ...(settings.create ? settings.annotations : {}), ...release.annotations },
    },
    ...(settings.automount === undefined ? {} : { automountServiceAccountToken: settings.automount }),
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
