import { type Clock, systemClock } from '@mural/core';
import { awsCallerIdentity, awsEcrClient, type AwsOptions } from '../cloud/credentials.ts';
import type { CallerIdentity, EcrClient } from '../cloud/aws-token.ts';
import { ecrApi, parseEcrHost } from '../cloud/hosts.ts';
import type { RegistryClient } from '../client.ts';
import type { CredentialProvider } from '../credentials.ts';
import { OciError } from '../errors.ts';
import { bad, type Found, ofError, ok, skip } from './check.ts';
import { EcrApiReader } from './ecr-api.ts';
import { createCommand, type EcrPlace, principalOf, repositoryPolicyCommand } from './ecr-fixes.ts';
import { denied, type EcrTarget, tryReads, tryWrites } from './ecr-permissions.ts';
import { checkSettings } from './ecr-repository.ts';
import { type PreflightOptions, pulls, pushes } from './options.ts';
import { refusalOf } from './trials.ts';

/** How the repository is reached. */
export interface Reach {
  readonly host: string;
  readonly repository: string;
  readonly client: RegistryClient;
  readonly credentials: CredentialProvider;
}

/** The place of a repository in ECR, or `undefined` for any other registry. */
export function placeInEcr(host: string, repository: string): EcrPlace | undefined {
  const ecr = parseEcrHost(host);
  const api = ecrApi(host);
  if (ecr === undefined || api === undefined) return undefined;
  // The alias of ECR Public is an address, and no part of the name.
  const name = ecr.kind === 'public' ? repository.slice(repository.indexOf('/') + 1) : repository;
  return { host, ecr, api, repository, name };
}

/** Everything that can be found out about a repository of ECR without leaving anything in it. */
export async function* preflightEcr(
  options: PreflightOptions,
  place: EcrPlace,
  reach: Reach,
): AsyncGenerator<Found, void, undefined> {
  const { environment, roleArn, signal } = options;
  const clock = options.clock ?? systemClock;
  const aws: AwsOptions = { registry: place.host, environment, roleArn, clock };
  const identity = await identify(aws, options, place);
  yield* identity.found;
  if (identity.stop) return;
  const target: EcrTarget = { options, place, client: reach.client, caller: identity.caller };
  const token = await tryToken(target, reach.credentials);
  yield token;
  if (token.status === 'fail') {
    yield skip('repository', 'not looked at: nothing can be asked without a token');
    return;
  }
  const ecr = await openClient(aws, signal);
  try {
    yield* await lookAt(target, ecr, clock);
  } finally {
    if (!(ecr instanceof OciError)) ecr.client.destroy();
  }
}

async function openClient(aws: AwsOptions, signal: AbortSignal | undefined): Promise<EcrClient | OciError> {
  try {
    return await awsEcrClient(aws, signal);
  } catch (error) {
    if (error instanceof OciError && signal?.aborted !== true) return error;
    throw error;
  }
}

async function lookAt(target: EcrTarget, ecr: EcrClient | OciError, clock: Clock): Promise<readonly Found[]> {
  const { options, place } = target;
  const api = ecr instanceof OciError ? undefined : new EcrApiReader(ecr, place, clock, options.signal);
  const availability = async () => (ecr instanceof OciError ? ecr : await api?.availability());
  const reads = await tryReads(target, availability);
  const exists = reads.exists === 'unknown' ? await existsByApi(api) : reads.exists;
  const found: Found[] = [existence(exists, place), ...reads.found];
  if (!pushes(options)) return found;
  if (exists === 'yes') found.push(...(await tryWrites(target)));
  else found.push(skip('push', `not tried: ${WHY_NOT[exists]}`));
  if (exists !== 'no' && api !== undefined) found.push(...(await checkSettings(api, place, options)));
  return found;
}

/** A creation template of the registry can make a repository with the first step of a push. */
const WHY_NOT = {
  no: 'a push to a repository that is not there could create it',
  unknown:
    'whether the repository exists must be known first, since a push to one that is not there could create it',
} as const;

async function existsByApi(api: EcrApiReader | undefined): Promise<'yes' | 'no' | 'unknown'> {
  try {
    await api?.mutability();
    return api === undefined ? 'unknown' : 'yes';
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    return error.code === 'NameUnknown' ? 'no' : 'unknown';
  }
}

function existence(exists: 'yes' | 'no' | 'unknown', place: EcrPlace): Found {
  const check = 'repository';
  if (exists === 'yes') return ok(check, `${place.name} exists`);
  if (exists === 'no') return bad('fail', check, `${place.name} does not exist`, createCommand(place));
  return bad('warn', check, `whether ${place.name} exists could not be told`);
}

interface Identified {
  readonly found: readonly Found[];
  readonly caller: CallerIdentity | undefined;
  readonly stop: boolean;
}

/** Without these nothing can be asked as anybody; STS that cannot be reached may not be needed. */
const NOBODY: readonly string[] = [
  'IdentityUnavailable',
  'AccessDenied',
  'AuthenticationFailed',
  'ProviderMismatch',
];

async function identify(aws: AwsOptions, options: PreflightOptions, place: EcrPlace): Promise<Identified> {
  const check = 'identity';
  let caller: CallerIdentity;
  try {
    caller = await awsCallerIdentity(aws, options.signal);
  } catch (error) {
    if (!(error instanceof OciError) || options.signal?.aborted === true) throw error;
    const stop = NOBODY.includes(error.code);
    return { found: [ofError(stop ? 'fail' : 'warn', check, error)], caller: undefined, stop };
  }
  const found: Found[] = [ok(check, `${caller.arn} in account ${caller.account}`)];
  const { expectedRole } = options;
  if (expectedRole !== undefined && principalOf(caller.arn) !== withoutPath(expectedRole)) {
    found.push(
      bad(
        'warn',
        check,
        `the values bind the service account to ${expectedRole}, and this is ${principalOf(caller.arn)}`,
        'run it where the service account is: its pod, or with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN as there',
      ),
    );
  }
  const { ecr } = place;
  if (ecr.kind === 'private' && ecr.account !== caller.account) {
    found.push(
      bad(
        'warn',
        check,
        `the registry is in account ${ecr.account}: besides the policy of this identity, a policy of the repository must allow it`,
        repositoryPolicyCommand(place, principalOf(caller.arn), crossAccountActions(options)),
      ),
    );
  }
  return { found, caller, stop: false };
}

/** The ARN of a session does not tell the path of its role. */
function withoutPath(roleArn: string): string {
  return roleArn.replace(/:role\/.*\//, ':role/');
}

const READS = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'];
const WRITES = [
  'BatchCheckLayerAvailability',
  'InitiateLayerUpload',
  'UploadLayerPart',
  'CompleteLayerUpload',
  'PutImage',
];

function crossAccountActions(options: PreflightOptions): readonly string[] {
  const writes = pushes(options) ? WRITES.map((name) => `ecr:${name}`) : [];
  return [...(pulls(options) ? READS : READS.slice(0, 1)), ...writes];
}

async function tryToken(target: EcrTarget, credentials: CredentialProvider): Promise<Found> {
  const { options, place } = target;
  const check = 'token';
  const refusal = await refusalOf(credentials({ to: place.host }), options.signal);
  if (refusal === undefined)
    return ok(check, `${place.api.service}:GetAuthorizationToken in ${place.api.region}`);
  const { action } = refusal.facts;
  if (refusal.code !== 'AccessDenied' || typeof action !== 'string') return ofError('fail', check, refusal);
  return denied(target, action, refusal.message);
}
