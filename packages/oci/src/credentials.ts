import { isRecord } from '@mural/core';

/** A user name and password, or token, for one registry. */
export interface Credential {
  readonly username: string;
  readonly password: string;
}

/** What a provider may want to know. */
export interface CredentialRequest {
  /** The credential that the registry has just refused: a cached copy of it should not be given again. */
  readonly rejected?: Credential;
  /** The host, with a port that is not the scheme's own, that the credential is about to be sent to. */
  readonly to?: string;
  /** Whether it is about to be sent over plain HTTP. */
  readonly insecure?: boolean;
}

/**
 * Gives the credential to use now, or `undefined` for anonymous access. It is asked often and is
 * expected to cache; how it does so is its own affair.
 */
export type CredentialProvider = (request?: CredentialRequest) => Promise<Credential | undefined>;

/** A provider that always gives the same. */
export function staticCredentials(credential: Credential | undefined): CredentialProvider {
  return async () => credential;
}

/** The value of an `Authorization` header (RFC 7617, UTF-8). */
export function basicHeader(credential: Credential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

/** The opposite of {@link basicHeader}; `undefined` for any other header. */
export function credentialOfHeader(value: string | undefined): Credential | undefined {
  if (value === undefined || !value.startsWith('Basic ')) return undefined;
  const text = Buffer.from(value.slice('Basic '.length), 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/**
 * Finds the credential for `registry` in a `config.json` of docker, which is also what a Secret of
 * type kubernetes.io/dockerconfigjson holds.
 *
 * A key may be the host alone or Docker's old form with scheme and path. Hosts are compared whole, with
 * their ports: a credential never goes to a host that merely looks like its own. Text that is not such
 * a document holds no credential.
 */
export function credentialsFromDockerConfig(json: string, registry: string): Credential | undefined {
  const auths = readAuths(json);
  const wanted = registry.toLowerCase();
  const exact = auths.find(([key]) => key.toLowerCase() === wanted);
  const found = exact ?? auths.find(([key]) => hostOf(key) === wanted);
  return found === undefined ? undefined : credentialOf(found[1]);
}

/** A credential and the registry that it is for. */
export interface RegistryLogin {
  /** `host` or `host:port`. */
  readonly host: string;
  readonly credential: Credential;
}

/** Writes a `config.json` of docker with one registry in it. */
export function dockerConfig(registry: string, credential: Credential): string {
  return dockerConfigOf([{ host: registry, credential }]);
}

/** Writes a `config.json` of docker; of those with the same host the first counts. */
export function dockerConfigOf(logins: readonly RegistryLogin[]): string {
  const auths = new Map<string, unknown>();
  for (const { host, credential } of logins) {
    const { username, password } = credential;
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    if (!auths.has(host)) auths.set(host, { username, password, auth });
  }
  return JSON.stringify({ auths: Object.fromEntries(auths) });
}

function readAuths(json: string): [string, unknown][] {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    return [];
  }
  if (!isRecord(document)) return [];
  const auths = 'auths' in document ? document['auths'] : document;
  return isRecord(auths) ? Object.entries(auths) : [];
}

function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//i, '').split('/', 1)[0] ?? '';
  return host.toLowerCase();
}

function credentialOf(entry: unknown): Credential | undefined {
  if (!isRecord(entry)) return undefined;
  const { username, password, auth } = entry;
  if (typeof username === 'string' && username !== '' && typeof password === 'string') {
    return { username, password };
  }
  if (typeof auth !== 'string' || auth === '') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // Docker's own reader drops trailing NUL characters from the password.
  const secret = text.slice(colon + 1).replace(/\u0000+$/, '');
  return colon <= 0 ? undefined : { username: text.slice(0, colon), password: secret };
}
