import { isIPv6 } from 'node:net';
import { readFile } from 'node:fs/promises';
import { Deadline, errorMessage, retry, systemCode } from '@mural/core';
import { request } from 'undici';
import { z } from 'zod';
import { OciError } from '../errors.ts';
import type { CloudContext } from './options.ts';
import { type AwsKeys, containerUri, set } from './aws-environment.ts';

const MAX_BODY = 64 * 1024;
/** Both services are on the machine itself: what takes longer is not there. */
const TRY_MS = 2000;
const ATTEMPTS = 3;
const SESSION_SECONDS = 300;
const CONTAINER_HOSTS: readonly string[] = ['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]', 'localhost'];

const Keys = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  Token: z.string().min(1).optional(),
});

interface Reply {
  readonly status: number;
  readonly text: string;
}

/**
 * The keys that EKS Pod Identity or ECS gives a container; the authorization token is read each time,
 * since it rotates.
 *
 * @throws OciError `IdentityUnavailable`
 */
export async function containerCredentials(context: CloudContext, signal: AbortSignal): Promise<AwsKeys> {
  const { environment } = context;
  const url = containerUrl(containerUri(environment) ?? '');
  const what = `the container's credential endpoint ${url.host}`;
  return await persistently(context, signal, async () => {
    const authorization = await containerToken(
      set(environment, 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'),
      set(environment, 'AWS_CONTAINER_AUTHORIZATION_TOKEN'),
    );
    const headers = { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) };
    const reply = await ask(context, 'GET', url, headers, signal).catch((error: unknown) => {
      throw unavailable(`${what} cannot be reached: ${errorMessage(error)}`, true, error);
    });
    if (reply.status !== 200) {
      const hint =
        'Is there a Pod Identity association for this service account, and does the role trust pods.eks.amazonaws.com?';
      throw unavailable(
        `${what} answered ${reply.status}${told(reply)}`,
        reply.status >= 500,
        undefined,
        hint,
      );
    }
    return readKeys(reply, what);
  });
}

/**
 * The keys of the instance profile, by IMDSv2 alone: a session token first, then the role, then its keys.
 *
 * @throws OciError `IdentityUnavailable`; it tells of the hop limit when no token comes
 */
export async function instanceCredentials(context: CloudContext, signal: AbortSignal): Promise<AwsKeys> {
  const endpoint = instanceEndpoint(context);
  const what = `the instance metadata service at ${endpoint.host}`;
  return await persistently(context, signal, async () => {
    const session = await sessionToken(context, endpoint, what, signal);
    const headers = { 'x-aws-ec2-metadata-token': session };
    const list = new URL('/latest/meta-data/iam/security-credentials/', endpoint);
    const roles = await read(context, list, headers, what, signal);
    if (roles.status === 404) throw noProfile();
    const role = roles.status === 200 ? roles.text.trim().split('\n', 1)[0] : undefined;
    if (role === undefined || !/^[\w+=,.@-]{1,64}$/.test(role)) {
      throw unavailable(
        `${what} answered ${roles.status} when asked for the instance's role`,
        roles.status >= 500,
      );
    }
    const keys = await read(context, new URL(role, list), headers, what, signal);
    if (keys.status !== 200) {
      throw unavailable(
        `${what} answered ${keys.status} for the role ${role}${told(keys)}`,
        keys.status >= 500,
      );
    }
    return readKeys(keys, `${what}, for the role ${role},`);
  });
}

async function sessionToken(
  context: CloudContext,
  endpoint: URL,
  what: string,
  signal: AbortSignal,
): Promise<string> {
  const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': String(SESSION_SECONDS) };
  const url = new URL('/latest/api/token', endpoint);
  const reply = await ask(context, 'PUT', url, headers, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw noAnswer(what, error);
  });
  if (reply.status === 403) {
    throw unavailable(`${what} is turned off (403)`, false, undefined, ENABLE_HINT);
  }
  if (reply.status !== 200 || !/^[\x21-\x7e]{1,1024}$/.test(reply.text)) {
    throw unavailable(
      `${what} answered ${reply.status} when asked for a session token`,
      reply.status >= 500 || reply.status === 429,
    );
  }
  return reply.text;
}

const HOP_HINT =
  'On EC2: aws ec2 modify-instance-metadata-options --instance-id <instance-id> --http-tokens required --http-put-response-hop-limit 2. Elsewhere, set keys, AWS_PROFILE, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE.';
const ENABLE_HINT =
  'Turn it on: aws ec2 modify-instance-metadata-options --instance-id <instance-id> --http-endpoint enabled --http-tokens required --http-put-response-hop-limit 2';

