import { z } from 'zod';
import { KubeError } from '../errors.ts';

const Cluster = z.looseObject({
  server: z.string(),
  'certificate-authority': z.string().optional(),
  'certificate-authority-data': z.string().optional(),
  'insecure-skip-tls-verify': z.boolean().optional(),
  'tls-server-name': z.string().optional(),
  'proxy-url': z.string().optional(),
});
const User = z.looseObject({
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  'client-certificate': z.string().optional(),
  'client-certificate-data': z.string().optional(),
  'client-key': z.string().optional(),
  'client-key-data': z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
});
const Context = z.looseObject({ cluster: z.string(), user: z.string(), namespace: z.string().optional() });

/** A kubeconfig file, as far as it is read here (`client-go/tools/clientcmd/api/v1`). */
export const KubeConfigFile = z.looseObject({
  clusters: z.array(z.looseObject({ name: z.string(), cluster: Cluster })).nullish(),
  users: z.array(z.looseObject({ name: z.string(), user: User.nullish() })).nullish(),
  contexts: z.array(z.looseObject({ name: z.string(), context: Context })).nullish(),
  'current-context': z.string().nullish(),
});
export type KubeConfigFile = z.infer<typeof KubeConfigFile>;
export type KubeConfigCluster = z.infer<typeof Cluster>;
export type KubeConfigUser = z.infer<typeof User>;

/** A file and the directory that its relative paths start from. */
export interface LocatedConfig {
  readonly file: KubeConfigFile;
  readonly directory: string;
}

/** What one context chooses from one or more files. */
export interface ChosenContext {
  readonly name: string;
  readonly namespace: string | undefined;
  readonly cluster: KubeConfigCluster;
  readonly clusterDirectory: string;
  readonly user: KubeConfigUser;
  readonly userDirectory: string;
}

/**
 * Chooses a context, by name or the current one. Of several files the first that has a name, or a
 * current context, counts, as kubectl merges `KUBECONFIG`.
 *
 * @throws KubeError `KubeConfigInvalid`
 */
export function chooseContext(files: readonly LocatedConfig[], wanted: string | undefined): ChosenContext {
  const name =
    wanted ?? files.map(({ file }) => file['current-context'] ?? '').find((current) => current !== '');
  if (name === undefined) throw invalid('the kubeconfig names no current context');
  const context = first(files, ({ contexts }) => contexts?.find((entry) => entry.name === name)?.context);
  if (context === undefined) throw invalid(`the kubeconfig has no context "${name}"`);
  const { cluster: clusterName, user: userName, namespace } = context.value;
  const cluster = first(
    files,
    ({ clusters }) => clusters?.find((entry) => entry.name === clusterName)?.cluster,
  );
  if (cluster === undefined) throw invalid(`the kubeconfig has no cluster "${clusterName}"`);
  const user = first(files, ({ users }) => {
    const entry = users?.find((candidate) => candidate.name === userName);
    return entry === undefined ? undefined : (entry.user ?? {});
  });
  if (user === undefined && userName !== '') throw invalid(`the kubeconfig has no user "${userName}"`);
  return {
    name,
    namespace,
    cluster: cluster.value,
    clusterDirectory: cluster.directory,
    user: user?.value ?? {},
    userDirectory: user?.directory ?? '',
  };
}

function first<T>(
  files: readonly LocatedConfig[],
  find: (file: KubeConfigFile) => T | undefined,
): { readonly value: T; readonly directory: string } | undefined {
  for (const { file, directory } of files) {
    const value = find(file);
    if (value !== undefined) return { value, directory };
  }
  return undefined;
}

/** The error of a kubeconfig that cannot be used. */
export function invalid(message: string, cause?: unknown): KubeError {
  return new KubeError('KubeConfigInvalid', message, { cause });
}
