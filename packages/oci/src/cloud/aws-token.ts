import type * as Ecr from '@aws-sdk/client-ecr';
import type * as EcrPublic from '@aws-sdk/client-ecr-public';
import { isRecord, withDeadline } from '@mural/core';
import { OciError } from '../errors.ts';
import type { CloudContext } from './options.ts';
import type { FetchedToken } from './token-cache.ts';
import { awsError } from './aws-errors.ts';
import { type AwsSession, awsSettings, openSession, stsHost } from './aws-sdk.ts';

/** Who AWS takes the identity for. */
export interface CallerIdentity {
  /** Twelve digits. */
  readonly account: string;
  readonly arn: string;
  readonly userId: string;
}

/** A client of the AWS SDK for the API of a registry, with the SDK's module for its commands. */
export type EcrClient =
  | {
      readonly kind: 'private';
      readonly client: Ecr.ECRClient;
      readonly sdk: typeof Ecr;
      readonly identity: string;
    }
  | {
      readonly kind: 'public';
      readonly client: EcrPublic.ECRPUBLICClient;
      readonly sdk: typeof EcrPublic;
      readonly identity: string;
    };

const TIMEOUT_MS = 30_000;
const MAX_TOKEN = 16 * 1024;

/**
 * A client of the API beside the registry, as the identity of the environment, through its proxy. Its keys
 * live an hour or more: open one for one job, and destroy it.
 *
 * @throws OciError `ProviderMismatch`, `IdentityUnavailable`, `AccessDenied` and what a call of STS can throw
 */
export async function openEcrClient(context: CloudContext, signal?: AbortSignal): Promise<EcrClient> {
  const session = await bounded(context, 'an AWS identity', signal, (inner) => openSession(context, inner));
  return await clientOf(session, context);
}

/**
 * A token for the registry: Basic for private, to be exchanged for a bearer token for ECR Public.
 *
 * @throws OciError that names operation, identity, region and, for a denial, the IAM action
 */
export async function fetchEcrToken(context: CloudContext, signal: AbortSignal): Promise<FetchedToken> {
  const session = await openSession(context, signal);
  const { api, identity } = session;
  const ecr = await clientOf(session, context);
  try {
    const data = await authorizationData(ecr, signal);
    return readToken(data, context.registry);
  } catch (error) {
    throw awsError(error, {
      operation: `${api.service}:GetAuthorizationToken`,
      action: `${api.service}:GetAuthorizationToken`,
      identity: identity.name,
      region: api.region,
      signal,
    });
  } finally {
    ecr.client.destroy();
  }
}

/**
 * Who the environment's identity is (STS GetCallerIdentity, which needs no permission).
 *
 * @throws OciError as {@link fetchEcrToken}
 */
export async function callerIdentity(context: CloudContext, signal?: AbortSignal): Promise<CallerIdentity> {
  return await bounded(context, 'the caller identity', signal, async (inner) => {
    const { api, identity, keys } = await openSession(context, inner);
    const { STSClient, GetCallerIdentityCommand } = await import('@aws-sdk/client-sts');
    const settings = awsSettings(context, api, stsHost(context.registry, api));
    const client = new STSClient({ ...settings, credentials: plain(keys) });
    try {
      const answer = await client.send(new GetCallerIdentityCommand({}), { abortSignal: inner });
      const { Account: account = '', Arn: arn = '', UserId: userId = '' } = answer;
      return { account, arn, userId };
    } catch (error) {
      throw awsError(error, {
        operation: 'GetCallerIdentity',
        action: 'sts:GetCallerIdentity',
        identity: identity.name,
        region: api.region,
        signal: inner,
      });
    } finally {
      client.destroy();
    }
  });
}

async function clientOf(session: AwsSession, context: CloudContext): Promise<EcrClient> {
  const { api, keys } = session;
  const config = { ...awsSettings(context, api, api.host), credentials: plain(keys) };
  const identity = session.identity.name;
  if (api.service === 'ecr') {
    const sdk = await import('@aws-sdk/client-ecr');
    return { kind: 'private', client: new sdk.ECRClient(config), sdk, identity };
  }
  const sdk = await import('@aws-sdk/client-ecr-public');
  // Of ECR Public's two dual-stack names the SDK picks the right one by itself.
  return { kind: 'public', client: new sdk.ECRPUBLICClient(config), sdk, identity };
}

/** Private ECR answers with a list, ECR Public with one object. */
async function authorizationData(ecr: EcrClient, signal: AbortSignal): Promise<unknown> {
  const options = { abortSignal: signal };
  if (ecr.kind === 'public') {
    const answer = await ecr.client.send(new ecr.sdk.GetAuthorizationTokenCommand({}), options);
    return answer.authorizationData;
  }
  const answer = await ecr.client.send(new ecr.sdk.GetAuthorizationTokenCommand({}), options);
  return answer.authorizationData?.[0];
}

function readToken(data: unknown, registry: string): FetchedToken {
  const { authorizationToken: token, expiresAt } = isRecord(data) ? data : {};
  const text =
    typeof token === 'string' && token.length <= MAX_TOKEN
      ? Buffer.from(token, 'base64').toString('utf8')
      : '';
  const colon = text.indexOf(':');
  if (colon <= 0 || !(expiresAt instanceof Date) || Number.isNaN(expiresAt.getTime())) {
    throw new OciError('AuthenticationFailed', `the answer to GetAuthorizationToken holds no token`, {
      retryable: true,
      facts: { registry },
    });
  }
  const credential = { username: text.slice(0, colon), password: text.slice(colon + 1) };
  return { credential, expiresAt: expiresAt.getTime() };
}

function plain(keys: AwsSession['keys']): {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
} {
  const { accessKeyId, secretAccessKey, sessionToken } = keys;
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

async function bounded<T>(
  { clock }: CloudContext,
  what: string,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const expired = (): OciError =>
    new OciError('TimedOut', `getting ${what} took longer than ${TIMEOUT_MS} ms`, { retryable: true });
  return await withDeadline({ clock, ms: TIMEOUT_MS, signal, expired }, work);
}
