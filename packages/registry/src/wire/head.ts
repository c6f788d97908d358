import type { IncomingHttpHeaders } from 'node:http';

/** The first lines of a request, up to its body. */
export interface Head {
  readonly method: string;
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** Bytes of the body, or that it comes in chunks. */
  readonly length: number | 'chunks';
}

const REQUEST_LINE = /^(GET|HEAD|POST|PUT|PATCH|DELETE) (\/v2\/[!"$-~]*) HTTP\/1\.1$/;
/** Blanks before the value belong to a value: two places for them would be tried in every division. */
const FIELD = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+):(?:[ \t]*([!-~](?:[ -~]*[!-~])?))?[ \t]*$/;
const LENGTH = /^(?:0|[1-9][0-9]{0,14})$/;
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
/** What changes how the connection or the body is read, and where two of them would have to be weighed. */
const SPECIAL: ReadonlySet<string> = new Set([
  'expect',
  'upgrade',
  'trailer',
  'te',
  'keep-alive',
  'proxy-connection',
  // The one header that Node has as a list.
  'set-cookie',
]);

/**
 * Reads the head of a plain request: one in HTTP/1.1 for the distribution-spec, with each header once, in ASCII,
 * with a body of known length, in chunks, or none. It has one reading only, so that a proxy in front and the registry
 * cannot see two requests in it (RFC 9112, 11.2).
 *
 * @param text ends with the empty line after the headers
 * @returns undefined for everything else, right or wrong, which is left to the parser of Node
 */
export function parsePlainHead(text: string): Head | undefined {
  const lines = text.split('\r\n');
  // After the empty line that ends the head comes one more, which is not there.
  const count = lines.length - 2;
  const [, method, url] = REQUEST_LINE.exec(lines[0] ?? '') ?? [];
  if (method === undefined || url === undefined) return undefined;
  const headers = headersIn(lines.slice(1, count));
  if (headers === undefined) return undefined;
  if ((headers.host ?? '') === '' || !keepsOpen(headers.connection)) return undefined;
  const length = lengthOf(method, headers);
  return length === undefined ? undefined : { method, url, headers, length };
}

function headersIn(lines: readonly string[]): IncomingHttpHeaders | undefined {
  const headers: IncomingHttpHeaders = {};
  for (const line of lines) {
    const [, name, value = ''] = FIELD.exec(line) ?? [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    if (key in headers || SPECIAL.has(key)) return undefined;
    headers[key] = value;
  }
  return headers;
}

function lengthOf(method: string, headers: IncomingHttpHeaders): number | 'chunks' | undefined {
  const { 'content-length': length, 'transfer-encoding': coding } = headers;
  if (coding !== undefined) {
    // Both at once are how one request is smuggled in another (RFC 9112, 6.3).
    return coding === 'chunked' && length === undefined && WITH_BODY.has(method) ? 'chunks' : undefined;
  }
  if (length === undefined) return 0;
  return LENGTH.test(length) && (length === '0' || WITH_BODY.has(method)) ? Number(length) : undefined;
}

function keepsOpen(connection: string | undefined): boolean {
  return connection === undefined || connection.toLowerCase() === 'keep-alive';
}
