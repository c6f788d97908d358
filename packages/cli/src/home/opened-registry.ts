import type { Clock, Logger, ProcessEnvironment } from '@mural/core';
import type { HubRegistry, SpokeAccounts, SpokeRegistrySettings } from '@mural/hub';
import {
  cloudCredentials,
  type Credential,
  type CredentialProvider,
  parseEcrHost,
  parseRepositoryUrl,
  RegistryClient,
} from '@mural/oci';
import type { Values } from '@mural/values';
import type { RegistryDirectory } from './directory.ts';
import type { ServingRegistry } from './embedded-registry.ts';
import {
  chooseRegistry,
  cloudOf,
  credentialOf,
  embeddedRepository,
  type ExternalChoice,
  type RegistryChoice,
  siteLogin,
} from './registry-choice.ts';
import { hubSpokeName } from './spokes.ts';

/** A registry that the hub writes, and how everybody concerned reaches it. */
export interface OpenedRegistry {
  /** For people: `https://host:port`. */
  readonly url: string;
  /** What the hub is started with. Its URL is that of the repository of the workloads. */
  readonly hub: HubRegistry;
  /** The accounts of the spokes. */
  readonly accounts: SpokeAccounts;
  /** What spokes are told, unless their own objects say otherwise. */
  readonly directory: RegistryDirectory;
  /** What may push and pull, for people; absent where a cloud gives it to everyone by itself. */
  readonly login?: { readonly host: string; readonly credential: Credential } | undefined;
  /** Two that are equal reach the same repository in the same way. It holds secrets. */
  readonly identity: string;
}

/** What a registry is opened with. */
export interface OpenRegistryOptions {
  readonly values: Values;
  /** The embedded registry, which serves when the values choose it. */
  readonly embedded: ServingRegistry | undefined;
  /** PEM of the CA of registries other than the embedded one. */
  readonly externalCa?: string | undefined;
  /** The variables that name a proxy and the identity in a cloud: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
  /** A client that is open already, by the identity of its registry. */
  readonly kept?: ((identity: string) => RegistryClient | undefined) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** PutImage allows 10 calls a second; what else writes the repository needs some of them. */
export const ECR_PUTS_PER_SECOND = 8;

/**
 * Opens the registry that values choose. Nothing is sent to it yet.
 *
 * @throws OciError `ReferenceInvalid`, `CertificateInvalid`; `ProviderMismatch` when its host is not one of its cloud's
 */
export function openRegistry(options: OpenRegistryOptions): OpenedRegistry {
  const choice = chooseRegistry(options.values);
  if (choice.external !== undefined) return openExternal(options, choice, choice.external);
  if (options.embedded === undefined) throw new Error('the embedded registry does not serve');
  return openEmbedded(options, choice, options.embedded);
}

function openEmbedded(
  options: OpenRegistryOptions,
  choice: RegistryChoice,
  embedded: ServingRegistry,
): OpenedRegistry {
  const { clock, log } = options;
  const { host, hub, admin, ca, readers } = embedded;
  const url = `oci://${host}/${embeddedRepository(choice.repository)}`;
  const { interval, timeout } = choice;
  const identity = JSON.stringify([url, hub]);
  const client =
    options.kept?.(identity) ?? new RegistryClient({ registry: host, credentials: hub, ca, clock, log });
  return {
    url: `https://${host}`,
    hub: { url, client },
    accounts: readers,
    directory: { fleet: { url, interval, timeout, secrets: { credential: true, ca: true } }, spokes: {} },
    login: { host, credential: admin },
    identity,
  };
}

function openExternal(
  options: OpenRegistryOptions,
  choice: RegistryChoice,
  external: ExternalChoice,
): OpenedRegistry {
  const { values, externalCa: ca } = options;
  const { endpoint, insecure, credential, cloud } = external;
  const url = `${endpoint}/${choice.repository}`;
  const host = parseRepositoryUrl(url).registry;
  const identity = JSON.stringify([url, external]);
  const client = options.kept?.(identity) ?? externalClient(options, host, external);
  const readers = spokeCredentials(values, external, host);
  const settings = (withCredential: boolean): SpokeRegistrySettings => ({
    url,
    insecure,
    interval: choice.interval,
    timeout: choice.timeout,
    ...(cloud === undefined ? {} : { provider: cloud }),
    secrets: { credential: withCredential, ca: cloud === undefined && ca !== undefined },
  });
  return {
    url: `${insecure ? 'http' : 'https'}://${host}`,
    hub: {
      url,
      client,
      ...(parseEcrHost(host) === undefined ? {} : { putsPerSecond: ECR_PUTS_PER_SECOND }),
    },
    accounts: {
      // Without one the hub writes no Secret, and the spoke reads anonymously or by its cloud's leave.
      ensure: async (spoke) => readers.get(spoke),
      remove: async () => undefined,
    },
    directory: {
      fleet: settings(false),
      spokes: Object.fromEntries([...readers.keys()].map((name) => [name, settings(true)])),
    },
    ...(credential === undefined ? {} : { login: { host, credential } }),
    identity,
  };
}

function externalClient(
  options: OpenRegistryOptions,
  host: string,
  external: ExternalChoice,
): RegistryClient {
  const { externalCa: ca, environment = process.env, clock, log } = options;
  const { cloud: provider, credential, insecure } = external;
  // Without a web identity there is nothing to take a role on with: the identity of the machine is used.
  const roleArn = environment['AWS_WEB_IDENTITY_TOKEN_FILE'] === undefined ? undefined : external.roleArn;
  const credentials: Credential | CredentialProvider | undefined =
    provider === undefined
      ? credential
      : cloudCredentials({ provider, registry: host, roleArn, environment, clock, log });
  return new RegistryClient({ registry: host, credentials, insecure, ca, environment, clock, log });
}

/**
 * The credentials that the values give to spokes for the registry at `host`. The hub as a spoke can use
 * that of the hub.
 */
function spokeCredentials(
  values: Values,
  external: ExternalChoice,
  host: string,
): ReadonlyMap<string, Credential> {
  const own = hubSpokeName(values);
  const credentials = new Map<string, Credential>();
  if (own !== undefined && external.credential !== undefined) credentials.set(own, external.credential);
  for (const { name, ociRegistry } of values.fleetConfig.spokes) {
    const credential = credentialOf(ociRegistry?.basicAuth);
    const elsewhere = siteLogin(values, name, host) !== undefined;
    if (credential !== undefined && cloudOf(ociRegistry?.provider) === undefined && !elsewhere) {
      credentials.set(name, credential);
    }
  }
  return credentials;
}
