import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { type Clock, systemCode } from '@mural/core';
import { parse, stringify } from 'yaml';
import type { KubeConnection } from '../http/transport.ts';
import { pluginCredentials } from './plugins.ts';
import { type ChosenContext, chooseContext, invalid, KubeConfigFile, type LocatedConfig } from './schema.ts';
import { fileToken } from './token-file.ts';

/** Where a kubeconfig is looked for. */
export interface LoadKubeConfigOptions {
  /** A file. Without it and `text`: `KUBECONFIG`, else `~/.kube/config`, else the pod's service account. */
  readonly path?: string | undefined;
  readonly text?: string | undefined;
  /** The context to use in place of the current one. */
  readonly context?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly clock?: Clock | undefined;
  /** Where the service account of a pod is mounted. */
  readonly serviceAccountDirectory?: string | undefined;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds out how to reach the API, as kubectl does.
 *
 * @throws KubeError `KubeConfigInvalid`, naming the file, context, cluster or user that is missing
 */
export async function loadKubeConfig(options: LoadKubeConfigOptions = {}): Promise<KubeConnection> {
  const files = await locate(options);
  if (files.length === 0) return await inCluster(options);
  const chosen = chooseContext(files, options.context);
  const connection = await clusterPart(chosen);
  return { ...connection, ...(await userPart(chosen, options.clock)) };
}

async function locate({ path, text, env = process.env }: LoadKubeConfigOptions): Promise<LocatedConfig[]> {
  if (text !== undefined) return [{ file: parseFile(text, 'the kubeconfig'), directory: process.cwd() }];
  if (path !== undefined) {
    const file = await readConfig(path);
    if (file === undefined) throw invalid(`the kubeconfig ${path} does not exist`);
    return [file];
  }
  const named = (env['KUBECONFIG'] ?? '').split(delimiter).filter((part) => part !== '');
  const paths = named.length > 0 ? named : [join(env['HOME'] ?? homedir(), '.kube', 'config')];
  const files = await Promise.all(paths.map(readConfig));
  return files.filter((file) => file !== undefined);
}

async function readConfig(path: string): Promise<LocatedConfig | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined;
    throw invalid(`the kubeconfig ${path} cannot be read`, cause);
  }
  return { file: parseFile(text, path), directory: dirname(resolve(path)) };
}

function parseFile(text: string, name: string): KubeConfigFile {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    // Without the parser's message: it quotes lines, and these may hold credentials.
    throw invalid(`${name} is not YAML`, cause);
  }
  const result = KubeConfigFile.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw invalid(`${name} is not a kubeconfig: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

async function clusterPart({ cluster, clusterDirectory, namespace }: ChosenContext): Promise<KubeConnection> {
  const ca = await content(
    cluster['certificate-authority-data'],
    cluster['certificate-authority'],
    clusterDirectory,
  );
  return {
    server: cluster.server,
    ca,
    insecureSkipTlsVerify: cluster['insecure-skip-tls-verify'],
    serverName: cluster['tls-server-name'],
    proxyUrl: cluster['proxy-url'],
    namespace,
  };
}

async function userPart(chosen: ChosenContext, clock?: Clock): Promise<Partial<KubeConnection>> {
  const { user, userDirectory } = chosen;
  if (user.exec !== undefined || user['auth-provider'] !== undefined) return await pluginCredentials(chosen);
  const clientCert = await content(
    user['client-certificate-data'],
    user['client-certificate'],
    userDirectory,
  );
  const clientKey = await content(user['client-key-data'], user['client-key'], userDirectory);
  const certificate = { clientCert, clientKey };
  // With both, what the file says now is newer (`client-go/tools/clientcmd/api/v1`, AuthInfo).
  if (user.tokenFile !== undefined && user.tokenFile !== '') {
    return { ...certificate, token: fileToken(resolve(userDirectory, user.tokenFile), clock) };
  }
  if (user.token !== undefined && user.token !== '') return { ...certificate, token: user.token };
  if (user.username === undefined) return certificate;
  return { ...certificate, basicAuth: { username: user.username, password: user.password ?? '' } };
}

/** Inline data, or what the file holds. */
async function content(
  data: string | undefined,
  path: string | undefined,
  directory: string,
): Promise<string | undefined> {
  if (data !== undefined && data !== '') return Buffer.from(data, 'base64').toString('utf8');
  if (path === undefined || path === '') return undefined;
  try {
    return await readFile(resolve(directory, path), 'utf8');
  } catch (cause) {
    throw invalid(`the file ${path} of the kubeconfig cannot be read`, cause);
  }
}

/** The service account of the pod that this runs in. */
async function inCluster(options: LoadKubeConfigOptions): Promise<KubeConnection> {
  const { env = process.env, serviceAccountDirectory = SERVICE_ACCOUNT, clock } = options;
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (host === undefined || host === '') {
    throw invalid(
      'there is no kubeconfig: KUBECONFIG is unset, ~/.kube/config is missing, and this is no pod',
    );
  }
  const address = host.includes(':') ? `[${host}]` : host;
  const ca = await content(undefined, join(serviceAccountDirectory, 'ca.crt'), '/');
  const namespace = await content(undefined, join(serviceAccountDirectory, 'namespace'), '/');
  return {
    server: `https://${address}:${env['KUBERNETES_SERVICE_PORT'] ?? '443'}`,
    ca,
    token: fileToken(join(serviceAccountDirectory, 'token'), clock),
    namespace: namespace?.trim(),
  };
}

/** Names within a kubeconfig; `mural` unless given. */
export interface KubeConfigNames {
  readonly cluster?: string | undefined;
  readonly user?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * Writes a kubeconfig with everything inline, the token too.
 *
 * @throws KubeError `KubeConfigInvalid` when the token is not a string, since a function cannot be written
 */
export function kubeConfigText(connection: KubeConnection, names: KubeConfigNames = {}): string {
  const { cluster = 'mural', user = cluster, context = cluster } = names;
  const { token, basicAuth } = connection;
  if (typeof token === 'function') throw invalid('a token that is fetched cannot be written to a kubeconfig');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: cluster,
        cluster: {
          server: connection.server,
          'certificate-authority-data': base64(connection.ca),
          'insecure-skip-tls-verify': connection.insecureSkipTlsVerify,
          'tls-server-name': connection.serverName,
          'proxy-url': connection.proxyUrl,
        },
      },
    ],
    users: [
      {
        name: user,
        user: {
          token,
          'client-certificate-data': base64(connection.clientCert),
          'client-key-data': base64(connection.clientKey),
          username: basicAuth?.username,
          password: basicAuth?.password,
        },
      },
    ],
    contexts: [{ name: context, context: { cluster, user, namespace: connection.namespace } }],
    'current-context': context,
  });
}

function base64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text).toString('base64');
}
