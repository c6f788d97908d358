import type { Clock, Logger } from '@mural/core';
import { ACTIONS } from '../auth/policy.ts';
import type { RobotAccounts } from '../auth/robots.ts';
import type { RegistryMaintenance } from '../maintenance/maintenance.ts';
import { Backups } from '../administration/backups.ts';
import { answerLeases } from '../administration/leases.ts';
import { RobotEndpoints } from '../administration/robots.ts';
import { unknown } from '../administration/request.ts';
import { Work } from '../administration/work.ts';
import { type Exchange, refuse, sendJson } from './exchange.ts';

/** Where the administration of a running registry is. */
export const ADMINISTRATION_PATH = '/_mural/registry/v1/';

/** A name that no repository can have: what a refusal is about. */
const EVERYTHING = '_mural/registry/administration/of/every/repository';

/** What {@link Administration} works with. */
export interface AdministrationParts {
  readonly maintenance: RegistryMaintenance;
  readonly robots: RobotAccounts;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What an administrator asks of a running registry: JSON over HTTP, for accounts that may do
 * everything with every repository. Leases are for those as well who may read what they hold.
 */
export class Administration {
  readonly #backups: Backups;
  readonly #robots: RobotEndpoints;
  readonly #endpoints: Readonly<Record<string, (exchange: Exchange) => Promise<void>>>;

  constructor(parts: AdministrationParts) {
    const { maintenance } = parts;
    const work = new Work(parts);
    const backups = new Backups(parts.clock, parts.log);
    this.#backups = backups;
    this.#robots = new RobotEndpoints(parts.robots, parts.log);
    this.#endpoints = {
      'GET stats': async ({ response }) => sendJson(response, 200, await maintenance.stats()),
      'GET verify': (exchange) => work.verify(exchange),
      'POST collections': (exchange) => work.collect(exchange),
      'POST scrubs': (exchange) => work.scrub(exchange),
      'POST backups': (exchange) => backups.begin(exchange),
    };
  }

  /**
   * Answers one request.
   *
   * @param path what follows {@link ADMINISTRATION_PATH}
   * @throws UnauthorizedError
   * @throws RegistryError `Denied`, `RouteUnknown`, `AdministrationInvalid` and what the endpoint says
   */
  async answer(exchange: Exchange, path: string): Promise<void> {
    const { caller, request } = exchange;
    const [topic = '', ...rest] = path.split('/');
    if (topic === 'leases') {
      await answerLeases(exchange, rest);
      return;
    }
    if (!caller.administers) refuse(caller, EVERYTHING, ACTIONS);
    if (topic === 'robots') {
      await this.#robots.answer(exchange, rest);
      return;
    }
    if (rest.length > 0) {
      if (topic !== 'backups') throw unknown();
      await this.#backups.answer(exchange, rest);
      return;
    }
    const endpoint = this.#endpoints[`${request.method} ${topic}`];
    if (endpoint === undefined) throw unknown();
    await endpoint(exchange);
  }

  /** Lets go of what nobody finished. */
  async close(): Promise<void> {
    await this.#backups.close();
  }
}
