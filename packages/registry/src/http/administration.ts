import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type Clock, isRecord, type Logger, MuralError } from '@mural/core';
import { ACTIONS } from '../auth/policy.ts';
import { RegistryError } from '../errors.ts';
import { BACKUP_DATABASES } from '../maintenance/backup.ts';
import type { RegistryMaintenance } from '../maintenance/maintenance.ts';
import { Snapshot } from '../maintenance/snapshot.ts';
import { isValidRepository } from '../names.ts';
import { type Exchange, readBody, refuse, send, sendHead, sendJson } from './exchange.ts';
import { requireDigest } from './request.ts';
import { sendFile } from './send-file.ts';

/** Where the administration of a running registry is. */
export const ADMINISTRATION_PATH = '/_mural/registry/v1/';

/** A name that no repository can have: what a refusal is about. */
const EVERYTHING = '_mural/registry/administration/of/every/repository';
const MAX_BODY = 4096;
const HEARTBEAT_MS = 15_000;
const MAX_BACKUPS = 2;
const BACKUP_IDLE_MS = 10 * 60_000;

interface Backup {
  readonly snapshot: Snapshot;
  touch(): void;
}

/**
 * What an administrator asks of a running registry: JSON over HTTP, for accounts that may do
 * everything with every repository.
 *
 * Work that takes long is answered with blanks until its result is there, so that a connection that
 * is gone is noticed, and the work ends with it.
 */
export class Administration {
  readonly #maintenance: RegistryMaintenance;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backups = new Map<string, Backup>();
  readonly #endpoints: Readonly<Record<string, (exchange: Exchange) => Promise<void>>> = {
    'GET stats': async ({ response }) => sendJson(response, 200, await this.#maintenance.stats()),
    'GET verify': (exchange) => this.#slowly(exchange, (signal) => this.#maintenance.verify({ signal })),
    'POST collections': (exchange) => this.#collect(exchange),
    'POST scrubs': (exchange) => this.#scrub(exchange),
    'POST backups': (exchange) => this.#beginBackup(exchange),
  };

