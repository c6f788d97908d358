import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, digestOf } from './names.ts';
import { type RegistryOptions, type RunningRegistry, startRegistry } from './server.ts';

/** An answer as it came over the socket. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What is sent beside method and path. */
export interface Sent {
  readonly headers?: Record<string, string>;
  readonly body?: Buffer | string;
  /** Basic credentials, `name:password`. */
  readonly as?: string;
}

/** A registry of a test, in a folder of its own, and a client that sends paths exactly as given. */
export class RegistryFixture {
  readonly directory: string;
  registry: RunningRegistry;
  readonly #options: Partial<RegistryOptions>;

  private constructor(directory: string, registry: RunningRegistry, options: Partial<RegistryOptions>) {
    this.directory = directory;
    this.registry = registry;
    this.#options = options;
  }

  /** Anonymous callers may do everything unless the options say otherwise. */
  static async start(options: Partial<RegistryOptions> = {}): Promise<RegistryFixture> {
    const directory = await mkdtemp(join(tmpdir(), 'mural-registry-'));
    const all = { anonymous: 'push' as const, ...options };
    const registry = await startRegistry({ port: 0, dataDir: directory, ...all });
    return new RegistryFixture(directory, registry, all);
  }

  async restart(): Promise<void> {
    await this.registry.close();
    this.registry = await startRegistry({ port: 0, dataDir: this.directory, ...this.#options });
  }

  async stop(): Promise<void> {
    await this.registry.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  send(method: string, path: string, sent: Sent = {}): Promise<Answer> {
    return sendTo(this.registry.host, method, path, sent);
  }

  /** Pushes a blob in one request and returns its digest. */
  async pushBlob(repository: string, content: Buffer | string, as?: string): Promise<Digest> {
    const digest = digestOf(Buffer.from(content));
    const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
    const answer = await this.send('POST', path, { body: content, ...(as === undefined ? {} : { as }) });
    if (answer.status !== 201) throw new Error(`the push was answered with ${answer.status}`);
    return digest;
  }

  /** Pushes config, layer and manifest, and returns the manifest. */
  async pushImage(repository: string, reference: string, extra: object = {}): Promise<PushedManifest> {
    const layer = randomBytes(64);
    const blobs = [await this.pushBlob(repository, '{}'), await this.pushBlob(repository, layer)];
    const manifest = imageOf(blobs[0] ?? 'x:y', { digest: blobs[1] ?? 'x:y', size: layer.length }, extra);
    const answer = await this.pushManifest(repository, reference, manifest);
    if (answer.status !== 201)
      throw new Error(`the push was answered with ${answer.status}: ${String(answer.body)}`);
    return { bytes: manifest, digest: digestOf(manifest), layer: blobs[1] ?? 'x:y' };
  }

  pushManifest(repository: string, reference: string, body: Buffer | string, type = IMAGE): Promise<Answer> {
    return this.send('PUT', `/v2/${repository}/manifests/${reference}`, {
      headers: { 'content-type': type },
      body,
    });
  }
}

/** A manifest that is in the registry. */
export interface PushedManifest {
  readonly bytes: string;
  readonly digest: Digest;
  readonly layer: Digest;
}

export const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
export const INDEX = 'application/vnd.oci.image.index.v1+json';

/** The text of an image manifest with the config `{}`. */
export function imageOf(config: Digest, layer: { digest: Digest; size: number }, extra: object = {}): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: IMAGE,
    config: { mediaType: 'application/vnd.example.config', digest: config, size: 2 },
    layers: [{ mediaType: 'application/octet-stream', ...layer }],
    ...extra,
  });
}

/** Sends one request over a connection of its own. */
export function sendTo(host: string, method: string, path: string, sent: Sent = {}): Promise<Answer> {
  const [hostname = '', port = ''] = host.split(':');
  const headers: Record<string, string> = { ...sent.headers };
  if (sent.as !== undefined) headers['authorization'] = `Basic ${Buffer.from(sent.as).toString('base64')}`;
  if (sent.body !== undefined) headers['content-length'] = String(Buffer.byteLength(sent.body));
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', reject);
    request.end(sent.body);
  });
}

/** The code of the first error in a JSON body. */
export function errorCode(answer: Answer): string {
  const parsed = JSON.parse(String(answer.body)) as { errors: { code: string }[] };
  return parsed.errors[0]?.code ?? '';
}
