import { systemClock } from '@mural/core';
import {
  createKubeClient,
  type KubeClient,
  type KubeObject,
  type Spoke,
  type SpokeRegistry,
  SPOKES,
} from '@mural/kube';
import { parseAllDocuments, stringify } from 'yaml';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { bootstrapObjects } from '../home/bootstrap.ts';
import { startSpokeHome } from '../home/spoke-home.ts';
import { spokeObject } from '../home/spokes.ts';
import { connectionOf } from '../kubeconfig.ts';
import { credsOf } from '../registry-access.ts';
import { runUntilStopped } from './run.ts';
import type { BootstrapOptions, RunOptions } from './spoke.ts';
import { registryOption, registryPatch } from './spoke-registry.ts';

/** Prints the manifests that make a cluster a spoke. */
export async function bootstrapSpoke(
  name: string,
  options: BootstrapOptions,
  context: Context,
): Promise<void> {
  if (options.labels !== undefined && options.create !== true) {
    throw new CliError('Usage', '--labels goes with --create', {
      hint: `label a spoke that is there with "kubectl label spoke ${name} key=value"`,
    });
  }
  const registry = await registryOption(options, context);
  const login = options.creds === undefined ? undefined : credsOf(options.creds);
  const client = createKubeClient(await connectionOf(context, options.kubeconfig));
  try {
    await ensureSpoke(client, name, { ...options, registry });
    const how = { clock: systemClock, signal: context.signal, login };
    const objects = await bootstrapObjects(client, name, how);
    context.out(objects.map((object) => stringify(object, { lineWidth: 0 })).join('---\n'));
  } finally {
    await client.close();
  }
}

/** Makes the Spoke or changes it, as far as that was asked for. */
async function ensureSpoke(
  client: KubeClient,
  name: string,
  { create, labels, registry }: Pick<BootstrapOptions, 'create' | 'labels'> & SpokeSettings,
): Promise<void> {
  if (create !== true && registry === undefined) return;
  const present = await client.find<Spoke>(SPOKES, { name });
  if (present === undefined) {
    // Without --create, that there is none is told later.
    if (create !== true) return;
    const spec = registry === undefined ? undefined : { ociRegistry: registry };
    await client.create(SPOKES, spokeObject(name, labels, spec));
    return;
  }
  const change = {
    ...(labels === undefined ? {} : { metadata: { labels } }),
    ...(registry === undefined ? {} : { spec: registryPatch(present, registry) }),
  };
  if (Object.keys(change).length > 0) await client.patch(SPOKES, { name }, 'merge', change);
}

interface SpokeSettings {
  readonly registry: SpokeRegistry | undefined;
}

/** Runs a spoke until it is told to stop. */
export async function runSpoke(options: RunOptions, context: Context): Promise<void> {
  const objects = readManifests(await readUserFile(context, options.bootstrap), options.bootstrap);
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startSpokeHome({
      dataDir: pathOf(context, options.data),
      bootstrap: objects,
      kubeconfig: options.kubeconfig === undefined ? undefined : pathOf(context, options.kubeconfig),
      listen: options.listen,
      apiPort: options.apiPort,
      log: { level: options.logLevel, echo: context.err },
    });
    const { name, api, kubeconfig } = home.facts;
    context.out(`The spoke ${name} runs; its API is ${api}.\n  export KUBECONFIG=${kubeconfig}\n`);
    return home;
  });
}

function readManifests(text: string, file: string): KubeObject[] {
  const parsed = parseAllDocuments(text);
  const documents = 'empty' in parsed ? [] : parsed;
  const objects: KubeObject[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = error.linePos?.[0].line ?? 1;
      throw new CliError(
        'FileInvalid',
        `${file}:${line}: invalid YAML: ${error.message.split('\n')[0] ?? ''}`,
      );
    }
    const object = document.toJS({ maxAliasCount: 100 }) as KubeObject | null;
    if (object !== null) objects.push(object);
  }
  return objects;
}
