import { cloudCredentials } from '../cloud/credentials.ts';
import { RegistryClient } from '../client.ts';
import { type CredentialProvider, staticCredentials } from '../credentials.ts';
import { OciError } from '../errors.ts';
import { parseRepositoryUrl } from '../reference.ts';
import { type Found, ofError, type PreflightCheck } from './check.ts';
import { placeInEcr, preflightEcr, type Reach } from './ecr.ts';
import { preflightGeneric } from './generic.ts';
import type { PreflightOptions } from './options.ts';

const CALL_MS = 20_000;

/**
 * Looks at one repository as the identity that will use it: who that is, whether it gets a token, whether
 * the repository is there, every permission of the role, and for a hub what else could stop it. Each
 * permission is tried with a request for what is not there, or with one that must be refused for its
 * content, so that nothing is left behind. Every call has a deadline.
 *
 * @returns one check after the other; what the registry or the cloud refuses is a check, not an error
 * @throws the reason of `signal` when that aborts; OciError `UrlInvalid`, `ReferenceInvalid`, `CertificateInvalid`
 */
export async function* preflight(options: PreflightOptions): AsyncGenerator<PreflightCheck, void, undefined> {
  const { registry: host, repository } = parseRepositoryUrl(options.url);
  const target = `${host}/${repository}`;
  let credentials: CredentialProvider;
  try {
    credentials = credentialsFor(options, host);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    yield { ...ofError('fail', 'provider', error), target };
    return;
  }
  const { insecure, ca, environment, clock } = options;
  const client = new RegistryClient({
    ...{ registry: host, credentials, insecure, ca, environment, clock },
    timeoutMs: CALL_MS,
  });
  try {
    for await (const found of checksOf(options, { host, repository, client, credentials })) {
      yield { ...found, target };
    }
  } finally {
    await client.close();
  }
}

function credentialsFor(options: PreflightOptions, registry: string): CredentialProvider {
  const { provider, credential, roleArn, environment, clock } = options;
  if (provider === 'generic') return staticCredentials(credential);
  return cloudCredentials({ provider, registry, roleArn, environment, clock });
}

function checksOf(options: PreflightOptions, reach: Reach): AsyncGenerator<Found, void, undefined> {
  const place = options.provider === 'aws' ? placeInEcr(reach.host, reach.repository) : undefined;
  return place === undefined ? preflightGeneric(options, reach) : preflightEcr(options, place, reach);
}
