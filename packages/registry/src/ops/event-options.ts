import { isLoopbackHost } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { EVENT_ACTIONS, type EventAction } from './events.ts';

/** Somewhere that events are sent to. */
export interface EventEndpoint {
  /** Names it in metrics and the log, where its URL never stands. */
  readonly name: string;
  /** Takes POST requests with distribution's notifications. */
  readonly url: string;
  /** Sent with each request, such as `Authorization`; needs https, or a loopback address. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Authorities of its certificate (PEM); those of the system unless given. */
  readonly ca?: string;
  /** How long one delivery may take, in milliseconds; 5 seconds unless told. */
  readonly timeoutMs?: number;
  /** What it is told of: `push`, `delete` and `mount` unless told. */
  readonly actions?: readonly EventAction[];
  /** Patterns of repositories, as in policies; all unless told. */
  readonly repositories?: readonly string[];
  /** Whether it is told of blobs too; of manifests and tags alone unless told. */
  readonly blobs?: boolean;
  /** How many events wait at most, 10,000 unless told; then the oldest are lost. */
  readonly queue?: number;
}

/** Which events are sent where. */
export interface EventOptions {
  readonly endpoints?: readonly EventEndpoint[];
}

const MAX_ENDPOINTS = 20;
const MAX_QUEUE = 1_000_000;
const MAX_TIMEOUT_MS = 300_000;
const OWN_HEADERS =
  /^(?:content-(?:type|length|encoding)|host|connection|transfer-encoding|expect|te|upgrade)$/i;

/**
 * Checks endpoints that may come from a file.
 *
 * @throws RegistrySetupError `EventsInvalid`; its fact `at` says where, as in `endpoints[0].url`
 */
export function checkEvents({ endpoints = [] }: EventOptions = {}): void {
  if (endpoints.length > MAX_ENDPOINTS) throw invalid('endpoints', `has more than ${MAX_ENDPOINTS}`);
  for (const [index, endpoint] of endpoints.entries()) {
    const at = `endpoints[${index}]`;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(endpoint.name)) {
      throw invalid(`${at}.name`, 'must be letters, digits, dots, dashes and underscores');
    }
    if (endpoints.findIndex(({ name }) => name === endpoint.name) !== index) {
      throw invalid(`${at}.name`, `${endpoint.name} is there twice`);
    }
    checkUrl(endpoint, at);
    checkHeaders(endpoint, at);
    checkNumbers(endpoint, at);
    checkChoice(endpoint, at);
  }
}

/** What is wrong with a URL is said without it, since it may hold a secret. */
function checkUrl({ url: text, headers = {} }: EventEndpoint, at: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw invalid(`${at}.url`, 'must be an https or http URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw invalid(`${at}.url`, 'must hold no user and password: give the header Authorization');
  }
  if (url.protocol === 'http:' && Object.keys(headers).length > 0 && !isLoopbackHost(url.hostname)) {
    throw invalid(`${at}.url`, 'must be https where headers are given: they would travel in clear');
  }
}

function checkHeaders({ headers = {} }: EventEndpoint, at: string): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/.test(name) || OWN_HEADERS.test(name)) {
      throw invalid(`${at}.headers`, `${name.slice(0, 40)} is no header that can be given`);
    }
    if (!/^[\x20-\x7e]{0,4096}$/.test(value)) {
      throw invalid(`${at}.headers`, `the value of ${name} must be one line of plain text`);
    }
  }
}

function checkNumbers({ timeoutMs = 1, queue = 1 }: EventEndpoint, at: string): void {
  if (!(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw invalid(`${at}.timeout`, `must be more than 0 and at most ${MAX_TIMEOUT_MS / 1000}s`);
  }
  if (!Number.isInteger(queue) || queue < 1 || queue > MAX_QUEUE) {
    throw invalid(`${at}.queue`, `must be a whole number from 1 to ${MAX_QUEUE}`);
  }
}

function checkChoice({ actions, repositories }: EventEndpoint, at: string): void {
  if (actions?.length === 0) throw invalid(`${at}.actions`, 'must name an action');
  const unknown = actions?.find((action) => !EVENT_ACTIONS.includes(action));
  if (unknown !== undefined) {
    throw invalid(`${at}.actions`, `must be of ${EVENT_ACTIONS.join(', ')}`);
  }
  if (repositories?.length === 0) throw invalid(`${at}.repositories`, 'must name a pattern');
}

function invalid(at: string, message: string): RegistrySetupError {
  return new RegistrySetupError('EventsInvalid', `${at} ${message}.`, { facts: { at } });
}
