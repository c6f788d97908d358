import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Credential } from './credentials.ts';
import { type Digest, digestOf, isDigest } from './digest.ts';
import { MEDIA_TYPES } from './manifest.ts';

export { type FakeProxy, type SeenByProxy, startFakeProxy } from './testing-proxy.ts';
export { TEST_TLS, TEST_TLS_NAMES } from './testing-tls.ts';

/** What goes wrong with a request. */
export type Fault =
  /** The request is taken and never answered. */
  | { readonly kind: 'stall' }
  /** Headers and half of the body are sent, and then nothing more. */
  | { readonly kind: 'stall-body' }
  /** The connection is cut without an answer. */
  | { readonly kind: 'reset' }
  /** One byte of the body is changed. */
  | { readonly kind: 'tamper' }
  /** The answer is this one. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    };

/** Which requests a fault hits. */
export interface FaultRule {
  readonly fault: Fault;
  readonly method?: string;
  /** Tried on path and query. */
  readonly path?: RegExp;
  /** How many requests are hit before the rule is spent: all of them unless given. */
  readonly times?: number;
}

/** A request as the registry saw it. */
export interface SeenRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly authorization: string | undefined;
  readonly bytes: number;
}

/** What the registry is like. */
export interface FakeRegistryOptions {
  /** Who may do anything; nobody has to sign in unless given. It can be replaced while the registry runs. */
  readonly credential?: Credential;
  /** How one signs in: `basic` unless given. */
  readonly auth?: 'basic' | 'bearer';
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Whether answers carry `Docker-Content-Digest`: they do unless told. */
  readonly digestHeader?: boolean;
}

interface Stored {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

interface Repository {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, Stored>;
  readonly tags: Map<string, Digest>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
}

/**
 * An OCI registry in memory, for tests: the whole push and pull path of distribution-spec with basic or
 * token authentication, a record of what it was asked, and faults on demand.
 */
export class FakeRegistry {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** With scheme. */
  readonly url: string;
  /** Everything that was asked, tokens included, in order. */
  readonly requests: SeenRequest[] = [];
  /** Who may sign in. */
  credential: Credential | undefined;
  /** Expires every token that was given out. */
  tokenGeneration = 0;
  readonly #options: FakeRegistryOptions;
  readonly #server: Server;
  readonly #repositories = new Map<string, Repository>();
  #faults: { rule: FaultRule; left: number }[] = [];
  #sessions = 0;

