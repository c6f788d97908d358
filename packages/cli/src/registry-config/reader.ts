import { dirname, resolve } from 'node:path';
import { errorMessage, isRecord, parseDuration } from '@mural/core';
import {
  type AccessOptions,
  checkAccess,
  type ClientCertificates,
  type EventEndpoint,
  type EventOptions,
  type OidcIssuer,
  type OidcRule,
  parseHtpasswd,
  RegistrySetupError,
  type RegistryUser,
  type TokenOptions,
} from '@mural/registry';
import { type Finding, formatFinding } from '@mural/values';
import type { z } from 'zod';
import { CliError } from '../errors.ts';
import { type ConfigDocument, type Path, readConfig } from './document.ts';
import { maintenanceOf } from './maintenance.ts';
import { mirrorsOf } from './mirrors.ts';
import { endpointOf, eventsOf, metricsOf } from './operations.ts';
import { type ConfigSource, EVERYTHING, type RegistryConfig } from './read.ts';
import { HubRegistryConfigFile, RegistryConfigFile } from './schema.ts';

const MAX_PASSWORD = 1024;

/**
 * Reads a configuration file and everything that it names, and checks all of it.
 *
 * @throws CliError `FileInvalid` once every finding was told, `FileUnreadable`, `Usage`
 */
export async function readConfigFile(source: ConfigSource, name: string): Promise<RegistryConfig> {
  const file = resolve(source.cwd, name);
  const schema: z.ZodType<RegistryConfigFile> =
    source.ofHub === true ? HubRegistryConfigFile : RegistryConfigFile;
  const document = readConfig(await source.read(file), name, schema);
  if ('findings' in document) throw invalid(source, document.findings);
  if (source.htpasswd !== undefined && document.value.htpasswd !== undefined) {
    throw new CliError('Usage', `--htpasswd is given, and ${name} names another`, {
      hint: 'leave one of them out',
    });
  }
  return await new Reader(source, file, document).read();
}

function invalid(source: ConfigSource, findings: readonly Finding[]): CliError {
  for (const finding of findings) source.tell(`${formatFinding(finding)}\n`);
  return new CliError('FileInvalid', `${source.file ?? ''} is not valid`);
}

type GivenUser = NonNullable<RegistryConfigFile['users']>[number];
type GivenRule = NonNullable<RegistryConfigFile['oidc']>[number]['rules'][number];

/** Without the keys whose value is undefined. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function ruleOf({ policies, subject, groups }: GivenRule): OidcRule {
  return { policies, ...defined({ subject, groups }) };
}

/** Resolves one configuration. */
class Reader {
  readonly #source: ConfigSource;
  readonly #folder: string;
  readonly #document: ConfigDocument<RegistryConfigFile>;
  readonly #findings: Finding[] = [];
  readonly #files: string[];

  constructor(source: ConfigSource, file: string, document: ConfigDocument<RegistryConfigFile>) {
    this.#source = source;
    this.#folder = dirname(file);
    this.#document = document;
    this.#files = [file];
  }

