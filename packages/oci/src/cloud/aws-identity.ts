import { readFile } from 'node:fs/promises';
import { errorMessage, type ProcessEnvironment } from '@mural/core';
import { OciError } from '../errors.ts';
import type { CloudContext } from './options.ts';
import { type AwsKeys, containerUri, set, sharedFiles } from './aws-environment.ts';

/** Where the keys come from. */
export type AwsIdentityKind = 'environment' | 'web-identity' | 'profile' | 'container' | 'instance-profile';

/** An identity that the environment offers. */
export interface AwsIdentity {
  readonly kind: AwsIdentityKind;
  /** For messages: "the role arn:… (web identity)". */
  readonly name: string;
  readonly role?: { readonly arn: string; readonly tokenFile: string; readonly session: string };
  /** The profile of the shared config; for `profile` alone. */
  readonly profile?: string;
}

const ROLE_ARN = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/;
const SESSION = /^[\w+=,.@-]{2,64}$/;
const MAX_TOKEN_FILE = 64 * 1024;
/** What makes a section of the shared config one that gives keys. */
const GIVES_KEYS =
  /^\s*(?:aws_access_key_id|role_arn|credential_process|credential_source|sso_session|sso_start_url|login_session)\s*=/m;

/**
 * Finds the identity that the environment offers, in the order of the AWS SDKs: `AWS_PROFILE`; keys in
 * variables; a web identity (IRSA); the shared config's default profile; a container's credentials (EKS
 * Pod Identity, ECS); the instance profile.
 *
 * @throws OciError `IdentityUnavailable` when there is none, or `roleArn` has no token to take it on with
 */
export async function findIdentity(context: CloudContext): Promise<AwsIdentity> {
  const { environment, roleArn } = context;
  if (roleArn !== undefined) return webIdentity(environment, roleArn);
  const profile = set(environment, 'AWS_PROFILE');
  if (profile !== undefined) return profileIdentity(profile);
  if (set(environment, 'AWS_ACCESS_KEY_ID') !== undefined) {
    return { kind: 'environment', name: 'the keys of AWS_ACCESS_KEY_ID' };
  }
  const webRole = set(environment, 'AWS_ROLE_ARN');
  if (webRole !== undefined && set(environment, 'AWS_WEB_IDENTITY_TOKEN_FILE') !== undefined) {
    return webIdentity(environment, webRole);
  }
  if (await hasDefaultProfile(environment)) return profileIdentity('default');
  if (containerUri(environment) !== undefined) {
    const pod = (set(environment, 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE') ?? '').includes(
      'eks-pod-identity',
    );
    return { kind: 'container', name: pod ? 'EKS Pod Identity' : 'the credentials of the container' };
  }
  if (/^true$/i.test(environment['AWS_EC2_METADATA_DISABLED'] ?? '')) {
    throw new OciError('IdentityUnavailable', 'there is no AWS identity to use', {
      hint: 'Set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE (IRSA), AWS_PROFILE or keys; AWS_EC2_METADATA_DISABLED rules out the instance profile.',
    });
  }
  return { kind: 'instance-profile', name: 'the instance profile' };
}

/**
 * The web identity token of a role: read each time, since it rotates.
 *
 * @throws OciError `IdentityUnavailable`
 */
export async function readWebToken(file: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new OciError(
      'IdentityUnavailable',
      `the web identity token cannot be read: ${errorMessage(cause)}`,
      {
        cause,
        hint: 'AWS_WEB_IDENTITY_TOKEN_FILE must name the token that Kubernetes projects into the pod.',
      },
    );
  }
  if (text === '' || text.length > MAX_TOKEN_FILE) {
    throw new OciError('IdentityUnavailable', `${file} holds no web identity token`);
  }
  return text;
}

function profileIdentity(profile: string): AwsIdentity {
  return { kind: 'profile', name: `the profile "${profile}" of the shared config`, profile };
}

function webIdentity(environment: ProcessEnvironment, arn: string): AwsIdentity {
  const tokenFile = set(environment, 'AWS_WEB_IDENTITY_TOKEN_FILE');
  if (!ROLE_ARN.test(arn)) {
    throw new OciError('IdentityUnavailable', `"${arn.slice(0, 200)}" is not the ARN of an IAM role`, {
      hint: 'Write arn:aws:iam::<account>:role/<name>.',
    });
  }
  if (tokenFile === undefined) {
    throw new OciError(
      'IdentityUnavailable',
      `the role ${arn} needs a web identity token, and AWS_WEB_IDENTITY_TOKEN_FILE is not set`,
      {
        hint: 'On EKS, annotate the service account with eks.amazonaws.com/role-arn and restart the pod.',
        facts: { role: arn },
      },
    );
  }
  const wanted = set(environment, 'AWS_ROLE_SESSION_NAME');
  const session = wanted !== undefined && SESSION.test(wanted) ? wanted : 'mural';
  return {
    kind: 'web-identity',
    name: `the role ${arn} (web identity)`,
    role: { arn, tokenFile, session },
  };
}

/**
 * The keys in the variables of the environment.
 *
 * @throws OciError `IdentityUnavailable`
 */
export function environmentKeys(environment: ProcessEnvironment): AwsKeys {
  const accessKeyId = set(environment, 'AWS_ACCESS_KEY_ID');
  const secretAccessKey = set(environment, 'AWS_SECRET_ACCESS_KEY');
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new OciError(
      'IdentityUnavailable',
      'AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: both are needed',
    );
  }
  return { accessKeyId, secretAccessKey, sessionToken: set(environment, 'AWS_SESSION_TOKEN') };
}

async function hasDefaultProfile(environment: ProcessEnvironment): Promise<boolean> {
  const { config, credentials } = sharedFiles(environment);
  const texts = await Promise.all(
    [config, credentials].map(async (file) => readFile(file, 'utf8').catch(() => '')),
  );
  return texts.some((text) => GIVES_KEYS.test(section(text, 'default')));
}

/** The lines of one section of an INI file. */
function section(text: string, name: string): string {
  let inside = false;
  return text
    .split(/\r?\n/)
    .filter((line) => {
      const header = /^\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]/.exec(line)?.[1];
      if (header === undefined) return inside;
      inside = header === name;
      return false;
    })
    .join('\n');
}