  private constructor(server: Server, options: FakeRegistryOptions) {
    const { port } = server.address() as AddressInfo;
    this.host = `127.0.0.1:${port}`;
    this.url = `${options.tls === undefined ? 'http' : 'https'}://${this.host}`;
    this.#server = server;
    this.#options = options;
    this.credential = options.credential;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** Starts one on a free port of the loopback interface. */
  static async start(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
    const server = options.tls === undefined ? createServer() : createTlsServer({ ...options.tls });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeRegistry(server, options);
  }

  /** Makes requests fail from now on. @returns a function that ends it */
  fail(rule: FaultRule): () => void {
    const entry = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
    this.#faults.push(entry);
    return () => {
      this.#faults = this.#faults.filter((other) => other !== entry);
    };
  }

  /** Tags of a repository with the digests they hold. */
  tags(repository: string): Record<string, Digest> {
    return Object.fromEntries(this.#repository(repository).tags);
  }

  /** A stored manifest, by tag or digest. */
  manifest(repository: string, reference: string): Buffer | undefined {
    const { manifests, tags } = this.#repository(repository);
    return manifests.get(tags.get(reference) ?? reference)?.bytes;
  }

  /** A stored blob. */
  blob(repository: string, digest: string): Buffer | undefined {
    return this.#repository(repository).blobs.get(digest);
  }

  /** Puts content in without a request. */
  addBlob(repository: string, bytes: Uint8Array | string): Digest {
    const digest = digestOf(bytes);
    this.#repository(repository).blobs.set(digest, Buffer.from(bytes));
    return digest;
  }

  /** Puts a manifest in without a request, under its digest and a tag. */
  addManifest(repository: string, bytes: Uint8Array | string, tag?: string, mediaType?: string): Digest {
    const digest = digestOf(bytes);
    const stored = { bytes: Buffer.from(bytes), mediaType: mediaType ?? MEDIA_TYPES.imageManifest };
    this.#repository(repository).manifests.set(digest, stored);
    if (tag !== undefined) this.#repository(repository).tags.set(tag, digest);
    return digest;
  }

  /** Stops it and cuts what is open. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const method = request.method ?? 'GET';
    const path = request.url ?? '/';
    const { authorization } = request.headers;
    this.requests.push({ method, path, authorization, bytes: body.length });
    const fault = this.#takeFault(method, path);
    if (fault?.kind === 'stall') return;
    if (fault?.kind === 'reset') {
      request.socket.destroy();
      return;
    }
    const answer = fault?.kind === 'answer' ? answerOf(fault) : this.#answer(request, method, path, body);
    send(response, method, answer, fault);
  }

  #takeFault(method: string, path: string): Fault | undefined {
    const entry = this.#faults.find(
      ({ rule, left }) =>
        left > 0 && (rule.method ?? method) === method && (rule.path === undefined || rule.path.test(path)),
    );
    if (entry === undefined) return undefined;
    entry.left -= 1;
    return entry.rule.fault;
  }

  #answer(request: IncomingMessage, method: string, path: string, body: Buffer): Answer {
    const url = new URL(path, this.url);
    if (url.pathname === '/token') return this.#token(request, url);
    const refused = this.#authenticate(request, url);
    if (refused !== undefined) return refused;
    if (url.pathname === '/v2/') return { status: 200, headers: JSON_TYPE, body: Buffer.from('{}') };
    const match = /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/(.*)$/.exec(url.pathname);
    const [, name = '', kind = '', rest = ''] = match ?? [];
    const repository = this.#repository(name);
    if (kind === 'manifests') return this.#manifests(repository, request, method, rest, body);
    if (kind === 'blobs' && rest.startsWith('uploads/')) return this.#uploads(repository, method, url, body);
    if (kind === 'blobs') return this.#blobs(repository, rest);
    if (kind === 'tags') return json(200, { name, tags: [...repository.tags.keys()].sort() });
    if (kind === 'referrers') return referrers(repository, rest);
    return errorAnswer(404, 'NAME_UNKNOWN');
  }

  #authenticate(request: IncomingMessage, url: URL): Answer | undefined {
    if (this.credential === undefined) return undefined;
    const { authorization } = request.headers;
    const bearer = this.#options.auth === 'bearer';
    if (authorization === (bearer ? `Bearer ${this.#tokenValue()}` : basic(this.credential)))
      return undefined;
    const repository = /^\/v2\/(.+?)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1] ?? '';
    const scope = repository === '' ? '' : `,scope="repository:${repository}:pull"`;
    const challenge = bearer
      ? `Bearer realm="${this.url}/token",service="fake"${scope}`
      : 'Basic realm="fake"';
    const answer = errorAnswer(401, 'UNAUTHORIZED');
    return { ...answer, headers: { ...answer.headers, 'www-authenticate': challenge } };
  }

  #token(request: IncomingMessage, url: URL): Answer {
    const sent = request.headers.authorization;
    if (this.credential !== undefined && sent !== basic(this.credential)) {
      return errorAnswer(401, 'UNAUTHORIZED');
    }
    return json(200, { token: this.#tokenValue(), expires_in: 300, scope: url.searchParams.get('scope') });
  }

  #tokenValue(): string {
    return `token-${this.tokenGeneration}-${this.credential?.username ?? ''}`;
  }

  #manifests(
    repository: Repository,
    request: IncomingMessage,
    method: string,
    reference: string,
    body: Buffer,
  ): Answer {
    if (method === 'PUT') {
      const digest = digestOf(body);
      if (isDigest(reference) && reference !== digest) return errorAnswer(400, 'DIGEST_INVALID');
      const mediaType = request.headers['content-type'] ?? MEDIA_TYPES.imageManifest;
      repository.manifests.set(digest, { bytes: body, mediaType });
      if (!isDigest(reference)) repository.tags.set(reference, digest);
      return { status: 201, headers: { 'docker-content-digest': digest, location: request.url ?? '' } };
    }
    const digest = repository.tags.get(reference) ?? reference;
    const stored = repository.manifests.get(digest);
    if (stored === undefined) return errorAnswer(404, 'MANIFEST_UNKNOWN');
    if (method === 'DELETE') {
      if (repository.tags.delete(reference)) return { status: 202 };
      repository.manifests.delete(digest);
      for (const [tag, held] of repository.tags) if (held === digest) repository.tags.delete(tag);
      return { status: 202 };
    }
    return { status: 200, headers: this.#contentHeaders(digest, stored.mediaType), body: stored.bytes };
  }

  #uploads(repository: Repository, method: string, url: URL, body: Buffer): Answer {
    if (method === 'POST') {
      this.#sessions += 1;
      return { status: 202, headers: { location: `${url.pathname}${this.#sessions}?state=a%2Bb%3D` } };
    }
    const digest = url.searchParams.get('digest') ?? '';
    if (method !== 'PUT' || url.searchParams.get('state') !== 'a+b=')
      return errorAnswer(404, 'BLOB_UPLOAD_UNKNOWN');
    if (!isDigest(digest) || digestOf(body, digest.startsWith('sha512') ? 'sha512' : 'sha256') !== digest) {
      return errorAnswer(400, 'DIGEST_INVALID');
    }
    repository.blobs.set(digest, body);
    return { status: 201, headers: { 'docker-content-digest': digest, location: '/' } };
  }

  #blobs(repository: Repository, digest: string): Answer {
    const bytes = repository.blobs.get(digest);
    if (bytes === undefined) return errorAnswer(404, 'BLOB_UNKNOWN');
    return { status: 200, headers: this.#contentHeaders(digest, 'application/octet-stream'), body: bytes };
  }

  #contentHeaders(digest: string, mediaType: string): Record<string, string> {
    const headers: Record<string, string> = { 'content-type': mediaType };
    if (this.#options.digestHeader !== false) headers['docker-content-digest'] = digest;
    return headers;
  }

  #repository(name: string): Repository {
    const found = this.#repositories.get(name);
    if (found !== undefined) return found;
    const made: Repository = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    this.#repositories.set(name, made);
    return made;
  }
}

/** Starts a {@link FakeRegistry}. */
export async function startFakeRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  return await FakeRegistry.start(options);
}

const JSON_TYPE = { 'content-type': 'application/json' };

function send(response: ServerResponse, method: string, answer: Answer, fault: Fault | undefined): void {
  const body = Buffer.from(answer.body ?? Buffer.alloc(0));
  if (fault?.kind === 'tamper' && body.length > 0) {
    const middle = body.length >> 1;
    body[middle] = (body[middle] ?? 0) ^ 1;
  }
  response.writeHead(answer.status, { ...answer.headers, 'content-length': String(body.length) });
  if (method === 'HEAD') {
    response.end();
  } else if (fault?.kind === 'stall-body') {
    response.write(body.subarray(0, body.length >> 1));
  } else {
    response.end(body);
  }
}

function answerOf(fault: Fault & { kind: 'answer' }): Answer {
  return { status: fault.status, headers: { ...fault.headers }, body: Buffer.from(fault.body ?? '') };
}

function json(status: number, value: unknown): Answer {
  return { status, headers: JSON_TYPE, body: Buffer.from(JSON.stringify(value)) };
}

function errorAnswer(status: number, code: string): Answer {
  return json(status, { errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] });
}

function basic(credential: Credential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

function referrers(repository: Repository, digest: string): Answer {
  const manifests = [...repository.manifests].flatMap(([own, { bytes, mediaType }]) => {
    const document = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
    const subject = document['subject'] as { digest?: string } | undefined;
    if (subject?.digest !== digest) return [];
    const config = document['config'] as { mediaType?: string } | undefined;
    const artifactType = document['artifactType'] ?? config?.mediaType;
    return [{ mediaType, digest: own, size: bytes.length, artifactType }];
  });
  const answer = json(200, { schemaVersion: 2, mediaType: MEDIA_TYPES.imageIndex, manifests });
  return { ...answer, headers: { 'content-type': MEDIA_TYPES.imageIndex } };
}
