import { type Answer, describe, type Registry } from './registry.ts';

/** How binding a requirement is. `MAY`: optional, but done right where it is done at all. */
export type Level = 'MUST' | 'SHOULD' | 'MAY';

/** One requirement and how to find out whether a registry meets it. */
export interface Case {
  /** Unique: what the report calls it. */
  readonly id: string;
  readonly level: Level;
  /** Where the requirement is written: an end point or a heading of distribution-spec, or an RFC. */
  readonly source: string;
  /** Throws when the registry does not meet it. */
  readonly run: (registry: Registry) => Promise<void>;
}

type Run = Case['run'];
/** Makes a case of what is required. */
export type Define = (source: string, requirement: string, run: Run) => Case;

function define(level: Level): Define {
  return (source, requirement, run) => ({ id: `${source}: ${requirement}`, level, source, run });
}

export const must = define('MUST');
export const should = define('SHOULD');
export const may = define('MAY');

/** What a registry does otherwise than it is required. */
export class Nonconformance extends Error {}

/** @throws Nonconformance unless `condition` holds */
export function require(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Nonconformance(message);
}

/** @throws Nonconformance unless the status is one of these */
export function requireStatus(answer: Answer, ...allowed: readonly number[]): void {
  require(allowed.includes(answer.status), `${describe(answer)}; ${allowed.join(' or ')} is right`);
}

/** @throws Nonconformance unless the header has exactly this value */
export function requireHeader(answer: Answer, name: string, value: string): void {
  const actual = answer.headers[name];
  require(actual === value, `${answer.request}: ${name} is ${String(actual)}, not ${value}`);
}

/** @throws Nonconformance unless the body is exactly this */
export function requireBytes(answer: Answer, bytes: Buffer): void {
  require(answer.body.equals(bytes), `${answer.request}: ${answer.body.length} bytes that were not pushed`);
}

/** The `Location` of an answer. @throws Nonconformance where there is none */
export function locationOf(answer: Answer): string {
  const { location } = answer.headers;
  require(location !== undefined && location !== '', `${describe(answer)}; without a Location`);
  return location;
}

const CODES = /^[A-Z_]+$/;

/**
 * Checks the body of an error: in the format of the specification where it is JSON.
 *
 * @param code one of the errors must have it
 */
export function requireError(answer: Answer, code: string): void {
  const errors = errorsOf(answer);
  require(errors.some((error) => error.code === code), `${describe(answer)}; without the code ${code}`);
}

/** The errors in a body. @throws Nonconformance for a body that is no error of the specification */
export function errorsOf(answer: Answer): readonly { readonly code: string }[] {
  const { errors } = jsonOf(answer) as { errors?: unknown };
  require(Array.isArray(errors) && errors.length > 0, `${describe(answer)}; without errors`);
  for (const error of errors as { code?: unknown }[]) {
    require(typeof error.code === 'string' && CODES.test(error.code), `${describe(answer)}; a code is wrong`);
  }
  return errors as { code: string }[];
}

/** The body as JSON. @throws Nonconformance where it is none */
export function jsonOf(answer: Answer): unknown {
  try {
    return JSON.parse(answer.body.toString());
  } catch {
    throw new Nonconformance(`${describe(answer)}; not JSON`);
  }
}

/** The target of a `Link` with `rel="next"`; undefined where there is none. */
export function nextOf(answer: Answer): string | undefined {
  const { link } = answer.headers;
  const text = Array.isArray(link) ? link.join(', ') : link;
  if (text === undefined) return undefined;
  const match = /<([^>]*)>\s*;\s*rel="?next"?/.exec(text);
  require(match?.[1] !== undefined, `${answer.request}: Link is ${text}`);
  return new URL(match[1], `http://registry${answer.request.split(' ')[1] ?? ''}`).href;
}