  async read(): Promise<RegistryConfig> {
    const { anonymous, tls } = this.#document.value;
    const users = await this.#users();
    const token = this.#token();
    const oidc = await this.#issuers();
    const clientCertificates = await this.#clients();
    const access: AccessOptions = defined({ users, anonymous, token, oidc, clientCertificates });
    if (anonymous !== undefined) this.#check(['anonymous'], { anonymous });
    if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined)) {
      this.#add(['tls'], 'certFile and keyFile go together');
    }
    const report = (path: Path, message: string): void => this.#add(path, message);
    const maintenance = maintenanceOf(this.#document.value.maintenance, report);
    const metrics = metricsOf(this.#document.value.metrics, report);
    const events = await this.#events(report);
    const mirrors = await mirrorsOf(this.#document.value.mirrors, {
      read: async (given, path) => this.#read(this.#path(given), path),
      again: async (given) => this.#source.read(resolve(this.#folder, given)),
      report,
    });
    if (this.#findings.length > 0) throw invalid(this.#source, this.#findings);
    return {
      access,
      ...{ maintenance, metrics, events, mirrors },
      namesUsers: users !== undefined,
      certFile: this.#path(tls?.certFile),
      keyFile: this.#path(tls?.keyFile),
      files: this.#files,
      errorAt: (path, message) => this.#document.error(path, message, 'hub'),
    };
  }

  #token(): TokenOptions | undefined {
    const given = this.#document.value.token;
    if (given === undefined) return undefined;
    const { service, realm, lifetime } = given;
    const lifetimeSeconds = lifetime === undefined ? undefined : parseDuration(lifetime) / 1000;
    const token = defined({ service, realm, lifetimeSeconds });
    this.#check(['token'], { token });
    return token;
  }

  async #users(): Promise<RegistryUser[] | undefined> {
    const { users, htpasswd } = this.#document.value;
    const passwords = await this.#htpasswd();
    if (users === undefined && passwords === undefined) return undefined;
    const found: RegistryUser[] = [];
    for (const [index, user] of (users ?? []).entries()) {
      if (found.some(({ name }) => name === user.name)) {
        this.#add(['users', index], `${user.name} is there twice`);
      }
      found.push(await this.#user(user, ['users', index], passwords?.get(user.name)));
      passwords?.delete(user.name);
    }
    const others = htpasswd?.policies ?? (users === undefined ? EVERYTHING : []);
    const rest = [...(passwords ?? [])].map(([name, hash]) => ({
      ...{ name, passwordHash: hash, policies: others },
    }));
    if (htpasswd !== undefined) this.#check(['htpasswd', 'policies'], { users: rest.slice(0, 1) });
    return [...found, ...rest];
  }

  /** @param listed the hash in the htpasswd file */
  async #user(given: GivenUser, path: Path, listed: string | undefined): Promise<RegistryUser> {
    const { name, policies, passwordFile } = given;
    const passwordHash = given.passwordHash ?? listed;
    const password =
      passwordFile === undefined ? undefined : await this.#secret(passwordFile, [...path, 'passwordFile']);
    const user: RegistryUser = { name, policies, ...defined({ passwordHash, password }) };
    const ways = [given.passwordHash, passwordFile, listed].filter((one) => one !== undefined).length;
    if (ways > 1) this.#add(path, `${name} has more than one password`);
    if (ways === 0) {
      this.#add(path, `${name} needs a passwordHash, a passwordFile or a line in the htpasswd file`);
    }
    if (ways === 1 && (passwordHash ?? password) !== undefined) this.#check(path, { users: [user] });
    return user;
  }

  /** Names and hashes of the htpasswd file; undefined without one. */
  async #htpasswd(): Promise<Map<string, string> | undefined> {
    const named = this.#document.value.htpasswd?.file;
    const flag = this.#source.htpasswd;
    if (named === undefined && flag === undefined) return undefined;
    const path = named === undefined ? resolve(this.#source.cwd, flag ?? '') : this.#path(named);
    const text = await this.#read(path ?? '', ['htpasswd', 'file']);
    try {
      const users = parseHtpasswd(text ?? '');
      return new Map(users.map(({ name, passwordHash = '' }) => [name, passwordHash]));
    } catch (error) {
      if (!(error instanceof RegistrySetupError)) throw error;
      const line = Number(error.facts['line'] ?? 1);
      const message = error.message.replace(/^htpasswd, line \d+: /, '');
      const file = named ?? flag ?? '';
      this.#findings.push({ file, line, column: 1, level: 'error', message, rule: 'htpasswd' });
      return new Map();
    }
  }

  async #issuers(): Promise<OidcIssuer[] | undefined> {
    const given = this.#document.value.oidc;
    if (given === undefined) return undefined;
    const issuers: OidcIssuer[] = [];
    for (const [index, each] of given.entries()) {
      const path: Path = ['oidc', index];
      const { name, issuer: url, audiences, rules, jwksFile, caFile, tokenFile, jwksUrl, ...rest } = each;
      const jwks = jwksFile === undefined ? undefined : await this.#json(jwksFile, [...path, 'jwksFile']);
      const ca = await this.#read(this.#path(caFile), [...path, 'caFile']);
      const issuer: OidcIssuer = {
        ...{ name, issuer: url, audiences, rules: rules.map((rule) => ruleOf(rule)) },
        ...defined({ ...rest, ca, jwksUri: jwksUrl, tokenFile: this.#path(tokenFile) }),
        // Whether they are keys is looked at with the rest of the issuer.
        ...(isRecord(jwks) ? { jwks: jwks as unknown as NonNullable<OidcIssuer['jwks']> } : {}),
      };
      if (jwksFile === undefined || isRecord(jwks)) this.#check(path, { oidc: [issuer] });
      issuers.push(issuer);
    }
    const names = issuers.map(({ name }) => name);
    const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
    if (twice >= 0) this.#add(['oidc', twice], 'the name is there twice');
    return issuers;
  }

  async #clients(): Promise<ClientCertificates | undefined> {
    const given = this.#document.value.tls?.clients;
    if (given === undefined) return undefined;
    const path: Path = ['tls', 'clients'];
    const ca = await this.#read(this.#path(given.caFile), [...path, 'caFile']);
    if (ca === undefined) return undefined;
    const rules = given.rules.map((rule) => defined(rule));
    const clients: ClientCertificates = { ca, required: given.required, rules };
    this.#check(path, { clientCertificates: clients });
    return clients;
  }

  async #events(report: (path: Path, message: string) => void): Promise<EventOptions> {
    const endpoints: EventEndpoint[] = [];
    for (const [index, given] of (this.#document.value.events?.endpoints ?? []).entries()) {
      const path: Path = ['events', 'endpoints', index];
      const ca = await this.#read(this.#path(given.caFile), [...path, 'caFile']);
      const headers: Record<string, string> = {};
      for (const [at, { name, value, valueFile }] of (given.headers ?? []).entries()) {
        const where: Path = [...path, 'headers', at];
        if ((value === undefined) === (valueFile === undefined)) {
          this.#add(where, `${name} needs a value or a valueFile, and not both`);
        }
        headers[name] = value ?? (await this.#secret(valueFile, [...where, 'valueFile'], 'the value')) ?? '';
      }
      endpoints.push(endpointOf(given, { headers, ca }));
    }
    return eventsOf(endpoints, report);
  }

  async #secret(file: string | undefined, path: Path, what = 'a password'): Promise<string | undefined> {
    if (file === undefined) return undefined;
    const text = (await this.#read(this.#path(file), path))?.replace(/\r?\n$/, '');
    if (text === undefined) return undefined;
    if (text !== '' && text.length <= MAX_PASSWORD && !/[\r\n]/.test(text)) return text;
    this.#add(path, `${file} must hold one line with ${what}`);
    return undefined;
  }

  async #json(file: string, path: Path): Promise<unknown> {
    const text = await this.#read(this.#path(file), path);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      this.#add(path, `${file} is not JSON`);
      return undefined;
    }
  }

  async #read(file: string | undefined, path: Path): Promise<string | undefined> {
    if (file === undefined) return undefined;
    this.#files.push(file);
    try {
      return await this.#source.read(file);
    } catch (error) {
      this.#add(path, errorMessage(error));
      return undefined;
    }
  }

  /** Has the registry say whether it could be started with a part of the configuration. */
  #check(path: Path, options: AccessOptions): void {
    try {
      checkAccess(options);
    } catch (error) {
      if (!(error instanceof RegistrySetupError)) throw error;
      this.#add(path, error.message.replace(/\.$/, ''));
    }
  }

  #add(path: Path, message: string): void {
    this.#findings.push(this.#document.error(path, message, 'access'));
  }

  /** Files are named as seen from the configuration. */
  #path(file: string | undefined): string | undefined {
    return file === undefined ? undefined : resolve(this.#folder, file);
  }
}
