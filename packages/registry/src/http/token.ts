import type { Access } from '../auth/access.ts';
import { type Caller, UnauthorizedError } from '../auth/caller.ts';
import { parseScopes } from '../auth/scope.ts';
import type { IssuedToken, Tokens } from '../auth/tokens.ts';
import { RegistryError } from '../errors.ts';
import { BASIC_CHALLENGE } from './challenge.ts';
import { readBody, sendError, sendJson } from './exchange.ts';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';

const MAX_FORM = 32 * 1024;
const MAX_PARAMETERS = 100;
const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' };

/**
 * Answers the token endpoint: `GET` of the "Token Authentication Specification" and `POST` of the
 * "OAuth2 Token Authentication" of distribution, with a password; refresh tokens are not given out.
 *
 * Who asks shows it by basic authentication (a token of an issuer can be the password) or by a
 * certificate, never by a token of ours: those would live for ever.
 *
 * @returns name of who asked, for the log
 */
export async function answerToken(
  access: Access,
  tokens: Tokens,
  { request, response, query }: Asked,
): Promise<string | undefined> {
  try {
    if (request.method === 'GET') {
      const caller = await identify(access, request);
      const issued = await issue(tokens, caller, query);
      sendJson(
        response,
        200,
        withDates(issued, { token: issued.token, access_token: issued.token }),
        NO_STORE,
      );
      return caller.name;
    }
    if (request.method === 'POST') {
      const form = await readForm(request);
      return await answerForm({ access, tokens, request, response }, form);
    }
    throw new RegistryError('MethodUnsupported', 'This method is not supported here.', {
      headers: { allow: 'GET, POST' },
    });
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    response.setHeader('www-authenticate', BASIC_CHALLENGE);
    sendError(response, error);
    return undefined;
  }
}

interface Asked {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly query: URLSearchParams;
}

interface Form {
  readonly access: Access;
  readonly tokens: Tokens;
  readonly request: HttpRequest;
  readonly response: HttpResponse;
}

async function answerForm(
  { access, tokens, request, response }: Form,
  form: URLSearchParams,
): Promise<string | undefined> {
  const refuse = (status: number, error: string, description: string): void => {
    const headers = status === 401 ? { ...NO_STORE, 'www-authenticate': BASIC_CHALLENGE } : NO_STORE;
    sendJson(response, status, { error, error_description: description }, headers);
  };
  if (form.get('grant_type') !== 'password') {
    refuse(400, 'unsupported_grant_type', 'The grant type must be password.');
    return undefined;
  }
  const user = `${form.get('username') ?? ''}:${form.get('password') ?? ''}`;
  const authorization = `Basic ${Buffer.from(user).toString('base64')}`;
  let caller: Caller;
  try {
    caller = await identify(access, { headers: { authorization }, socket: request.socket });
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    refuse(401, 'invalid_grant', 'The user name or the password is wrong.');
    return undefined;
  }
  const issued = await issue(tokens, caller, form);
  const extra = { access_token: issued.token, token_type: 'Bearer', scope: issued.scope };
  sendJson(response, 200, withDates(issued, extra), NO_STORE);
  return caller.name;
}

async function identify(access: Access, request: Pick<HttpRequest, 'headers' | 'socket'>): Promise<Caller> {
  if (/^bearer/i.test(request.headers.authorization ?? '')) throw new UnauthorizedError('invalid_token');
  const caller = await access.authenticate(request);
  // Somebody who is nobody and may do nothing is asked who they are.
  if (caller.name === undefined && caller.permissions?.policies.length === 0) throw new UnauthorizedError();
  return caller;
}

async function issue(tokens: Tokens, caller: Caller, asked: URLSearchParams): Promise<IssuedToken> {
  if (asked.size > MAX_PARAMETERS) {
    throw new RegistryError('ScopeInvalid', `A request for a token may have ${MAX_PARAMETERS} parameters.`);
  }
  const service = asked.get('service') ?? tokens.service;
  if (service !== tokens.service) {
    throw new RegistryError('ScopeInvalid', `Tokens are given out for the service "${tokens.service}".`);
  }
  return tokens.issue(caller, parseScopes(asked.getAll('scope')));
}

function withDates(issued: IssuedToken, rest: object): object {
  return {
    ...rest,
    expires_in: issued.expiresInSeconds,
    issued_at: `${new Date(issued.issuedAt).toISOString().slice(0, 19)}Z`,
  };
}

async function readForm(request: HttpRequest): Promise<URLSearchParams> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') {
    throw new RegistryError('EncodingUnsupported', 'The body must be application/x-www-form-urlencoded.');
  }
  const bytes = await readBody({ request }, MAX_FORM);
  if (bytes === undefined) throw new RegistryError('SizeInvalid', `The body may have ${MAX_FORM} bytes.`);
  return new URLSearchParams(bytes.toString('utf8'));
}
