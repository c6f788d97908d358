import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorMessage, MuralError } from '@mural/core';
import type { Api } from '../api.ts';
import { effectiveUser } from '../auth/impersonation.ts';
import { refusal } from '../auth/rbac.ts';
import type { Attributes } from '../auth/rules.ts';
import type { Authenticator } from '../auth/users.ts';
import { ISSUER } from '../auth/tokens.ts';
import { createObject } from '../handlers/create.ts';
import { deleteCollection, deleteObject, evictPod } from '../handlers/delete.ts';
import { discovery, rootPaths, versionInfo } from '../handlers/discovery.ts';
import { readPodLog } from '../handlers/log.ts';
import { OpenApiDocuments } from '../handlers/openapi.ts';
import { patchObject } from '../handlers/patch.ts';
import { getObject, listObjects } from '../handlers/read.ts';
import { createReview, isReview, requestToken } from '../handlers/reviews.ts';
import { scaleObject } from '../handlers/scale.ts';
import { replaceObject } from '../handlers/update.ts';
import { watchObjects } from '../handlers/watch.ts';
import { fieldSelector } from '../resources/fields.ts';
import { ApiError, noSuchPath } from '../status.ts';
import type { Answer } from './answer.ts';
import type { ApiRequest, RequestInfo, ResourceRequest } from './request.ts';
import { requestInfo, resourceOf } from './request.ts';
import { respond } from './respond.ts';

/** Warnings beyond these are left out of an answer. */
const WARNINGS = 20;

/** Takes requests: who sends it, what it asks for, whether that is allowed, and the answer. */
export class Router {
  readonly #api: Api;
  readonly #authenticator: Authenticator;
  readonly #stop: AbortSignal;
  readonly #openApi: OpenApiDocuments;

  constructor(api: Api, authenticator: Authenticator, stop: AbortSignal) {
    this.#api = api;
    this.#authenticator = authenticator;
    this.#stop = stop;
    this.#openApi = new OpenApiDocuments(api);
  }

  /** Answers one request. Never throws. */
  async handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const warnings: string[] = [];
    const gone = new AbortController();
    const leave = (): void => gone.abort();
    response.once('close', leave);
    // A client that goes away in the middle of its answer is no failure of the server.
    response.on('error', leave);
    this.#stop.addEventListener('abort', leave, { once: true });
    const url = new URL(message.url ?? '/', 'https://server');
    const context = { message, query: url.searchParams, warnings, now: this.#api.clock.now() };
    try {
      const warn = (text: string): void => {
        if (warnings.length < WARNINGS && !warnings.includes(text)) warnings.push(text);
      };
      const answer = await this.#answer(message, url, warn, gone.signal);
      await respond(response, answer, context);
    } catch (error) {
      await this.#fail(response, error, context);
    } finally {
      this.#stop.removeEventListener('abort', leave);
    }
  }

