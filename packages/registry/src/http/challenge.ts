import { TLSSocket } from 'node:tls';
import type { Access } from '../auth/access.ts';
import type { Refusal } from '../auth/caller.ts';
import type { RegistryAction } from '../auth/policy.ts';
import { scopeOf } from '../auth/scope.ts';
import type { Route } from './request.ts';
import type { HttpRequest } from '../wire/message.ts';

/** Path of the token endpoint. */
export const TOKEN_PATH = '/token';
/** RFC 7617. */
export const BASIC_CHALLENGE = 'Basic realm="mural"';

const ACTIONS: Readonly<Record<string, readonly RegistryAction[]>> = {
  GET: ['read'],
  HEAD: ['read'],
  DELETE: ['delete'],
};

/**
 * The actions one of which a request needs. Looking at an upload and cancelling it belong to creating;
 * whether a manifest's tag is created or moved shows only when it is written.
 */
export function neededActions(route: Route, method: string): readonly RegistryAction[] {
  if (route.kind === 'upload' || route.kind === 'uploads') return ['create'];
  if (route.kind === 'manifest' && method === 'PUT') return ['create', 'update'];
  return ACTIONS[method] ?? ['create'];
}

/**
 * The `WWW-Authenticate` of a refusal: basic authentication, or where tokens are given out what to
 * ask the token endpoint for (distribution, "Token Authentication Specification"; RFC 6750, 3).
 */
export function challengeOf(
  access: Pick<Access, 'tokens' | 'realm'>,
  request: HttpRequest,
  refused: { readonly route: Route | undefined; readonly refusal: Refusal },
): string {
  const { tokens } = access;
  if (tokens === undefined) return BASIC_CHALLENGE;
  const { route, refusal } = refused;
  const scope = route === undefined ? undefined : scopeFor(route, request.method);
  const parameters = [
    ['realm', access.realm ?? `${baseOf(request)}${TOKEN_PATH}`],
    ['service', tokens.service],
    ['scope', scope],
    ['error', refusal === 'none' ? undefined : refusal],
  ] as const;
  const given = parameters.filter(([, value]) => value !== undefined);
  return `Bearer ${given.map(([name, value]) => `${name}="${value ?? ''}"`).join(',')}`;
}

function scopeFor(route: Route, method: string): string | undefined {
  if (route.kind === 'catalog') return 'registry:catalog:*';
  if (!('repository' in route)) return undefined;
  return scopeOf(route.repository, neededActions(route, method)[0] ?? 'read');
}

/** Where the client reached us, as it says itself; a header that is no host is not repeated. */
export function baseOf(request: HttpRequest): string {
  const { socket } = request;
  const scheme = socket instanceof TLSSocket ? 'https' : 'http';
  const host = request.headers.host ?? '';
  if (/^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/.test(host)) {
    return `${scheme}://${host}`;
  }
  const address = socket.localAddress ?? '127.0.0.1';
  return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${socket.localPort ?? 0}`;
}