  constructor(parts: { maintenance: RegistryMaintenance; clock: Clock; log: Logger }) {
    this.#maintenance = parts.maintenance;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /**
   * Answers one request.
   *
   * @param path what follows {@link ADMINISTRATION_PATH}
   * @throws UnauthorizedError
   * @throws RegistryError `Denied`, `RouteUnknown`, `MethodUnsupported`, `AdministrationInvalid`
   */
  async answer(exchange: Exchange, path: string): Promise<void> {
    const { caller, request } = exchange;
    if (!caller.administers) refuse(caller, EVERYTHING, ACTIONS);
    const [what = '', id, kind, name, ...rest] = path.split('/');
    if (id !== undefined) {
      if (what !== 'backups' || rest.length > 0) throw unknown();
      await this.#answerBackup(exchange, { id, kind, name });
      return;
    }
    const endpoint = this.#endpoints[`${request.method ?? ''} ${what}`];
    if (endpoint === undefined) throw unknown();
    await endpoint(exchange);
  }

  /** Lets go of the backups that nobody finished. */
  async close(): Promise<void> {
    for (const id of [...this.#backups.keys()]) await this.#release(id);
  }

  async #collect(exchange: Exchange): Promise<void> {
    const body = await bodyOf(exchange, { dryRun: 'boolean', repository: 'string' });
    const repository = body['repository'] as string | undefined;
    if (repository !== undefined && !isValidRepository(repository)) {
      throw new RegistryError('NameInvalid', 'This is not a valid repository name.');
    }
    const dryRun = body['dryRun'] === true;
    await this.#slowly(exchange, (signal) =>
      this.#maintenance.collect({ signal, dryRun, ...(repository === undefined ? {} : { repository }) }),
    );
  }

  async #scrub(exchange: Exchange): Promise<void> {
    const body = await bodyOf(exchange, { bytesPerSecond: 'number', restart: 'boolean' });
    const rate = body['bytesPerSecond'] as number | undefined;
    if (rate !== undefined && !(rate >= 1)) throw invalid('bytesPerSecond must be 1 or more');
    await this.#slowly(exchange, (signal) =>
      this.#maintenance.scrub({
        signal,
        restart: body['restart'] === true,
        ...(rate === undefined ? {} : { bytesPerSecond: rate }),
      }),
    );
  }

  async #beginBackup(exchange: Exchange): Promise<void> {
    await bodyOf(exchange, {});
    if (this.#backups.size >= MAX_BACKUPS) {
      throw new RegistryError('TooManyRequests', 'Other backups are running.', {
        headers: { 'retry-after': '60' },
      });
    }
    const snapshot = await Snapshot.take(exchange.store);
    const id = randomBytes(16).toString('hex');
    let cancel: () => void = () => undefined;
    const touch = (): void => {
      cancel();
      cancel = this.#clock.timer(BACKUP_IDLE_MS, () => void this.#release(id));
    };
    touch();
    this.#backups.set(id, { snapshot, touch });
    sendJson(exchange.response, 201, { id });
  }

  async #answerBackup(
    exchange: Exchange,
    { id, kind, name }: { id: string; kind: string | undefined; name: string | undefined },
  ): Promise<void> {
    const backup = this.#backups.get(id);
    if (backup === undefined) throw unknown();
    backup.touch();
    const { method } = exchange.request;
    if (method === 'DELETE' && kind === undefined) {
      await this.#release(id);
      send(exchange.response, 204, {});
    } else if (method === 'GET' && kind === 'databases') {
      const database = BACKUP_DATABASES.find((known) => known === name);
      await sendStored(exchange, database === undefined ? undefined : backup.snapshot.pathOf(database));
    } else if (method === 'GET' && kind === 'blobs') {
      await sendStored(exchange, exchange.store.files.pathOf(requireDigest(name ?? '')));
      backup.touch();
    } else throw unknown();
  }

  async #release(id: string): Promise<void> {
    const backup = this.#backups.get(id);
    this.#backups.delete(id);
    try {
      await backup?.snapshot.release();
    } catch (error) {
      this.#log.warn({ err: error }, 'what was kept for a backup could not be removed');
    }
  }

  async #slowly(exchange: Exchange, work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    const { response } = exchange;
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('The client is gone.')));
    sendHead(response, 200, { 'content-type': 'application/json' });
    let cancel: () => void = () => undefined;
    const beat = (): void => {
      response.write(' ');
      cancel = this.#clock.timer(HEARTBEAT_MS, beat);
    };
    beat();
    try {
      response.end(JSON.stringify({ result: await work(gone.signal) }));
    } catch (error) {
      if (!gone.signal.aborted) this.#log.error({ err: error }, 'administration failed');
      // The status is sent; the caller learns from the body.
      const message = error instanceof MuralError ? error.message : 'The registry could not do this.';
      response.end(JSON.stringify({ error: { message } }));
    } finally {
      cancel();
    }
  }
}

async function sendStored({ response }: Exchange, path: string | undefined): Promise<void> {
  if (path === undefined || !existsSync(path)) throw unknown();
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    sendHead(response, 200, { 'content-type': 'application/octet-stream', 'content-length': size });
    await sendFile(response, file, { start: 0, end: size - 1 });
  } finally {
    await file.close();
  }
}

/** A body must say that it is JSON, which no form of another site can. */
async function bodyOf(
  exchange: Exchange,
  fields: Readonly<Record<string, 'boolean' | 'number' | 'string'>>,
): Promise<Readonly<Record<string, unknown>>> {
  if (exchange.request.headers['content-type'] !== 'application/json') {
    throw invalid('the Content-Type must be application/json');
  }
  const bytes = await readBody(exchange, MAX_BODY);
  if (bytes === undefined) throw invalid(`the body may have ${MAX_BODY} bytes`);
  let body: unknown;
  try {
    body = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('the body is not JSON');
  }
  if (!isRecord(body)) throw invalid('the body is not an object');
  for (const [name, value] of Object.entries(body)) {
    if (!Object.hasOwn(fields, name)) throw invalid(`${name.slice(0, 40)} is not known`);
    if (typeof value !== fields[name]) throw invalid(`${name} must be a ${String(fields[name])}`);
  }
  return body;
}

function invalid(why: string): RegistryError {
  return new RegistryError('AdministrationInvalid', `The request cannot be used: ${why}.`);
}

function unknown(): RegistryError {
  return new RegistryError('RouteUnknown', 'The registry has nothing at this path.');
}
