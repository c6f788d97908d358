import {
  type KubeClient,
  kubeConfigText,
  type KubeObject,
  MURAL_NAMESPACE,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { isRecord } from '@mural/core';
import { HubError } from './errors.ts';
import { spokeNames } from './fleet/names.ts';
import {
  HUB_SECRET,
  REGISTRY_CA_SECRET,
  REGISTRY_SECRET,
  ROOT_NAME,
  rootSource,
  type SpokeRegistrySettings,
} from './settings.ts';

export interface SpokeBootstrapOptions {
  /** The API of the hub, with the right to read Secrets of its namespace. */
  readonly client: KubeClient;
  readonly spoke: string;
  /** Namespace of the hub; `mural-system` unless given. */
  readonly namespace?: string | undefined;
  /** How the spoke reaches the registry, and the CA of that in PEM unless the spoke knows it anyway. */
  readonly registry: SpokeRegistrySettings & { readonly ca?: string | undefined };
  /** How the spoke reaches the API of the hub: its URL, and its CA in PEM. */
  readonly hub: { readonly server: string; readonly ca: string };
}

/** Docker configuration without credentials: a Secret that sources can refer to, for registries open to all. */
const ANONYMOUS = Buffer.from('{"auths":{}}').toString('base64');

/**
 * The objects that make a cluster a spoke: Namespace, credentials, and the source and applier of its
 * root. They hold secrets.
 *
 * @throws HubError `SpokeNotFound`; `TokenNotIssued` when the hub has not made the accounts yet, which
 *   is worth another try
 * @throws KubeError
 */
export async function spokeBootstrap(options: SpokeBootstrapOptions): Promise<KubeObject[]> {
  const { client, hub, registry, spoke } = options;
  const namespace = options.namespace ?? MURAL_NAMESPACE;
  const names = spokeNames(spoke);
  if ((await client.find<Spoke>(SPOKES, { name: spoke })) === undefined) {
    throw new HubError('SpokeNotFound', `there is no Spoke ${spoke}`, { facts: { spoke } });
  }
  const token = await readSecret(client, namespace, names.tokenSecret, 'token');
  if (token === undefined) {
    throw new HubError('TokenNotIssued', `the hub has not issued a token for the spoke ${spoke} yet`, {
      facts: { spoke, secret: `${namespace}/${names.tokenSecret}` },
      retryable: true,
    });
  }
  const credential = await readSecret(client, namespace, names.registrySecret, '.dockerconfigjson');
  const kubeconfig = kubeConfigText(
    { server: hub.server, ca: hub.ca, token: Buffer.from(token, 'base64').toString('utf8') },
    { cluster: 'hub', user: names.serviceAccount, context: 'hub' },
  );
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: MURAL_NAMESPACE } },
    secret(
      REGISTRY_SECRET,
      { '.dockerconfigjson': credential ?? ANONYMOUS },
      'kubernetes.io/dockerconfigjson',
    ),
    ...(registry.ca === undefined ? [] : [secret(REGISTRY_CA_SECRET, { 'ca.crt': encode(registry.ca) })]),
    secret(HUB_SECRET, { kubeconfig: encode(kubeconfig), name: encode(spoke) }),
    ...rootObjects(spoke, registry),
  ];
}

function rootObjects(
  spoke: string,
  registry: SpokeRegistrySettings & { readonly ca?: string | undefined },
): KubeObject[] {
  const settings =
    registry.ca === undefined ? { ...registry, secrets: { ...registry.secrets, ca: false } } : registry;
  const metadata = { name: ROOT_NAME, namespace: MURAL_NAMESPACE };
  return [
    object('source.toolkit.fluxcd.io/v1', 'OCIRepository', metadata, {
      spec: rootSource(spoke, settings),
    }),
    object('kustomize.toolkit.fluxcd.io/v1', 'Kustomization', metadata, {
      spec: {
        sourceRef: { kind: 'OCIRepository', name: ROOT_NAME },
        path: './',
        prune: true,
        interval: registry.interval,
        // It only makes sources and appliers; they report their health themselves.
        wait: false,
        retryInterval: '1m',
        timeout: '5m',
      },
    }),
  ];
}

function secret(name: string, data: Readonly<Record<string, string>>, type = 'Opaque'): KubeObject {
  return object('v1', 'Secret', { name, namespace: MURAL_NAMESPACE }, { type, data });
}

function object(
  apiVersion: string,
  kind: string,
  metadata: KubeObject['metadata'],
  rest: Readonly<Record<string, unknown>>,
): UnstructuredObject {
  return { apiVersion, kind, metadata, ...rest };
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** One value of a Secret in base64, as it is stored; `undefined` when it is not there or empty. */
async function readSecret(
  client: KubeClient,
  namespace: string,
  name: string,
  key: string,
): Promise<string | undefined> {
  const found = await client.find<UnstructuredObject>(SECRETS, { name, namespace });
  const data = found?.['data'];
  const value = isRecord(data) ? data[key] : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}
