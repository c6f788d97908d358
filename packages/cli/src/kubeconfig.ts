import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';
import { type KubeConnection, loadKubeConfig } from '@mural/kube';
import { type Context, pathOf } from './context.ts';
import { CliError } from './errors.ts';

/** Where `mural up` leaves its kubeconfig when it is given no folder. */
const DEFAULT_KUBECONFIG = '.mural/kubeconfig';

/**
 * How the API that a command works with is reached: by the kubeconfig that was named, by the first
 * that exists of `$KUBECONFIG`, or by that of a hub in the current folder.
 *
 * @throws CliError `KubeconfigMissing`
 */
export async function connectionOf(context: Context, named: string | undefined): Promise<KubeConnection> {
  return loadKubeConfig({ path: kubeconfigPath(context, named) });
}

/**
 * The kubeconfig that {@link connectionOf} reads.
 *
 * @throws CliError `KubeconfigMissing`
 */
export function kubeconfigPath(context: Context, named: string | undefined): string {
  const listed = (context.env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  const candidates = named !== undefined ? [named] : [...listed, DEFAULT_KUBECONFIG];
  const path = candidates.map((candidate) => pathOf(context, candidate)).find((file) => existsSync(file));
  if (path !== undefined) return path;
  throw new CliError('KubeconfigMissing', `there is no kubeconfig: ${candidates.join(', ')}`, {
    hint: 'start a hub with "mural up", or name a kubeconfig with --kubeconfig or $KUBECONFIG',
  });
}
