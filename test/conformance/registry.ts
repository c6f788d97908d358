import { createHash, randomBytes } from 'node:crypto';
import { Agent as HttpAgent, type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type Content, contentOf, imageOf, MEDIA } from './content.ts';

/** A registry that the cases are run against. */
export interface Target {
  /** `http://127.0.0.1:5000`, or with `https`. */
  readonly url: string;
  /** Value of the `Authorization` header, where the registry wants one. */
  readonly authorization?: string;
  /** PEM of the CA that its certificate is from. */
  readonly ca?: string;
}

/** An answer as it came. */
export interface Answer {
  readonly request: string;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What is sent beside method and path. */
export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  /** A list is sent in as many pieces, without a Content-Length. */
  readonly body?: Buffer | string | readonly Buffer[];
}

/** An image that was pushed. */
export interface PushedImage {
  readonly manifest: Content;
  readonly config: Content;
  readonly layer: Content;
}

const TIMEOUT_MS = 30_000;

/** The registry as a client of the specification sees it. Paths go out exactly as given. */
export class Registry {
  readonly target: Target;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(target: Target) {
    this.target = target;
    const options = { keepAlive: true, maxSockets: 16 };
    this.#agent = target.url.startsWith('https:')
      ? new HttpsAgent({ ...options, ...(target.ca === undefined ? {} : { ca: target.ca }) })
      : new HttpAgent(options);
  }

  close(): void {
    this.#agent.destroy();
  }

  /** A repository that nothing was pushed to. */
  repository(): string {
    return `conformance/${randomBytes(8).toString('hex')}`;
  }

  /** @param path with its query, or a whole URL, as in a `Location` */
  send(method: string, path: string, sent: Sent = {}): Promise<Answer> {
    const url = new URL(this.target.url);
    const absolute = /^https?:\/\/[^/]+(.*)$/.exec(path);
    const headers: Record<string, string> = { ...sent.headers };
    if (this.target.authorization !== undefined) headers['authorization'] ??= this.target.authorization;
    const { body } = sent;
    if (typeof body === 'string' || body instanceof Buffer)
      headers['content-length'] = String(Buffer.byteLength(body));
    else if (body === undefined && method !== 'GET' && method !== 'HEAD') headers['content-length'] = '0';
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const { hostname, port, protocol } = url;
    const options = { hostname, port, method, path: absolute?.[1] ?? path, headers, agent: this.#agent };
    const request = (protocol === 'https:' ? httpsRequest : httpRequest)(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({
          request: `${method} ${path}`,
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks),
        });
      });
    });
    request.on('error', reject);
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error(`${method} ${path}: no answer`)));
    if (Array.isArray(body)) {
      for (const chunk of body as readonly Buffer[]) request.write(chunk);
      request.end();
    } else {
      request.end(body as Buffer | string | undefined);
    }
    return promise;
  }

  /** Begins an upload and returns its location. */
  async begin(repository: string, query = ''): Promise<string> {
    const answer = await this.send('POST', `/v2/${repository}/blobs/uploads/${query}`);
    const location = answer.headers.location;
    if (answer.status !== 202 || location === undefined) throw new Error(describe(answer));
    return location;
  }

  /** Pushes a blob by POST and PUT. */
  async pushBlob(repository: string, content: Content, digest = content.digest): Promise<void> {
    const query = digest.startsWith('sha256:') ? '' : `?digest-algorithm=${digest.split(':', 1)[0] ?? ''}`;
    const location = await this.begin(repository, query);
    const answer = await this.send('PUT', withQuery(location, { digest }), { body: content.bytes });
    if (answer.status !== 201) throw new Error(describe(answer));
  }

  putManifest(
    repository: string,
    reference: string,
    body: Buffer | string,
    mediaType: string = MEDIA.image,
  ): Promise<Answer> {
    const headers = { 'content-type': mediaType };
    return this.send('PUT', `/v2/${repository}/manifests/${reference}`, { headers, body });
  }

  getManifest(repository: string, reference: string, method = 'GET'): Promise<Answer> {
    const headers = { accept: Object.values(MEDIA).join(', ') };
    return this.send(method, `/v2/${repository}/manifests/${reference}`, { headers });
  }

  /** Pushes a manifest that the registry has to take. */
  async pushManifest(repository: string, content: Content, mediaType: string, tag?: string): Promise<Answer> {
    const answer = await this.putManifest(repository, tag ?? content.digest, content.bytes, mediaType);
    if (answer.status !== 201) throw new Error(describe(answer));
    return answer;
  }

  /** Pushes config, layer and manifest. */
  async pushImage(repository: string, tag?: string, extra: object = {}): Promise<PushedImage> {
    const config = contentOf('{}');
    const layer = contentOf(randomBytes(100));
    await Promise.all([this.pushBlob(repository, config), this.pushBlob(repository, layer)]);
    const manifest = imageOf(config, [layer], extra);
    await this.pushManifest(repository, manifest, MEDIA.image, tag);
    return { manifest, config, layer };
  }
}

/** A location with further parameters. */
export function withQuery(location: string, query: Readonly<Record<string, string>>): string {
  const text = new URLSearchParams(query).toString();
  return `${location}${location.includes('?') ? '&' : '?'}${text}`;
}

/** One line on an answer, for what went wrong. */
export function describe(answer: Answer): string {
  return `${answer.request} was answered with ${answer.status}: ${answer.body.toString().slice(0, 300)}`;
}

/** `sha512:…` of some bytes. */
export function sha512(bytes: Buffer): string {
  return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
}
