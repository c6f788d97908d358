import { isRecord, systemCode } from '@mural/core';
import { OciError, type OciErrorCode } from '../errors.ts';

/** What was asked of AWS, and as whom. */
export interface AwsCall {
  /** `GetAuthorizationToken` */
  readonly operation: string;
  /** The IAM action that it needs: `ecr:GetAuthorizationToken`. */
  readonly action: string;
  /** The identity in words. */
  readonly identity: string;
  readonly region: string;
  /** Its reason is thrown when it has aborted. */
  readonly signal?: AbortSignal | undefined;
}

const THROTTLED = /Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|LimitExceeded|BandwidthLimit/i;
const DENIED = /AccessDenied|Unauthorized|NotAuthorized|AuthorizationError/i;
const REJECTED =
  /ExpiredToken|InvalidIdentityToken|InvalidClientTokenId|UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken|RequestExpired|OptInRequired|IDPRejectedClaim/i;
/** Their texts repeat the request, and with it the session token. */
const REPEATS_REQUEST = /Signature/i;
const ACTION = /not authorized to perform:?\s+([a-z0-9-]{2,40}:[A-Za-z*]{2,80})/;

/**
 * Turns what the AWS SDK throws into an {@link OciError} that names operation, identity and region, and for
 * a denial the IAM action.
 *
 * @returns the reason of the call's signal when that has aborted
 */
export function awsError(error: unknown, call: AwsCall): unknown {
  if (call.signal?.aborted === true) return call.signal.reason;
  if (error instanceof OciError) return error;
  const name = error instanceof Error ? error.name : '';
  const status = statusOf(error);
  const code = codeOf(error, name, status);
  const said = REPEATS_REQUEST.test(name) ? '' : textOf(error);
  const action = ACTION.exec(said)?.[1] ?? call.action;
  const verdict = WORDS[code] ?? 'failed';
  const detail = [name === 'Error' ? '' : name, said].filter((word) => word !== '').join(': ');
  const needs = code === 'AccessDenied' ? ` (${action})` : '';
  return new OciError(
    code,
    `${call.operation}${needs} in ${call.region} as ${call.identity} ${verdict}: ${detail}`,
    {
      cause: error,
      retryable: code !== 'AccessDenied' && code !== 'RequestRefused',
      ...hintOf(code, action),
      facts: {
        operation: call.operation,
        identity: call.identity,
        region: call.region,
        ...(status === undefined ? {} : { status }),
        ...(code === 'AccessDenied' ? { action } : {}),
      },
    },
  );
}

const WORDS: Readonly<Partial<Record<OciErrorCode, string>>> = {
  AccessDenied: 'is not allowed',
  AuthenticationFailed: 'was not accepted',
  RateLimited: 'was throttled',
  Unreachable: 'got no answer',
};

function codeOf(error: unknown, name: string, status: number | undefined): OciErrorCode {
  if (THROTTLED.test(name) || status === 429) return 'RateLimited';
  if (DENIED.test(name)) return 'AccessDenied';
  if (REJECTED.test(name)) return 'AuthenticationFailed';
  if (status !== undefined && status >= 500) return 'ServerError';
  if (/^IDPCommunicationError|Timeout|^RequestTimeout/.test(name)) return 'Unreachable';
  if (status === undefined && systemCode(error) !== undefined) return 'Unreachable';
  if (status === 403) return 'AccessDenied';
  return status === undefined ? 'Unreachable' : 'RequestRefused';
}

function hintOf(code: OciErrorCode, action: string): { readonly hint?: string } {
  if (code === 'AccessDenied' && action === 'sts:AssumeRoleWithWebIdentity') {
    return {
      hint: 'The trust policy of the role must allow sts:AssumeRoleWithWebIdentity to the OIDC issuer of this cluster, for this namespace and service account.',
    };
  }
  if (code === 'AccessDenied') return { hint: `Allow ${action} in an IAM policy of this identity.` };
  if (code === 'AuthenticationFailed' && action === 'sts:AssumeRoleWithWebIdentity') {
    return {
      hint: "Check that IAM has an OIDC provider for the issuer of this cluster, with the token's audience (sts.amazonaws.com) as a client id, and the clock of this machine.",
    };
  }
  if (code === 'AuthenticationFailed') {
    return { hint: 'Check the keys or token, and the clock of this machine.' };
  }
  if (code === 'Unreachable') {
    return {
      hint: 'Check the network, HTTPS_PROXY, and the VPC endpoints for ECR and STS if there are any.',
    };
  }
  return {};
}

function statusOf(error: unknown): number | undefined {
  if (!isRecord(error) || !isRecord(error['$metadata'])) return undefined;
  const status = error['$metadata']['httpStatusCode'];
  return typeof status === 'number' ? status : undefined;
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : '';
  return text.slice(0, 500).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
