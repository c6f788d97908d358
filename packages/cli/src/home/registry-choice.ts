import { formatDuration, parseDuration } from '@mural/core';
import type { SpokeRegistrySettings } from '@mural/hub';
import type { Spoke, SpokeRegistry } from '@mural/kube';
import { type CloudProvider, type Credential, providerOfHost, type RegistryLogin } from '@mural/oci';
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
  const base = baseOf(directory, spoke);
  const own = spoke.spec?.ociRegistry;
  if (own === undefined) return base;
  const url = `${withoutSlash(own.endpoint)}/${own.repository}`;
  const [host, theirs] = [hostOf(url), hostOf(base.url)];
  // What is said of one registry says nothing of another, such as the mirror of a site.
  const sameSignIn = host === theirs || providerOfHost(host) === base.provider;
  const provider = own.provider ?? (sameSignIn ? base.provider : 'generic');
  return {
    ...base,
    url,
    insecure: own.insecure ?? false,
    ...(provider === undefined ? {} : { provider }),
    secrets:
      cloudOf(provider) === undefined
        ? secretsOf(own, base, host === theirs)
        : { credential: false, ca: false },
  };
}

/** Which Secrets the sources of a spoke refer to whose own object names a registry without a cloud. */
function secretsOf(
  { ca, insecure }: SpokeRegistry,
  { secrets }: SpokeRegistrySettings,
  sameHost: boolean,
): SpokeRegistrySettings['secrets'] {
  return {
    // Each spoke has the Secret; it may hold nothing for this registry.
    credential: !sameHost || (secrets?.credential ?? true),
    ca: insecure !== true && (ca !== undefined || (secrets?.ca ?? true)),
  };
}

/** The settings of a spoke, but for what its own object says. */
function baseOf(directory: RegistryDirectory, spoke: Spoke): SpokeRegistrySettings {
  return directory.spokes[spoke.metadata.name ?? ''] ?? directory.fleet;
}

/** Whether a spoke reads a registry on another host than the hub's, by what its own object says. */
export function hasOwnRegistry(directory: RegistryDirectory, spoke: Spoke): boolean {
  return hostOf(settingsOf(directory, spoke).url) !== hostOf(baseOf(directory, spoke).url);
}

/**
 * Whether the hub gives a spoke a credential for the registry that it reads: one that it made there, or
 * one that the values hold.
 */
export function hasLogin(directory: RegistryDirectory, spoke: Spoke): boolean {
  const settings = settingsOf(directory, spoke);
  if (settings.secrets?.credential !== true) return false;
  const host = hostOf(settings.url);
  return (
    host === hostOf(baseOf(directory, spoke).url) || directory.logins?.[spoke.metadata.name ?? ''] === host
  );
}

/**
 * The registry that values name for a spoke and that is on another host than the hub's, such as the mirror
 * of its site, and how the spoke signs in there.
 */
export function siteLogin(values: Values, spoke: string, hub: string): RegistryLogin | undefined {
  const own = values.fleetConfig.spokes.find(({ name }) => name === spoke)?.ociRegistry;
  const credential = credentialOf(own?.basicAuth);
  if (own?.endpoint === undefined || credential === undefined || cloudOf(own.provider) !== undefined)
    return undefined;
  const host = hostOf(`${withoutSlash(own.endpoint)}/${own.repository ?? ''}`);
  return host === hub ? undefined : { host, credential };
}

/** `host[:port]` of the URL of a repository. What is wrong with it is told where it is used. */
function hostOf(url: string): string {
  return url.replace(/^oci:\/\//, '').split('/')[0] ?? '';
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
