import { registryIsFromValues } from '@mural/hub';
import type { Spoke, SpokeRegistry } from '@mural/kube';
import { OciError, parseRepositoryUrl, providerOfHost } from '@mural/oci';
import { problemOfCa } from '@mural/values';
import { type Context, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import type { BootstrapOptions } from './spoke.ts';

/**
 * The registry that `--registry` gives a spoke, such as the mirror of its site.
 *
 * @throws CliError `Usage`, `FileInvalid`
 */
export async function registryOption(
  options: BootstrapOptions,
  context: Context,
): Promise<SpokeRegistry | undefined> {
  const { registry: url, registryCa: file } = options;
  if (url === undefined) {
    if (file === undefined) return undefined;
    throw new CliError('Usage', '--registry-ca goes with --registry', {
      hint: 'a CA of the registry of the whole fleet is told to the hub: mural up --registry-ca FILE',
    });
  }
  const host = hostOf(url);
  const slash = url.lastIndexOf('/');
  const ca = file === undefined ? undefined : await readUserFile(context, file);
  const problem = ca === undefined ? undefined : problemOfCa(ca);
  if (problem !== undefined) throw new CliError('FileInvalid', `${file ?? ''} ${problem}`);
  return {
    endpoint: url.slice(0, slash),
    repository: url.slice(slash + 1),
    provider: providerOfHost(host) ?? 'generic',
    ...(ca === undefined ? {} : { ca }),
  };
}

function hostOf(url: string): string {
  try {
    return parseRepositoryUrl(url).registry;
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw new CliError('Usage', `--registry must be oci://host[:port]/path/repository: ${error.message}`, {
      hint: 'the repository is the one that the hub writes, as the spoke reaches it: oci://site:5000/mural/workloads',
    });
  }
}

/** What changes the registry of a Spoke that is there: a merge patch, so what is not told is taken away. */
export function registryPatch(spoke: Spoke, registry: SpokeRegistry): object {
  if (registryIsFromValues(spoke)) {
    const name = spoke.metadata.name ?? '';
    throw new CliError('Usage', `the values say which registry the spoke ${name} reads`, {
      hint: `change fleetConfig.spokes[].ociRegistry of ${name} there, and leave out --registry`,
    });
  }
  return { ociRegistry: { insecure: null, ca: null, ...registry } };
}
