import type { OciError } from '../errors.ts';
import type { CredentialProvider } from '../credentials.ts';
import { bad, type Found, ofError, ok } from './check.ts';
import type { Reach } from './ecr.ts';
import { type PreflightOptions, pulls, pushes } from './options.ts';
import { refusalOf, unknownTag } from './trials.ts';

/** What can be found out of any registry: it answers, takes the credential, and lets read and push. */
export async function* preflightGeneric(
  options: PreflightOptions,
  reach: Reach,
): AsyncGenerator<Found, void, undefined> {
  const { client, repository, host } = reach;
  const { signal, provider } = options;
  if (provider !== 'generic') {
    const token = await tryToken(reach.credentials, options);
    yield token;
    if (token.status === 'fail') return;
  }
  const ping = await refusalOf(client.ping(signal), signal);
  const connected = ping === undefined || ping.facts['status'] !== undefined;
  if (!connected) {
    yield ofError('fail', 'connect', ping);
    return;
  }
  yield ok('connect', `${host} answers`);
  if (ping !== undefined && ['AuthenticationFailed', 'AccessDenied'].includes(ping.code)) {
    yield ofError('fail', 'authenticate', ping);
    return;
  }
  yield ping === undefined
    ? ok(
        'authenticate',
        options.credential === undefined && provider === 'generic'
          ? 'no credential is needed to ask'
          : 'the credential is taken',
      )
    : ofError('warn', 'authenticate', ping);
  if (pulls(options)) {
    const read = await refusalOf(client.getManifest(repository, unknownTag(), signal), signal);
    yield readOf(read);
  }
  if (!pushes(options)) return;
  const push = await refusalOf(client.probeUpload(repository, signal), signal);
  yield push === undefined
    ? ok('push', 'an upload could be begun; it was given up')
    : ofError(isUnclear(push) ? 'warn' : 'fail', 'push', push);
}

function readOf(error: OciError | undefined): Found {
  const check = 'pull';
  if (error === undefined || error.code === 'ManifestUnknown') return ok(check, 'manifests can be read');
  // Many registries make a repository with its first push.
  if (error.code === 'NameUnknown')
    return bad(
      'warn',
      check,
      'the repository is not there, or not yet',
      'create it, unless the registry does so with the first push',
    );
  return ofError(isUnclear(error) ? 'warn' : 'fail', check, error);
}

function isUnclear({ code }: OciError): boolean {
  return ['RateLimited', 'ServerError', 'TimedOut', 'RequestRefused'].includes(code);
}

async function tryToken(
  credentials: CredentialProvider,
  { signal, provider }: PreflightOptions,
): Promise<Found> {
  const refusal = await refusalOf(credentials(), signal);
  return refusal === undefined
    ? ok('token', `the identity in ${provider} gets one`)
    : ofError('fail', 'token', refusal);
}
