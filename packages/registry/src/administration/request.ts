import { isRecord, parseDuration } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { type Exchange, readBody } from '../http/exchange.ts';

/** Bytes that a body may have unless its endpoint says otherwise. */
const MAX_BODY = 4096;
const MAX_PAGE = 1000;
const MAX_TIME_TEXT = 64;
const LAST_TIME = Date.UTC(9999, 11, 31);

/** What a field of a body may be. */
export type FieldType = 'array' | 'boolean' | 'number' | 'string';

/**
 * The object in the body of a request. A body must say that it is JSON, which no form of another site
 * can.
 *
 * @param fields what it may have
 * @param limit bytes that it may have
 * @throws RegistryError `AdministrationInvalid`
 */
export async function fieldsOf(
  exchange: Exchange,
  fields: Readonly<Record<string, FieldType>>,
  limit: number = MAX_BODY,
): Promise<Readonly<Record<string, unknown>>> {
  if (exchange.request.headers['content-type'] !== 'application/json') {
    throw invalid('the Content-Type must be application/json');
  }
  const bytes = await readBody(exchange, limit);
  if (bytes === undefined) throw invalid(`the body may have ${limit} bytes`);
  let body: unknown;
  try {
    body = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('the body is not JSON');
  }
  if (!isRecord(body)) throw invalid('the body is not an object');
  for (const [name, value] of Object.entries(body)) {
    const type = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (type === undefined) throw invalid(`${name.slice(0, 40)} is not known`);
    const is = Array.isArray(value) ? 'array' : typeof value;
    if (is !== type) throw invalid(`${name} must be ${type === 'array' ? 'an' : 'a'} ${type}`);
  }
  return body;
}

/**
 * The parameters of a query, each at most once.
 *
 * @throws RegistryError `AdministrationInvalid`
 */
export function parametersOf<K extends string>(
  query: URLSearchParams,
  names: readonly K[],
): Readonly<Partial<Record<K, string>>> {
  const found: Partial<Record<K, string>> = {};
  for (const [given, value] of query) {
    const name = names.find((one) => one === given);
    if (name === undefined) throw invalid(`the parameter ${given.slice(0, 40)} is not known`);
    if (found[name] !== undefined) throw invalid(`the parameter ${name} stands there twice`);
    found[name] = value;
  }
  return found;
}

/** How many entries a page is to have. @throws RegistryError `PaginationInvalid` */
export function pageSizeOf(text: string | undefined): number {
  if (text === undefined) return MAX_PAGE;
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Math.min(Number(text), MAX_PAGE);
  throw new RegistryError('PaginationInvalid', 'The number of results must be a whole number above 0.');
}

/**
 * When something ends: after a duration as Go writes it, or at a time in RFC 3339.
 *
 * @param names what the duration and the time are called, of which one must be there
 * @returns milliseconds since the epoch, after `now`
 * @throws RegistryError `AdministrationInvalid`
 */
export function endOf(
  body: Readonly<Record<string, unknown>>,
  [duration, time]: readonly [string, string],
  now: number,
): number {
  const { [duration]: lasting, [time]: given } = body;
  if ((lasting === undefined) === (given === undefined)) {
    throw invalid(`there must be either ${duration} or ${time}`);
  }
  const end = lasting === undefined ? timeOf(given, time) : now + durationOf(lasting, duration);
  const which = lasting === undefined ? time : duration;
  if (!(end > now)) throw invalid(`${which} must be in the future`);
  if (end > LAST_TIME) throw invalid(`${which} must end before the year 10000`);
  return end;
}

/** Milliseconds of a duration as Go writes it. @throws RegistryError `AdministrationInvalid` */
export function durationOf(text: unknown, name: string): number {
  try {
    return parseDuration(String(text).slice(0, MAX_TIME_TEXT));
  } catch {
    throw invalid(`${name} must be a duration, such as 24h`);
  }
}

/** RFC 3339, 5.6. */
function timeOf(text: unknown, name: string): number {
  const fits = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.test(String(text));
  const time = fits ? Date.parse(String(text)) : Number.NaN;
  if (Number.isNaN(time)) throw invalid(`${name} must be a time, such as 2030-12-31T23:59:59Z`);
  return time;
}

/** The error for a request that cannot be used. */
export function invalid(why: string): RegistryError {
  return new RegistryError('AdministrationInvalid', `The request cannot be used: ${why}.`);
}

/** The error for a path that names nothing. */
export function unknown(): RegistryError {
  return new RegistryError('RouteUnknown', 'The registry has nothing at this path.');
}
