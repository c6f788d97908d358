import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Clock, Logger } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { BACKUP_DATABASES } from '../maintenance/backup.ts';
import { Snapshot } from '../maintenance/snapshot.ts';
import { type Exchange, send, sendHead, sendJson } from '../http/exchange.ts';
import { requireDigest } from '../http/request.ts';
import { sendFile } from '../http/send-file.ts';
import { fieldsOf, unknown } from './request.ts';

const MAX_BACKUPS = 2;
const IDLE_MS = 10 * 60_000;

interface Backup {
  readonly snapshot: Snapshot;
  touch(): void;
}

/** Backups that are taken over the wire, file by file. */
export class Backups {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #backups = new Map<string, Backup>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Lets go of the backups that nobody finished. */
  async close(): Promise<void> {
    for (const id of [...this.#backups.keys()]) await this.#release(id);
  }

  /** `POST backups`: begins one. @throws RegistryError `TooManyRequests` */
  async begin(exchange: Exchange): Promise<void> {
    await fieldsOf(exchange, {});
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
      cancel = this.#clock.timer(IDLE_MS, () => void this.#release(id));
    };
    touch();
    this.#backups.set(id, { snapshot, touch });
    sendJson(exchange.response, 201, { id });
  }

  /**
   * What is below `backups/`: `DELETE ID` ends one, `GET ID/databases/NAME` and `GET ID/blobs/DIGEST`
   * read its files.
   *
   * @throws RegistryError `RouteUnknown`, `DigestInvalid`
   */
  async answer(exchange: Exchange, [id = '', kind, name, ...rest]: readonly string[]): Promise<void> {
    const backup = rest.length > 0 ? undefined : this.#backups.get(id);
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
