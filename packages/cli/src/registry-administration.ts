import { type IncomingMessage, request as httpRequest, Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { errorMessage, isLoopbackHost, isRecord, systemCode } from '@mural/core';
import type { Credential } from '@mural/oci';
import type { BackupSource } from '@mural/registry';
import { CliError } from './errors.ts';

/** How to reach the administration of a registry that runs. */
export interface AdministrationOptions {
  /** `https://host:port`. */
  readonly url: string;
  readonly credential: Credential | undefined;
  /** PEM of a CA that is trusted beside those of the system. */
  readonly ca: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

const PATH = '/_mural/registry/v1/';
/** A registry that works on something says so every 15 seconds. */
const SILENCE_MS = 60_000;
const MAX_ANSWER = 64 * 1024 * 1024;
const MAX_PAGES = 1000;

/** The administration of a registry that runs. */
export class RegistryAdministration {
  readonly #base: URL;
  readonly #headers: Record<string, string>;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #signal: AbortSignal;

  /** @throws CliError `Usage` for something that is no URL of a registry, or plain HTTP to another machine */
  constructor({ url, credential, ca, env, signal }: AdministrationOptions) {
    this.#base = baseOf(url);
    this.#signal = signal;
    this.#headers = credential === undefined ? {} : { authorization: basic(credential) };
    const settings = { keepAlive: true, proxyEnv: env };
    this.#agent =
      this.#base.protocol === 'http:'
        ? new HttpAgent(settings)
        : new HttpsAgent({ ...settings, ...(ca === undefined ? {} : { ca }) });
  }

  async get(path: string): Promise<unknown> {
    return await this.#json(await this.#send('GET', path), isLease(path));
  }

  async post(path: string, body: object): Promise<unknown> {
    return await this.#json(await this.#send('POST', path, JSON.stringify(body)));
  }

  async put(path: string, body: object): Promise<unknown> {
    return await this.#json(await this.#send('PUT', path, JSON.stringify(body)), isLease(path));
  }

  /** @returns undefined where there is nothing to say */
  async delete(path: string): Promise<unknown> {
    const answer = await this.#send('DELETE', path);
    if (answer.statusCode !== 204) return await this.#json(answer, isLease(path));
    answer.resume();
    return undefined;
  }

  /** The entries of a list, all its pages together. */
  async list(name: string, parameters: Readonly<Record<string, string>> = {}): Promise<unknown[]> {
    const all: unknown[] = [];
    for (let last: string | undefined, page = 0; page < MAX_PAGES; page += 1) {
      const query = new URLSearchParams({ ...parameters, ...(last === undefined ? {} : { last }) });
      const answer = await this.get(query.size === 0 ? name : `${name}?${query.toString()}`);
      if (!isRecord(answer) || !Array.isArray(answer[name])) throw this.#strange();
      all.push(...(answer[name] as unknown[]));
      if (typeof answer['next'] !== 'string') break;
      last = answer['next'];
    }
    return all;
  }

  /** Begins a backup, gives it to `work`, and lets go of it. */
  async withBackup<T>(work: (source: BackupSource) => Promise<T>): Promise<T> {
    const begun = await this.post('backups', {});
    const id = isRecord(begun) ? String(begun['id']) : '';
    const source: BackupSource = {
      copyDatabase: async (name, path) => {
        const body = await this.#find(`backups/${id}/databases/${name}`);
        if (body === undefined) return false;
        await pipeline(body, createWriteStream(path, { mode: 0o600 }));
        return true;
      },
      openBlob: async (digest) => await this.#find(`backups/${id}/blobs/${digest}`),
    };
    try {
      return await work(source);
    } finally {
      // The registry lets go of it by itself when nobody comes back.
      await this.#send('DELETE', `backups/${id}`).then(
        (answer) => answer.resume(),
        () => undefined,
      );
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #find(path: string): Promise<Readable | undefined> {
    const answer = await this.#send('GET', path);
    if (answer.statusCode === 200) return answer;
    if (answer.statusCode !== 404) throw refused(this.#base, answer, await textOf(answer));
    answer.resume();
    return undefined;
  }

  async #json(answer: IncomingMessage, lease = false): Promise<unknown> {
    const text = await textOf(answer);
    const { statusCode = 0 } = answer;
    if (statusCode < 200 || statusCode > 299) throw refused(this.#base, answer, text, lease);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#strange();
    }
    if (isRecord(value) && isRecord(value['error'])) {
      throw new CliError('RegistryRefused', String(value['error']['message']));
    }
    return isRecord(value) && 'result' in value ? value['result'] : value;
  }

  #strange(): CliError {
    return new CliError('RegistryRefused', `${this.#base.origin} does not answer as a mural registry does`);
  }

  async #send(method: string, path: string, body?: string): Promise<IncomingMessage> {
    const send = this.#base.protocol === 'http:' ? httpRequest : httpsRequest;
    const json = body === undefined ? {} : { 'content-type': 'application/json' };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = send(
      new URL(PATH + path, this.#base),
      {
        method,
        agent: this.#agent,
        signal: this.#signal,
        timeout: SILENCE_MS,
        headers: { ...this.#headers, ...json },
      },
      resolve,
    );
    request.once('timeout', () => request.destroy(new Error('the registry has fallen silent')));
    request.once('error', reject);
    request.end(body);
    try {
      return await promise;
    } catch (error) {
      if (/CERT|SIGNED|ISSUER/.test(systemCode(error) ?? '')) {
        throw new CliError('CertificateUntrusted', `the certificate of ${this.#base.host} is not trusted`, {
          hint: 'name the CA that signed it with --ca',
          cause: error,
        });
      }
      throw new CliError('RegistryRefused', `cannot reach ${this.#base.origin}: ${errorMessage(error)}`, {
        cause: error,
      });
    }
  }
}

function baseOf(text: string): URL {
  const hint = 'write https://host:port';
  if (!URL.canParse(text)) throw new CliError('Usage', `--registry ${text} is not a URL`, { hint });
  const url = new URL(text);
  if (!['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.pathname !== '/') {
    throw new CliError('Usage', '--registry must be a URL of a registry and nothing more', { hint });
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:' && !isLoopbackHost(host)) {
    throw new CliError('Usage', `plain HTTP to ${host} would show the password to everybody between`, {
      hint,
    });
  }
  return url;
}

function basic({ username, password }: Credential): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER) throw new CliError('RegistryRefused', 'the answer of the registry is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function isLease(path: string): boolean {
  return /^leases\b/.test(path);
}

/** @param lease whether it was about leases, for which an account needs less */
function refused(base: URL, answer: IncomingMessage, text: string, lease = false): CliError {
  const status = answer.statusCode ?? 0;
  if (status === 401) {
    return new CliError('RegistryRefused', `${base.host} wants credentials, or others than these`, {
      hint: 'give --creds user:password, or sign in as docker does (docker login)',
    });
  }
  const said = messageIn(text);
  if (status === 403 && lease) {
    const hint = 'the account must be allowed to read the repository, and has only its own leases';
    const denied = `${base.host} denies this: ${said}`;
    return new CliError('RegistryRefused', denied, /already/.test(said) ? {} : { hint });
  }
  if (status === 403) {
    return new CliError('RegistryRefused', `${base.host} denies this: the account may not do everything`, {
      hint: 'use an account whose policy allows all actions on **',
    });
  }
  return new CliError('RegistryRefused', `${base.host} answered ${status}${said === '' ? '' : `: ${said}`}`);
}

function messageIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    const first =
      isRecord(value) && Array.isArray(value['errors']) ? (value['errors'] as unknown[])[0] : undefined;
    return isRecord(first) && typeof first['message'] === 'string' ? first['message'] : '';
  } catch {
    return '';
  }
}
