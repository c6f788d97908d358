import type { SpokeRegistrySettings } from '@mural/hub';
import { CONFIG_MAPS, type KubeClient, MURAL_NAMESPACE, type UnstructuredObject } from '@mural/kube';
import { z } from 'zod';
import { CliError } from '../errors.ts';

/** The registry settings of the fleet. */
export interface RegistryDirectory {
  /** Those of a spoke that is not named below. */
  readonly fleet: SpokeRegistrySettings;
  /** Those of spokes that differ, by name. */
  readonly spokes: Readonly<Record<string, SpokeRegistrySettings>>;
  /** `host[:port]` of the registries that the values give spokes a credential for besides the hub's, by spoke. */
  readonly logins?: Readonly<Record<string, string>> | undefined;
}

/** What a new spoke must know, and only the process of the hub does: kept in the API for `mural spoke bootstrap`. */
export interface Directory {
  readonly registries: RegistryDirectory;
  readonly registryCa?: string | undefined;
  readonly hub: { readonly server: string; readonly ca: string };
}

const NAME = 'mural-directory';

const Settings = z.object({
  url: z.string(),
  insecure: z.boolean().optional(),
  interval: z.string(),
  timeout: z.string(),
  provider: z.enum(['generic', 'aws', 'azure', 'gcp']).optional(),
  secrets: z.object({ credential: z.boolean().optional(), ca: z.boolean().optional() }).optional(),
});
const Stored = z.object({
  registries: z.object({
    fleet: Settings,
    spokes: z.record(z.string(), Settings),
    logins: z.record(z.string(), z.string()).optional(),
  }),
  registryCa: z.string().optional(),
  hub: z.object({ server: z.string(), ca: z.string() }),
});

/** Writes the directory. It holds addresses and certificates, and nothing secret. */
export async function publishDirectory(client: KubeClient, directory: Directory): Promise<void> {
  const object: UnstructuredObject = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: NAME, namespace: MURAL_NAMESPACE },
    data: { 'directory.json': JSON.stringify(directory, null, 2) },
  };
  await client.apply(CONFIG_MAPS, object, { fieldManager: 'mural-up', force: true });
}

/**
 * Reads the directory.
 *
 * @throws CliError `NotFound` when the API is not that of a hub
 */
export async function readDirectory(client: KubeClient): Promise<Directory> {
  const ref = { name: NAME, namespace: MURAL_NAMESPACE };
  const object = await client.find<UnstructuredObject>(CONFIG_MAPS, ref);
  const data = object?.data as Readonly<Record<string, string>> | undefined;
  if (data === undefined) {
    throw new CliError('NotFound', `there is no hub here: ${MURAL_NAMESPACE} has no ConfigMap ${NAME}`, {
      hint: 'name the kubeconfig that "mural up" wrote with --kubeconfig',
    });
  }
  // JSON holds no `undefined`, which is all that the parsed type has beyond this one.
  return Stored.parse(JSON.parse(data['directory.json'] ?? '{}')) as Directory;
}
