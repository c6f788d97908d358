import { isRecord } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { type Exchange, readBody } from '../http/exchange.ts';

/** Bytes that a body may have unless its endpoint says otherwise. */
const MAX_BODY = 4096;

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

/** The error for a request that cannot be used. */
export function invalid(why: string): RegistryError {
  return new RegistryError('AdministrationInvalid', `The request cannot be used: ${why}.`);
}

/** The error for a path that names nothing. */
export function unknown(): RegistryError {
  return new RegistryError('RouteUnknown', 'The registry has nothing at this path.');
}
