import { type Clock, retry } from '@mural/core';
import { HubError, spokeBootstrap } from '@mural/hub';
import { type KubeClient, type KubeObject, type Spoke, SPOKES } from '@mural/kube';
import { CliError } from '../errors.ts';
import { readDirectory } from './directory.ts';
import { settingsOf } from './registry-choice.ts';

/** About half a minute in all: the hub makes the accounts of a new spoke within moments. */
const ATTEMPTS = 24;

/**
 * The manifests that make a cluster a spoke of the hub behind `client`. Waits for the hub to make
 * the spoke's accounts.
 *
 * @throws CliError `NotFound` when there is no such Spoke, `NotReady` when its accounts do not come
 */
export async function bootstrapObjects(
  client: KubeClient,
  name: string,
  options: { readonly clock: Clock; readonly signal?: AbortSignal },
): Promise<readonly KubeObject[]> {
  const directory = await readDirectory(client);
  const spoke = await client.find<Spoke>(SPOKES, { name });
  if (spoke === undefined) {
    throw new CliError('NotFound', `the hub knows no spoke named ${name}`, {
      hint: `create it with "mural spoke bootstrap ${name} --create", or apply a Spoke object`,
    });
  }
  const registry = settingsOf(directory.registries, spoke);
  try {
    return await retry(
      async () =>
        spokeBootstrap({
          client,
          spoke: name,
          registry: directory.registryCa === undefined ? registry : { ...registry, ca: directory.registryCa },
          hub: directory.hub,
        }),
      {
        attempts: ATTEMPTS,
        baseMs: 100,
        capMs: 2000,
        clock: options.clock,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        shouldRetry: isNotIssued,
      },
    );
  } catch (error) {
    if (!isNotIssued(error)) throw error;
    throw new CliError('NotReady', `the hub has made no accounts for the spoke ${name}`, {
      hint: 'see what it says: kubectl logs --namespace mural-system deployment/hue',
      cause: error,
    });
  }
}

function isNotIssued(error: unknown): boolean {
  return error instanceof HubError && error.code === 'TokenNotIssued';
}