  async #answer(
    message: IncomingMessage,
    url: URL,
    warn: (text: string) => void,
    signal: AbortSignal,
  ): Promise<Answer> {
    const info = requestInfo(message.method ?? 'GET', url.pathname, url.searchParams);
    const sender = await this.#authenticator.identify(message);
    const user = effectiveUser(sender, message.headers, this.#api.authorizer);
    const request: ApiRequest = { info, user, query: url.searchParams, message, signal, warn };
    this.#authorize(request);
    if (!info.isResource) return this.#plain(request);
    const resource = resourceOf(info, this.#api.resources);
    if (resource === undefined) throw noSuchPath();
    const warning = resource.custom?.warning;
    if (warning !== undefined) warn(warning);
    return await this.#resource({ ...request, resource });
  }

  #authorize({ info, user, query }: ApiRequest): void {
    const wanted = attributesOf(info, query, this.#api);
    if (!this.#api.authorizer.allows(user, wanted)) throw refusal(user, wanted);
  }

  #plain({ info, message }: ApiRequest): Answer {
    const { path } = info;
    if (message.method !== 'GET' && message.method !== 'HEAD') {
      throw new ApiError(
        'MethodNotAllowed',
        'the server does not allow this method on the requested resource',
        {},
      );
    }
    if (/^\/(?:healthz|livez|readyz)(?:\/|$)/.test(path)) return { type: 'text', status: 200, text: 'ok' };
    if (path === '/version' || path === '/version/') return versionInfo();
    if (path === '/') return rootPaths(this.#api);
    if (path === '/openid/v1/jwks') return document({ keys: [this.#api.tokens.publicJwk] });
    if (path === '/.well-known/openid-configuration') return document(openIdConfiguration());
    const accept = message.headers.accept ?? '';
    const found = discovery(this.#api, path, accept) ?? this.#openApi.answer(path, accept);
    if (found === undefined) throw noSuchPath();
    return found;
  }

  async #resource(request: ResourceRequest): Promise<Answer> {
    const { info, resource } = request;
    const api = { ...this.#api, authenticator: this.#authenticator };
    if (info.verb === 'create' && isReview(resource.storage)) return await createReview(api, request);
    const verbs =
      info.subresource === '' ? resource.verbs : (resource.subresources.get(info.subresource)?.verbs ?? []);
    if (!verbs.includes(info.verb)) {
      throw new ApiError(
        'MethodNotAllowed',
        'the server does not allow this method on the requested resource',
        {},
      );
    }
    if (info.subresource === 'log') return readPodLog(api, request);
    if (info.subresource === 'scale') return await scaleObject(api, request);
    if (info.subresource === 'token') return await requestToken(api, request);
    if (info.subresource === 'eviction') return await evictPod(api, request);
    return await this.#object(request);
  }

  async #object(request: ResourceRequest): Promise<Answer> {
    const api = this.#api;
    switch (request.info.verb) {
      case 'get':
        return getObject(api, request);
      case 'list':
        return listObjects(api, request);
      case 'watch':
        return watchObjects(api, request);
      case 'create':
        return await createObject(api, request);
      case 'update':
        return await replaceObject(api, request);
      case 'patch':
        return await patchObject(api, request);
      case 'delete':
        return await deleteObject(api, request);
      default:
        return await deleteCollection(api, request);
    }
  }

  async #fail(
    response: ServerResponse,
    error: unknown,
    context: Parameters<typeof respond>[2],
  ): Promise<void> {
    const known = error instanceof ApiError ? error : undefined;
    if (known === undefined) {
      const code: unknown = error instanceof MuralError ? error.code : undefined;
      const { method, url = '' } = context.message;
      const path = url.replace(/\?.*$/, '');
      this.#api.log.error({ method, path, code, error: errorMessage(error) }, 'a request failed');
    }
    const failure =
      known ?? new ApiError('InternalError', 'Internal error occurred: the request could not be carried out');
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    if (failure.code === 'RequestEntityTooLarge') response.setHeader('Connection', 'close');
    const retry = failure.details?.retryAfterSeconds;
    if (retry !== undefined) response.setHeader('Retry-After', String(retry));
    const body = JSON.stringify(failure.toStatus());
    response.writeHead(failure.httpStatus, {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-cache, private',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
    // What the client still sends of a refused body is read and dropped.
    context.message.resume();
    await Promise.resolve();
  }
}

function document(content: object): Answer {
  return { type: 'document', status: 200, document: content };
}

function openIdConfiguration(): object {
  return {
    issuer: ISSUER,
    jwks_uri: `${ISSUER}/openid/v1/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  };
}

/** What RBAC judges: a list or watch that names one object counts as being for that object. */
function attributesOf(info: RequestInfo, query: URLSearchParams, api: Api): Attributes {
  const { verb, isResource, group, plural, subresource, namespace, path } = info;
  let { name } = info;
  const selector = query.get('fieldSelector');
  if (name === '' && selector !== null && ['list', 'watch', 'deletecollection'].includes(verb)) {
    const resource = resourceOf(info, api.resources);
    if (resource !== undefined) name = fieldSelector(selector, resource).name ?? '';
  }
  return { verb, isResource, group, plural, subresource, namespace, name, path };
}
