import { Agent } from 'node:https';
import { proxyFor } from '@mural/core';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { OciError } from '../errors.ts';
import { type EcrApi, ecrApi, parseEcrHost } from './hosts.ts';
import type { CloudContext } from './options.ts';
import { awsError } from './aws-errors.ts';
import { type AwsKeys, sharedFiles } from './aws-environment.ts';
import { type AwsIdentity, environmentKeys, findIdentity, readWebToken } from './aws-identity.ts';
import { containerCredentials, instanceCredentials } from './aws-metadata.ts';

/** What every client of the AWS SDK is made with: the region of the registry, its kind of endpoint, the proxy. */
export interface AwsSettings {
  readonly region: string;
  readonly useFipsEndpoint: boolean;
  readonly useDualstackEndpoint: boolean;
  readonly maxAttempts: number;
  /** Milliseconds from the machine's clock to the one that requests are dated by. */
  readonly systemClockOffset: number;
  readonly requestHandler: NodeHttpHandler;
}

/** An identity with its keys, for one registry. */
export interface AwsSession {
  readonly api: EcrApi;
  readonly identity: AwsIdentity;
  readonly keys: AwsKeys;
}

const CONNECT_MS = 5000;
const REQUEST_MS = 15_000;
/** With the SDK's own jittered backoff between them; all within the deadline of the whole. */
const MAX_ATTEMPTS = 3;

/**
 * The API of a registry.
 *
 * @throws OciError `ProviderMismatch` when `registry` is not one of ECR's hosts
 */
export function apiOf(registry: string): EcrApi {
  const api = ecrApi(registry);
  if (api === undefined)
    throw new OciError('ProviderMismatch', `${registry} is not a registry of Amazon ECR`);
  return api;
}

/** The settings of a client that calls `host`. @throws OciError `ProxyInvalid` */
export function awsSettings(context: CloudContext, api: EcrApi, host: string): AwsSettings {
  const proxy = proxyFor(new URL(`https://${host}`), context.environment);
  const options = proxy === undefined ? {} : { proxyEnv: { HTTPS_PROXY: proxy.href } };
  return {
    region: api.region,
    useFipsEndpoint: api.fips,
    useDualstackEndpoint: api.dualStack,
    maxAttempts: MAX_ATTEMPTS,
    systemClockOffset: context.clock.now() - Date.now(),
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECT_MS,
      requestTimeout: REQUEST_MS,
      throwOnRequestTimeout: true,
      httpsAgent: new Agent({ keepAlive: false, ...options }),
    }),
  };
}

/** The host of the STS in the registry's region; only for finding its proxy. */
export function stsHost(registry: string, api: EcrApi): string {
  const parsed = parseEcrHost(registry);
  return `sts.${api.region}.${parsed?.kind === 'private' ? parsed.dnsSuffix : 'amazonaws.com'}`;
}

/**
 * Finds the identity of the environment and fetches its keys afresh: tokens are wanted a few times a day,
 * and keys that are not kept cannot be stale.
 *
 * @throws OciError `IdentityUnavailable`, `AccessDenied` and what a call of STS can throw
 */
export async function openSession(context: CloudContext, signal: AbortSignal): Promise<AwsSession> {
  const api = apiOf(context.registry);
  const identity = await findIdentity(context);
  return { api, identity, keys: await keysOf(identity, api, context, signal) };
}

async function keysOf(
  identity: AwsIdentity,
  api: EcrApi,
  context: CloudContext,
  signal: AbortSignal,
): Promise<AwsKeys> {
  switch (identity.kind) {
    case 'environment':
      return environmentKeys(context.environment);
    case 'container':
      return await containerCredentials(context, signal);
    case 'instance-profile':
      return await instanceCredentials(context, signal);
    case 'web-identity':
      return await webIdentityKeys(identity, api, context, signal);
    case 'profile':
      return await profileKeys(identity, api, context);
  }
}

/** AssumeRoleWithWebIdentity, which is not signed, in the STS of the registry's region. */
async function webIdentityKeys(
  identity: AwsIdentity,
  api: EcrApi,
  context: CloudContext,
  signal: AbortSignal,
): Promise<AwsKeys> {
  const { role } = identity;
  if (role === undefined) throw new OciError('IdentityUnavailable', `${identity.name} names no role`);
  const token = await readWebToken(role.tokenFile);
  const { STSClient, AssumeRoleWithWebIdentityCommand } = await import('@aws-sdk/client-sts');
  const client = new STSClient(awsSettings(context, api, stsHost(context.registry, api)));
  const command = new AssumeRoleWithWebIdentityCommand({
    RoleArn: role.arn,
    RoleSessionName: role.session,
    WebIdentityToken: token,
  });
  try {
    const { Credentials: keys } = await client.send(command, { abortSignal: signal });
    if (keys?.AccessKeyId === undefined || keys.SecretAccessKey === undefined) {
      throw new OciError('IdentityUnavailable', `STS in ${api.region} gave no keys for ${identity.name}`);
    }
    return {
      accessKeyId: keys.AccessKeyId,
      secretAccessKey: keys.SecretAccessKey,
      sessionToken: keys.SessionToken,
    };
  } catch (error) {
    throw awsError(error, {
      operation: 'AssumeRoleWithWebIdentity',
      action: 'sts:AssumeRoleWithWebIdentity',
      identity: identity.name,
      region: api.region,
      signal,
    });
  } finally {
    client.destroy();
  }
}

/** SSO, processes, roles of roles, keys in files: the SDK knows them all. */
async function profileKeys(identity: AwsIdentity, api: EcrApi, context: CloudContext): Promise<AwsKeys> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  const { config, credentials } = sharedFiles(context.environment);
  const settings = awsSettings(context, api, stsHost(context.registry, api));
  const { region, requestHandler } = settings;
  try {
    const provider = defaultProvider({
      profile: identity.profile ?? 'default',
      configFilepath: config,
      filepath: credentials,
      ignoreCache: true,
      clientConfig: { region, requestHandler },
      parentClientConfig: { region, requestHandler },
      timeout: 1000,
      maxRetries: 1,
      ec2MetadataV1Disabled: true,
    });
    const { accessKeyId, secretAccessKey, sessionToken } = await provider();
    return { accessKeyId, secretAccessKey, sessionToken };
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.slice(0, 300) : 'no reason given';
    throw new OciError('IdentityUnavailable', `${identity.name} gives no keys: ${said}`, {
      cause,
      hint: 'aws sts get-caller-identity --profile <profile> tries the same; aws sso login renews a session.',
    });
  } finally {
    requestHandler.destroy();
  }
}
