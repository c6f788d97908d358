import { type Clock, retry } from '@mural/core';
import { HubError, REGISTRY_SECRET, spokeBootstrap, type SpokeRegistrySettings } from '@mural/hub';
import { type KubeClient, type KubeObject, type Spoke, SPOKES } from '@mural/kube';
import { type Credential, credentialsFromDockerConfig, dockerConfigOf, parseRepositoryUrl } from '@mural/oci';
import { CliError } from '../errors.ts';
import { readDirectory } from './directory.ts';
import { hasLogin, hasOwnRegistry, settingsOf } from './registry-choice.ts';
import { textOf } from './values-store.ts';

/** About half a minute in all: the hub makes the accounts of a new spoke within moments. */
const ATTEMPTS = 24;

/** How the manifests are made. */
export interface BootstrapObjectsOptions {
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  /** The account of the spoke in a registry of its own. The hub does not keep it. */
  readonly login?: Credential | undefined;
}

/**
 * The manifests that make a cluster a spoke of the hub behind `client`. Waits for the hub to make
 * the spoke's accounts.
 *
 * @throws CliError `NotFound` when there is no such Spoke, `NotReady` when its accounts do not come,
 *   `Usage` for a login to the registry of the hub, where the hub makes it
 */
export async function bootstrapObjects(
  client: KubeClient,
  name: string,
  options: BootstrapObjectsOptions,
): Promise<readonly KubeObject[]> {
  const directory = await readDirectory(client);
  const spoke = await client.find<Spoke>(SPOKES, { name });
  if (spoke === undefined) {
    throw new CliError('NotFound', `the hub knows no spoke named ${name}`, {
      hint: `create it with "mural spoke bootstrap ${name} --create", or apply a Spoke object`,
    });
  }
  const registry = settingsOf(directory.registries, spoke);
  const authorities = [directory.registryCa, spoke.spec?.ociRegistry?.ca];
  const ca = authorities.flatMap((pem) => (pem === undefined ? [] : [`${pem.trimEnd()}\n`])).join('');
  const { login } = options;
  if (login !== undefined && !hasOwnRegistry(directory.registries, spoke)) {
    throw new CliError('Usage', `the spoke ${name} reads the registry of the hub, where it has an account`, {
      hint: '--creds goes with --registry, or with spec.ociRegistry of the Spoke on another host',
    });
  }
  const expected = login === undefined && hasLogin(directory.registries, spoke);
  try {
    return await retry(
      async () => {
        const objects = await spokeBootstrap({
          client,
          spoke: name,
          registry: ca === '' ? registry : { ...registry, ca },
          hub: directory.hub,
        });
        if (expected) requireCredential(objects, registry, name);
        return login === undefined ? objects : withLogin(objects, registry, login);
      },
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

/** The objects, with an account in the registry that the spoke reads beside those that it has. */
function withLogin(
  objects: readonly KubeObject[],
  { url }: SpokeRegistrySettings,
  credential: Credential,
): KubeObject[] {
  const host = parseRepositoryUrl(url).registry;
  return objects.map((object) => {
    if (object.kind !== 'Secret' || object.metadata.name !== REGISTRY_SECRET) return object;
    const config = JSON.parse(textOf(object, '.dockerconfigjson') ?? '{}') as { readonly auths?: object };
    const { auths } = JSON.parse(dockerConfigOf([{ host, credential }])) as { readonly auths: object };
    const text = JSON.stringify({ ...config, auths: { ...config.auths, ...auths } });
    return { ...object, data: { '.dockerconfigjson': Buffer.from(text).toString('base64') } };
  });
}

/** After a change of the registry the account of a spoke is that of the former one for a moment. */
function requireCredential(
  objects: readonly KubeObject[],
  registry: SpokeRegistrySettings,
  spoke: string,
): void {
  const host = parseRepositoryUrl(registry.url).registry;
  const secret = objects.find(({ kind, metadata }) => kind === 'Secret' && metadata.name === REGISTRY_SECRET);
  const config = textOf(secret, '.dockerconfigjson');
  if (config !== undefined && credentialsFromDockerConfig(config, host) !== undefined) return;
  throw new HubError('TokenNotIssued', `the hub has made no account for the spoke ${spoke} in ${host} yet`, {
    facts: { spoke, registry: host },
    retryable: true,
  });
}

function isNotIssued(error: unknown): boolean {
  return error instanceof HubError && error.code === 'TokenNotIssued';
}
