import { silentLogger, systemClock } from '@mural/core';
import type { CredentialProvider } from '../credentials.ts';
import { OciError } from '../errors.ts';
import type { CallerIdentity, EcrClient } from './aws-token.ts';
import { type CloudProvider, providerOfHost, sameRegistry } from './hosts.ts';
import type { CloudContext, CloudCredentialOptions } from './options.ts';
import { type FetchedToken, TokenCache } from './token-cache.ts';

const REGISTRIES: Readonly<Record<CloudProvider, string>> = {
  aws: 'Amazon ECR (<account>.dkr.ecr.<region>.amazonaws.com, public.ecr.aws)',
  azure: 'Azure Container Registry (<name>.azurecr.io)',
  gcp: 'Google Artifact Registry (<location>-docker.pkg.dev, gcr.io)',
};

/**
 * Credentials for a registry of a cloud, from the identity that the environment offers: fetched when they
 * are first asked for, kept fresh, and given for that registry alone, over TLS alone.
 *
 * Nothing of a cloud's SDK is loaded before the first credential is asked for. One provider serves any
 * number of clients of its registry; keep it as long as any of them.
 *
 * @throws OciError `ProviderMismatch` when `registry` is not exactly one of the provider's hosts
 */
export function cloudCredentials(options: CloudCredentialOptions): CredentialProvider {
  const { provider, registry } = options;
  if (providerOfHost(registry) !== provider) {
    throw new OciError('ProviderMismatch', `provider '${provider}' has no registry ${shown(registry)}`, {
      hint: `It is for ${REGISTRIES[provider]}. For any other registry use provider 'generic'.`,
      facts: { provider, registry: shown(registry) },
    });
  }
  const context = contextOf(options);
  const cache = new TokenCache({
    what: `a token for ${registry}`,
    fetch: async (signal) => fetchToken(provider, context, signal),
    clock: context.clock,
    random: context.random,
    log: context.log,
  });
  return async (request = {}) => {
    if (request.insecure === true) return undefined;
    if (request.to !== undefined && !sameRegistry(registry, request.to)) return undefined;
    return await cache.get(request.rejected);
  };
}

/** What the AWS calls beside the credentials need. */
export type AwsOptions = Omit<CloudCredentialOptions, 'provider'>;

/**
 * Who AWS takes the identity of the environment for, as the credentials for `registry` would be fetched.
 *
 * @throws OciError `ProviderMismatch`, `IdentityUnavailable`, `AccessDenied`, `Unreachable`, …
 */
export async function awsCallerIdentity(options: AwsOptions, signal?: AbortSignal): Promise<CallerIdentity> {
  const { callerIdentity } = await import('./aws-token.ts');
  return await callerIdentity(contextOf(options), signal);
}

/**
 * A client of the API beside `registry` with the same identity, proxy, region and kind of endpoint as its
 * credentials. The caller destroys it.
 *
 * @throws OciError as {@link awsCallerIdentity}
 */
export async function awsEcrClient(options: AwsOptions, signal?: AbortSignal): Promise<EcrClient> {
  const { openEcrClient } = await import('./aws-token.ts');
  return await openEcrClient(contextOf(options), signal);
}

function contextOf(options: AwsOptions): CloudContext {
  return {
    registry: options.registry,
    roleArn: options.roleArn,
    environment: options.environment ?? process.env,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    log: options.log ?? silentLogger,
  };
}

async function fetchToken(
  provider: CloudProvider,
  context: CloudContext,
  signal: AbortSignal,
): Promise<FetchedToken> {
  switch (provider) {
    case 'aws':
      return await (await import('./aws-token.ts')).fetchEcrToken(context, signal);
    case 'azure':
      return await (await import('./azure.ts')).fetchAcrToken(context, signal);
    case 'gcp':
      return await (await import('./gcp.ts')).fetchGcpToken(context, signal);
  }
}

function shown(host: string): string {
  return host.replace(/^.*@/s, '').slice(0, 200);
}
