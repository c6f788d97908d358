import type { IncomingMessage } from 'node:http';
import type { Refusal } from './answer.ts';

/** What a request is about. */
export type Route =
  | { readonly to: 'asset'; readonly path: string }
  | { readonly to: 'api'; readonly target: string }
  | { readonly to: 'nowhere'; readonly refusal: Refusal };

const MAX_TARGET = 8192;
/** `/version` and below `/api` and `/apis`, in the characters that paths of this API consist of. */
const API_PATH = /^\/(?:version|apis?(?:\/[A-Za-z0-9._~:@%-]+)*\/?)$/;
/** Segments that a server behind could take for a way out of `/api`, in any spelling. */
const STRAY = /\/(?:\.|%2e){1,2}(?:\/|$)|%(?:00|2f|5c|25)/i;

/** Decides where a request goes, by its origin, method and path. */
export function routeOf(request: IncomingMessage): Route {
  const { method = '', url = '' } = request;
  const path = url.split('?', 1)[0] ?? '';
  const api = /^\/(?:version|apis?)(?:\/|$)/.test(path);
  if (!isOwnOrigin(request, api)) {
    return nowhere(403, 'Forbidden', 'the console answers its own pages only');
  }
  if (method !== 'GET' && (api || method !== 'HEAD')) {
    return {
      to: 'nowhere',
      refusal: {
        ...{ code: 405, reason: 'MethodNotAllowed', message: 'the console only reads' },
        headers: { allow: api ? 'GET' : 'GET, HEAD' },
      },
    };
  }
  if (url.length > MAX_TARGET) return nowhere(414, 'RequestURITooLong', 'the URL is too long');
  if (!api) return { to: 'asset', path };
  if (!API_PATH.test(path) || STRAY.test(path)) return nowhere(404, 'NotFound', 'there is no such path');
  return { to: 'api', target: url };
}

/**
 * Whether the request comes from a page of this server, or from no page at all. Browsers say so
 * themselves: `Sec-Fetch-Site` of Fetch Metadata, and `Origin`. A link to the page may stand anywhere.
 */
function isOwnOrigin(request: IncomingMessage, api: boolean): boolean {
  const { origin, host } = request.headers;
  if (origin !== undefined && origin !== `https://${host ?? ''}`) return false;
  const site = request.headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return true;
  return !api && request.headers['sec-fetch-mode'] === 'navigate';
}

function nowhere(code: number, reason: string, message: string): Route {
  return { to: 'nowhere', refusal: { code, reason, message } };
}
