import { randomBytes } from 'node:crypto';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';

/** Header that names a request, in a client's log as in ours. */
export const REQUEST_ID = 'x-request-id';

/** What a client may call its request: nothing that could break a line of a log or a header. */
const SANE = /^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}$/;
const ID = Symbol('request id');

type Named = HttpResponse & { [ID]?: string };

const prefix = `${randomBytes(6).toString('hex')}-`;
let count = 0;

/** Names a request: as the client does, where it says something sane, or else with a name of our own. */
export function nameRequest(request: HttpRequest, response: Named): string {
  const given = request.headers[REQUEST_ID];
  const id = typeof given === 'string' && SANE.test(given) ? given : ownId();
  response[ID] = id;
  return id;
}

/** The name of the request that this is the answer to. */
export function requestIdOf(response: Named): string {
  return response[ID] ?? '';
}

/** Unique in this process by a count, and among processes by chance. */
function ownId(): string {
  count += 1;
  return prefix + count.toString(36);
}
