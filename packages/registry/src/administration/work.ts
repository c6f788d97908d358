import { type Clock, type Logger, MuralError } from '@mural/core';
import type { RegistryMaintenance } from '../maintenance/maintenance.ts';
import { type Exchange, sendHead } from '../http/exchange.ts';
import { requireRepository } from '../http/request.ts';
import { fieldsOf, invalid } from './request.ts';

const HEARTBEAT_MS = 15_000;

/**
 * Work on what is stored that takes long: it is answered with blanks until its result is there, so that
 * a connection that is gone is noticed, and the work ends with it.
 */
export class Work {
  readonly #maintenance: RegistryMaintenance;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(parts: { maintenance: RegistryMaintenance; clock: Clock; log: Logger }) {
    this.#maintenance = parts.maintenance;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** `POST collections`. @throws RegistryError `AdministrationInvalid`, `NameInvalid` */
  async collect(exchange: Exchange): Promise<void> {
    const body = await fieldsOf(exchange, { dryRun: 'boolean', repository: 'string' });
    const named = body['repository'] as string | undefined;
    const repository = named === undefined ? {} : { repository: requireRepository(named) };
    const dryRun = body['dryRun'] === true;
    await this.#slowly(exchange, (signal) => this.#maintenance.collect({ signal, dryRun, ...repository }));
  }

  /** `POST scrubs`. @throws RegistryError `AdministrationInvalid` */
  async scrub(exchange: Exchange): Promise<void> {
    const body = await fieldsOf(exchange, { bytesPerSecond: 'number', restart: 'boolean' });
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

  /** `GET verify`. */
  async verify(exchange: Exchange): Promise<void> {
    await this.#slowly(exchange, (signal) => this.#maintenance.verify({ signal }));
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
