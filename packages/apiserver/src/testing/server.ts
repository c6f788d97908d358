/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-return -- answers are read by tests as they come */
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { gunzipSync } from 'node:zlib';
import type { ApiServerOptions, RunningApiServer } from '../server.ts';
import { startApiServer } from '../server.ts';
import { testCertificate } from './certificate.ts';

/** Any JSON that the API answers, for tests to look into. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a test reads what it expects
export type Answered = any;

/** What came back. */
export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Answered;
}

/** How a request is sent. */
export interface Sending {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A watch under way. */
export interface TestWatch {
  /** The next event; `undefined` when the watch has ended. */
  next(): Promise<Answered>;
  stop(): void;
}

/** The key of test servers. */
export const TEST_KEY = Buffer.alloc(32, 7);
export const TEST_TOKENS = [
  { token: 'admin-token', user: 'admin', groups: ['system:masters'] },
  { token: 'alice-token', user: 'alice', groups: ['developers'] },
];
const certificate = testCertificate();

/** A server over a folder of its own, and a plain HTTP client of it. */
export class TestServer {
  readonly directory: string;
  readonly #agent = new Agent({ ca: certificate.cert, keepAlive: true });
  #server: RunningApiServer;
  readonly #options: Partial<ApiServerOptions>;

  private constructor(directory: string, server: RunningApiServer, options: Partial<ApiServerOptions>) {
    this.directory = directory;
    this.#server = server;
    this.#options = options;
  }

  static async start(options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
    const directory = await mkdtemp(join(tmpdir(), 'mural-api-'));
    return new TestServer(directory, await launch(directory, options), options);
  }

  get url(): string {
    return this.#server.url;
  }

  /** Stops the server and starts another over the same state. */
  async restart(): Promise<void> {
    await this.#server.close();
    this.#server = await launch(this.directory, this.#options);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await this.#server.close();
    await rm(this.directory, { recursive: true });
  }

  async send(method: string, path: string, sending: Sending = {}): Promise<Reply> {
    const message = await this.#open(method, path, sending);
    const chunks: Buffer[] = [];
    for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const text = (message.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString(
      'utf8',
    );
    const json = message.headers['content-type']?.startsWith('application/json') === true;
    return {
      status: message.statusCode ?? 0,
      headers: message.headers,
      body: json ? JSON.parse(text) : text,
    };
  }

  async get(path: string, token?: string): Promise<Reply> {
    return await this.send('GET', path, token === undefined ? {} : { token });
  }

  async post(path: string, body: unknown, token?: string): Promise<Reply> {
    return await this.send('POST', path, token === undefined ? { body } : { body, token });
  }

  async put(path: string, body: unknown, token?: string): Promise<Reply> {
    return await this.send('PUT', path, token === undefined ? { body } : { body, token });
  }

  async patch(path: string, body: unknown, kind = 'merge-patch+json'): Promise<Reply> {
    return await this.send('PATCH', path, { body, type: `application/${kind}` });
  }

  async delete(path: string, body?: unknown): Promise<Reply> {
    return await this.send('DELETE', path, body === undefined ? {} : { body });
  }

  async watch(path: string, sending: Sending = {}): Promise<TestWatch> {
    const message = await this.#open('GET', path, sending);
    const lines = createInterface({ input: message })[Symbol.asyncIterator]();
    return {
      next: async () => {
        const line = await lines.next().catch(() => ({ done: true as const, value: '' }));
        return line.done === true ? undefined : JSON.parse(line.value);
      },
      stop: () => {
        message.destroy();
      },
    };
  }

  async #open(method: string, path: string, sending: Sending): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const { body } = sending;
    const raw = encoded(body);
    const headers = {
      authorization: `Bearer ${sending.token ?? 'admin-token'}`,
      ...(sending.accept === undefined ? {} : { accept: sending.accept }),
      ...(body === undefined
        ? {}
        : { 'content-type': sending.type ?? 'application/json', 'content-length': raw.length }),
      ...sending.headers,
    };
    const outgoing = request(`${this.url}${path}`, { method, headers, agent: this.#agent }, resolve);
    outgoing.once('error', reject);
    outgoing.end(raw);
    return await promise;
  }
}

function encoded(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body;
  if (body === undefined) return Buffer.alloc(0);
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

async function launch(directory: string, options: Partial<ApiServerOptions>): Promise<RunningApiServer> {
  return await startApiServer({
    dataDir: directory,
    port: 0,
    tls: certificate,
    ca: certificate.cert,
    tokens: TEST_TOKENS,
    encryptionKey: TEST_KEY,
    ...options,
  });
}

/** A ConfigMap to send. */
export function configMap(
  name: string,
  data: Readonly<Record<string, string>> = {},
  metadata: object = {},
): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...metadata }, data };
}

/** A CRD with a status and a scale, in group `example.com`. */
export function widgetCrd(): object {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          subresources: {
            status: {},
            scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
          },
          additionalPrinterColumns: [
            { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
            { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
          ],
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: {
                  type: 'object',
                  required: ['size'],
                  properties: {
                    size: { type: 'integer', minimum: 1 },
                    replicas: { type: 'integer', default: 1 },
                  },
                },
                status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
              },
            },
          },
        },
      ],
    },
  };
}

/** A Widget to send. */
export function widget(name: string, spec: object = { size: 1 }): object {
  return { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name }, spec };
}
