import { formatDuration, parseDuration } from '@mural/core';
import type { SpokeRegistrySettings } from '@mural/hub';
import type { Spoke } from '@mural/kube';
import type { CloudProvider, Credential } from '@mural/oci';
import type { BasicAuth, Provider, Values } from '@mural/values';
import type { RegistryDirectory } from './directory.ts';

/** Path of the repository that the embedded registry holds the workloads in, when values name none. */
const EMBEDDED_PATH = 'mural';
/** Annotation that binds a service account to an IAM role (IRSA). */
const ROLE_ANNOTATION = 'eks.amazonaws.com/role-arn';

/** How the hub writes a registry other than the embedded one. */
export interface ExternalChoice {
  /** `oci://host[:port]/path`, without the repository and without a slash at the end. */
  readonly endpoint: string;
  readonly insecure: boolean;
  /** The cloud that the hub's credential comes from; absent for `generic`. */
  readonly cloud?: CloudProvider | undefined;
  /** IAM role that the hub takes on where it has a web identity. */
  readonly roleArn?: string | undefined;
  /** Credential of the hub; absent for anonymous access, and where a cloud gives it. */
  readonly credential?: Credential | undefined;
}

/** Which registry the hub writes, as the values say. */
export interface RegistryChoice {
  /** Absent for the embedded one. */
  readonly external?: ExternalChoice | undefined;
  /** Name of the repository below the endpoint. */
  readonly repository: string;
  /** Flux durations. */
  readonly interval: string;
  readonly timeout: string;
}

/** Reads the choice of the registry out of the values. */
export function chooseRegistry(values: Values): RegistryChoice {
  const registry = values.hue.ociRegistry;
  const common = {
    repository: registry.repository,
    interval: fluxDuration(registry.interval),
    timeout: fluxDuration(registry.timeout),
  };
  if (registry.endpoint === undefined || !registry.enabled) return common;
  const cloud = cloudOf(registry.provider);
  return {
    ...common,
    external: {
      endpoint: withoutSlash(registry.endpoint),
      insecure: registry.insecure,
      ...(cloud === undefined
        ? { credential: credentialOf(registry.basicAuth) }
        : { cloud, roleArn: roleOf(values.hue.serviceAccount) }),
    },
  };
}

/** The IAM role that a service account is bound to. */
export function roleOf(account: {
  readonly annotations: Readonly<Record<string, string>>;
}): string | undefined {
  return account.annotations[ROLE_ANNOTATION];
}

/** What tells repositories that hubs write apart: two values documents with the same one write the same. */
export function placeOf(values: Values): string {
  const { external, repository } = chooseRegistry(values);
  return external === undefined ? embeddedRepository(repository) : `${external.endpoint}/${repository}`;
}

/** Whether the values make the registry of this process the hub's. */
export function usesEmbedded(values: Values): boolean {
  return chooseRegistry(values).external === undefined;
}

/** The cloud behind a provider, unless that is `generic`. */
export function cloudOf(provider: Provider | undefined): CloudProvider | undefined {
  return provider === undefined || provider === 'generic' ? undefined : provider;
}

/** The credential that a `basicAuth` block holds. */
export function credentialOf(basicAuth: BasicAuth | undefined): Credential | undefined {
  if (basicAuth?.username === undefined || basicAuth.password === undefined) return undefined;
  return { username: basicAuth.username, password: basicAuth.password };
}

/** The repository of the workloads in the embedded registry: its name there, without the host. */
export function embeddedRepository(repository: string): string {
  return `${EMBEDDED_PATH}/${repository}`;
}

/**
 * The registry settings of one spoke: its own, where its `spec.ociRegistry` names a registry, else
 * those of the fleet.
 */
export function settingsOf(directory: RegistryDirectory, spoke: Spoke): SpokeRegistrySettings {
  const base = directory.spokes[spoke.metadata.name ?? ''] ?? directory.fleet;
  const own = spoke.spec?.ociRegistry;
  if (own === undefined) return base;
  return {
    ...base,
    url: `${withoutSlash(own.endpoint)}/${own.repository}`,
    insecure: own.insecure ?? false,
    ...(own.provider === undefined ? {} : { provider: own.provider }),
    // Credential and CA are those of the registry they were given for; a cloud has its own.
    ...(cloudOf(own.provider) === undefined ? {} : { secrets: { credential: false, ca: false } }),
  };
}

function withoutSlash(endpoint: string): string {
  return endpoint.replace(/\/$/, '');
}

/** Go's notation is wider than that of Flux's CRDs, whose timeouts know no hours. */
function fluxDuration(text: string): string {
  const ms = parseDuration(text);
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : formatDuration(ms);
}
