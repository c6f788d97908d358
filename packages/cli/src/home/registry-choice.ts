import { formatDuration, parseDuration } from '@mural/core';
import type { SpokeRegistrySettings } from '@mural/hub';
import type { Spoke } from '@mural/kube';
import type { Credential } from '@mural/oci';
import type { BasicAuth, HubRegistryValues, Values } from '@mural/values';
import { CliError } from '../errors.ts';
import type { RegistryDirectory } from './directory.ts';

/** Path of the repository that the embedded registry holds the workloads in, when values name none. */
const EMBEDDED_PATH = 'mural';

/** Which registry the hub writes, as the values say. */
export interface RegistryChoice {
  /** Whether it is the one in this process. */
  readonly embedded: boolean;
  /** Whether the one in this process runs, be it used or not. */
  readonly runEmbedded: boolean;
  /** `oci://host[:port]/path`, without the repository; absent for the embedded one. */
  readonly endpoint?: string;
  /** Name of the repository below the endpoint. */
  readonly repository: string;
  readonly insecure: boolean;
  /** Credential of the hub; absent for the embedded one, and for anonymous access. */
  readonly credential?: Credential;
  /** Flux durations. */
  readonly interval: string;
  readonly timeout: string;
}

/**
 * Reads the choice of the registry out of the values.
 *
 * @throws CliError `ProviderUnsupported`
 */
export function chooseRegistry(values: Values): RegistryChoice {
  const registry = values.hue.ociRegistry;
  requireGeneric('hue.ociRegistry.provider', registry.provider);
  for (const [index, spoke] of values.fleetConfig.spokes.entries()) {
    requireGeneric(`fleetConfig.spokes[${index}].ociRegistry.provider`, spoke.ociRegistry?.provider);
  }
  const common = {
    repository: registry.repository,
    interval: fluxDuration(registry.interval),
    timeout: fluxDuration(registry.timeout),
    runEmbedded: values.zot.enabled,
  };
  if (registry.endpoint === undefined || !registry.enabled) {
    return { ...common, embedded: true, insecure: false };
  }
  return { ...common, ...externalRegistry(registry, registry.endpoint), embedded: false };
}

function externalRegistry(
  registry: HubRegistryValues,
  endpoint: string,
): { readonly endpoint: string; readonly insecure: boolean; readonly credential?: Credential } {
  const credential = credentialOf(registry.basicAuth);
  return {
    endpoint: endpoint.replace(/\/$/, ''),
    insecure: registry.insecure,
    ...(credential === undefined ? {} : { credential }),
  };
}

/** The credential that a `basicAuth` block holds. */
export function credentialOf(basicAuth: BasicAuth | undefined): Credential | undefined {
  if (basicAuth?.username === undefined || basicAuth.password === undefined) return undefined;
  return { username: basicAuth.username, password: basicAuth.password };
}

/** The repository of the workloads in the embedded registry: its name there, without the host. */
export function embeddedRepository(choice: RegistryChoice): string {
  return `${EMBEDDED_PATH}/${choice.repository}`;
}

/**
 * The registry settings of one spoke: its own, where its `spec.ociRegistry` names a registry, else
 * those of the fleet.
 */
export function settingsOf(directory: RegistryDirectory, spoke: Spoke): SpokeRegistrySettings {
  const base = directory.spokes[spoke.metadata.name ?? ''] ?? directory.fleet;
  const own = spoke.spec?.ociRegistry;
  if (own === undefined) return base;
  const url = `${own.endpoint.replace(/\/$/, '')}/${own.repository}`;
  return {
    ...base,
    url,
    insecure: own.insecure ?? false,
    ...(own.provider === undefined ? {} : { provider: own.provider }),
  };
}

function requireGeneric(key: string, provider: string | undefined): void {
  if (provider === undefined || provider === 'generic') return;
  throw new CliError('ProviderUnsupported', `${key}: mural cannot sign in with the provider ${provider}`, {
    hint: 'the provider generic works: basicAuth with a user name and password, or none for anonymous access',
  });
}

/** Go's notation is wider than that of Flux's CRDs, whose timeouts know no hours. */
function fluxDuration(text: string): string {
  const ms = parseDuration(text);
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : formatDuration(ms);
}
