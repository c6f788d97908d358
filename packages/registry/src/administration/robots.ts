import { isRecord, type Logger } from '@mural/core';
import type { RegistryPolicy } from '../auth/policy.ts';
import { robotDocument, type RobotAccounts, type RobotSecret } from '../auth/robots.ts';
import { RegistryError, RegistrySetupError } from '../errors.ts';
import { type Exchange, send, sendJson } from '../http/exchange.ts';
import { durationOf, endOf, fieldsOf, invalid, pageSizeOf, parametersOf, unknown } from './request.ts';

/** Bytes of a body with policies. */
const MAX_BODY = 64 * 1024;
const MAX_ACTION = 32;
const FIELDS = {
  name: 'string',
  policies: 'array',
  description: 'string',
  expiresIn: 'string',
  expiresAt: 'string',
} as const;
const MAX_OVERLAP_MS = 366 * 24 * 3_600_000;
const DEFAULT_OVERLAP_MS = 3_600_000;

/**
 * Robot accounts over the wire, for administrators: `GET` and `POST` of `robots`, `POST` of
 * `robots/NAME/secrets`, `DELETE` of `robots/NAME`.
 *
 * A secret is in the answer to the request that made it and nowhere else. What was changed holds for the
 * next request, on connections that are open already too.
 */
export class RobotEndpoints {
  readonly #robots: RobotAccounts;
  readonly #log: Logger;

  constructor(robots: RobotAccounts, log: Logger) {
    this.#robots = robots;
    this.#log = log;
  }

  /**
   * Answers one request of an administrator.
   *
   * @param rest what follows `robots` in the path
   * @throws RegistryError `AdministrationInvalid`, `RobotUnknown`, `RouteUnknown`, `PaginationInvalid`
   */
  async answer(exchange: Exchange, rest: readonly string[]): Promise<void> {
    const [name = '', below, ...more] = rest;
    const { method } = exchange.request;
    try {
      if (rest.length === 0 && method === 'GET') this.#list(exchange);
      else if (rest.length === 0 && method === 'POST') await this.#create(exchange);
      else if (rest.length === 1 && method === 'DELETE') this.#remove(exchange, name);
      else if (below === 'secrets' && more.length === 0 && method === 'POST')
        await this.#rotate(exchange, name);
      else throw unknown();
    } catch (error) {
      throw answerTo(error);
    }
  }

  /** `GET robots?n=&last=`: by name, with `next` where there are more. */
  #list({ query, response }: Exchange): void {
    const { n, last = '' } = parametersOf(query, ['n', 'last']);
    const limit = pageSizeOf(n);
    const all = this.#robots.list().filter(({ name }) => name > last);
    const robots = all.slice(0, limit).map(robotDocument);
    const next = all.length > limit ? { next: robots.at(-1)?.name } : {};
    sendJson(response, 200, { robots, ...next });
  }

  /** `POST robots` with `name`, `policies`, and `description`, `expiresIn` or `expiresAt` if need be. */
  async #create(exchange: Exchange): Promise<void> {
    const body = await fieldsOf(exchange, FIELDS, MAX_BODY);
    const { name, description, expiresIn, expiresAt } = body as Partial<Record<string, string>>;
    const ends = expiresIn !== undefined || expiresAt !== undefined;
    const created = this.#robots.create({
      name: name ?? '',
      policies: policiesOf(body['policies']),
      ...(description === undefined ? {} : { description }),
      ...(ends ? { expiresAt: endOf(body, ['expiresIn', 'expiresAt'], exchange.now()) } : {}),
    });
    this.#tell(exchange, created.robot.name, 'a robot was made');
    sendSecret(exchange, created);
  }

  /** `POST robots/NAME/secrets`, with `overlap` for how long the secret until now stays good. */
  async #rotate(exchange: Exchange, name: string): Promise<void> {
    const { overlap } = await fieldsOf(exchange, { overlap: 'string' });
    const overlapMs = overlap === undefined ? DEFAULT_OVERLAP_MS : durationOf(overlap, 'overlap');
    if (overlapMs > MAX_OVERLAP_MS) throw invalid('overlap may be 8784h at most');
    const rotated = this.#robots.rotate(name, overlapMs);
    this.#tell(exchange, name, 'a robot was given another secret');
    sendSecret(exchange, rotated);
  }

  #remove(exchange: Exchange, name: string): void {
    this.#robots.remove(name);
    this.#tell(exchange, name, 'a robot was removed');
    send(exchange.response, 204, {});
  }

  #tell({ caller }: Exchange, robot: string, what: string): void {
    this.#log.info({ robot, by: caller.name }, what);
  }
}

/** No cache on the way may keep a secret. */
function sendSecret({ response }: Exchange, { robot, secret }: RobotSecret): void {
  sendJson(response, 201, { ...robotDocument(robot), secret }, { 'cache-control': 'no-store' });
}

/** The policies as they stand in a body; what they say is the accounts' to check. */
function policiesOf(given: unknown): RegistryPolicy[] {
  const right = 'policies must be a list such as [{"repositories":"team/**","actions":["read"]}]';
  if (!Array.isArray(given) || given.length === 0) throw invalid(right);
  return given.map((policy: unknown) => {
    if (!isRecord(policy) || Object.keys(policy).length !== 2) throw invalid(right);
    const { repositories, actions } = policy;
    const fits =
      Array.isArray(actions) && actions.every((one) => typeof one === 'string' && one.length <= MAX_ACTION);
    if (typeof repositories !== 'string' || !fits) throw invalid(right);
    return { repositories, actions: actions as RegistryPolicy['actions'] };
  });
}

/** What an error of the accounts is to a client. */
function answerTo(error: unknown): unknown {
  if (!(error instanceof RegistrySetupError)) return error;
  const said = error.hint === undefined ? error.message : `${error.message} ${error.hint}`;
  if (error.code === 'RobotUnknown') return new RegistryError('RobotUnknown', said);
  const mistake = error.code === 'RobotInvalid' || error.code === 'PolicyInvalid';
  return mistake ? new RegistryError('AdministrationInvalid', said) : error;
}