function noAnswer(what: string, cause: unknown): OciError {
  const gone = ['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH'].includes(systemCode(cause) ?? '');
  const message = gone
    ? `there is no AWS identity to use, and ${what} cannot be reached: ${errorMessage(cause)}`
    : `${what} did not answer the request for a session token (IMDSv2). ` +
      'In a container that means a hop limit of 1: the answer is dropped on its way into the container';
  return unavailable(message, true, cause, HOP_HINT);
}

function noProfile(): OciError {
  return unavailable('this instance has no instance profile', false, undefined, PROFILE_HINT);
}

const PROFILE_HINT =
  'Attach one: aws ec2 associate-iam-instance-profile --instance-id <instance-id> --iam-instance-profile Name=<profile>';

function instanceEndpoint({ environment }: CloudContext): URL {
  const mode = set(environment, 'AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE');
  const usual = /^ipv6$/i.test(mode ?? '') ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254';
  const text = set(environment, 'AWS_EC2_METADATA_SERVICE_ENDPOINT') ?? usual;
  const bracketed = isIPv6(text) ? `[${text}]` : text;
  const full = /^https?:\/\//.test(bracketed) ? bracketed : `http://${bracketed}`;
  if (!URL.canParse(full)) {
    throw unavailable('AWS_EC2_METADATA_SERVICE_ENDPOINT does not hold a URL', false);
  }
  return new URL(full);
}

/** https, or http to the machine itself: the rule of the SDKs, since a token is sent there. */
function containerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const host = url?.hostname ?? '';
  const near = CONTAINER_HOSTS.includes(host) || host === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(host);
  const sound = url?.protocol === 'https:' || (url?.protocol === 'http:' && near);
  if (url === undefined || !sound) {
    throw unavailable(
      'AWS_CONTAINER_CREDENTIALS_FULL_URI names a place that is not safe to use',
      false,
      undefined,
      'It must be https, or the address of EKS Pod Identity (169.254.170.23), ECS (169.254.170.2) or the loopback.',
    );
  }
  return url;
}

async function containerToken(
  file: string | undefined,
  value: string | undefined,
): Promise<string | undefined> {
  if (file === undefined) return value;
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw unavailable(`the token of the container cannot be read: ${errorMessage(cause)}`, true, cause);
  }
}

function readKeys(reply: Reply, what: string): AwsKeys {
  let document: unknown;
  try {
    document = JSON.parse(reply.text);
  } catch {
    document = undefined;
  }
  const keys = Keys.safeParse(document);
  if (!keys.success) throw unavailable(`${what} gave no keys${told(reply)}`, true);
  const { AccessKeyId, SecretAccessKey, Token } = keys.data;
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token };
}

const Refusal = z.object({ Code: z.string().optional(), Message: z.string().optional() });

/** What an answer says is wrong. Only these two fields are shown: another might be a key. */
function told({ text }: Reply): string {
  try {
    const { Code, Message } = Refusal.parse(JSON.parse(text));
    const words = [Code, Message].filter((word) => word !== undefined && word !== 'Success').join(': ');
    return words === '' ? '' : `: ${words.slice(0, 300).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')}`;
  } catch {
    return '';
  }
}

async function read(
  context: CloudContext,
  url: URL,
  headers: Readonly<Record<string, string>>,
  what: string,
  signal: AbortSignal,
): Promise<Reply> {
  return await ask(context, 'GET', url, headers, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw unavailable(`${what} stopped answering: ${errorMessage(error)}`, true, error);
  });
}

/** One request with its own short deadline; never through a proxy, no redirect followed. */
async function ask(
  { clock }: CloudContext,
  method: 'GET' | 'PUT',
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Reply> {
  const expired = (): Error => new Error(`no answer within ${TRY_MS} ms`);
  const deadline = new Deadline({ clock, ms: TRY_MS, signal, expired });
  try {
    const response = await request(url, { method, headers, signal: deadline.signal, reset: true });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY) throw new Error('the answer is too long');
      chunks.push(chunk);
    }
    return { status: response.statusCode, text: Buffer.concat(chunks).toString('utf8') };
  } finally {
    deadline.end();
  }
}

async function persistently<T>(
  { clock, random }: CloudContext,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  return await retry(action, {
    attempts: ATTEMPTS,
    baseMs: 200,
    capMs: 2000,
    clock,
    random,
    signal,
    shouldRetry: (error) => error instanceof OciError && error.retryable,
  });
}

function unavailable(message: string, retryable: boolean, cause?: unknown, hint?: string): OciError {
  return new OciError('IdentityUnavailable', message, {
    retryable,
    ...(cause === undefined ? {} : { cause }),
    ...(hint === undefined ? {} : { hint }),
  });
}
