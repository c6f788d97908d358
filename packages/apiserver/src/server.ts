import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Clock, type Logger, MuralError, type Random, silentLogger, systemClock } from '@mural/core';
import type { Api } from './api.ts';
import { Authorizer } from './auth/rbac.ts';
import { TokenAuthority } from './auth/tokens.ts';
import { Authenticator, type StaticToken } from './auth/users.ts';
import { bootstrap } from './bootstrap.ts';
import { startRoleAggregation } from './controllers/aggregated-roles.ts';
import { startCustomResourceController } from './controllers/custom-resources.ts';
import { startEventExpiry } from './controllers/event-expiry.ts';
import { startGarbageCollector } from './controllers/garbage.ts';
import { startNamespaceController } from './controllers/namespaces.ts';
import { startServiceAccountController } from './controllers/service-accounts.ts';
import { Router } from './http/router.ts';
import type { LogSource } from './logs.ts';
import { Resources } from './resources/registry.ts';
import { builtinSchemas } from './schema/index.ts';
import { Database } from './storage/database.ts';
import { createSeal } from './storage/seal.ts';
import { Store } from './storage/store.ts';

/** How a server is started. */
export interface ApiServerOptions {
  /** The folder of the state; made, readable to the owner alone, when it is not there. */
  readonly dataDir: string;
  /** The address to listen on, 127.0.0.1 unless told. */
  readonly listen?: string;
  /** The port to listen on; 0 for any free one. */
  readonly port: number;
  /** The certificate and key of the server, as PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** The PEM that clients trust, for the Secrets of service accounts. */
  readonly ca: string;
  /** Tokens that are known from the start. */
  readonly tokens: readonly StaticToken[];
  /** 32 bytes that Secrets are encrypted with at rest (AES-256-GCM). */
  readonly encryptionKey: Buffer;
  /** Where the logs of pods come from. */
  readonly readLog?: LogSource;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
}

/** A server that listens. */
export interface RunningApiServer {
  /** `https://host:port` */
  readonly url: string;
  /** Puts a new certificate to use for connections from then on. */
  setTls(tls: ApiServerOptions['tls']): void;
  /** Ends watches, finishes writes, closes the state. */
  close(): Promise<void>;
}

/** Longer than the 90 s for which client-go keeps idle connections, so that it is the client that lets go. */
const KEEP_ALIVE_MS = 120_000;
/** How long a request may take to arrive whole. */
const REQUEST_MS = 60_000;
const HEADERS_MS = 15_000;
const HEADER_BYTES = 64 * 1024;
/** Every watch of an HTTP/1.1 client has a connection of its own. */
const CONNECTIONS = 10_000;
/** How long running requests are waited for when the server closes. */
const GRACE_MS = 3000;

/**
 * Starts the embedded Kubernetes API over the state in `dataDir`.
 *
 * @throws MuralError `ListenFailed` when the address cannot be had, `StoreUnreadable` when the
 *   encryption key does not fit the state
 */
export async function startApiServer(options: ApiServerOptions): Promise<RunningApiServer> {
  const { clock = systemClock, random = Math.random, log = silentLogger } = options;
  const store = new Store(new Database(options.dataDir, createSeal(options.encryptionKey)));
  try {
    await bootstrap(store, clock);
    const tokens = await TokenAuthority.open(options.dataDir, store, clock);
    const api: Api = {
      store,
      resources: new Resources(store, builtinSchemas()),
      authorizer: new Authorizer(store),
      tokens,
      readLog: options.readLog,
      ca: options.ca,
      clock,
      random,
      log,
    };
    return await serve(api, new Authenticator(options.tokens, tokens), options);
  } catch (error) {
    store.close();
    throw error;
  }
}

async function serve(
  api: Api,
  authenticator: Authenticator,
  options: ApiServerOptions,
): Promise<RunningApiServer> {
  const stop = new AbortController();
  const router = new Router(api, authenticator, stop.signal);
  const handle = (message: IncomingMessage, response: ServerResponse): void => {
    void router.handle(message, response);
  };
  const server = createServer({ ...options.tls, maxHeaderSize: HEADER_BYTES, minVersion: 'TLSv1.2' }, handle);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = HEADERS_MS;
  server.maxConnections = CONNECTIONS;
  const host = options.listen ?? '127.0.0.1';
  await listen(server, host, options.port);
  const controllers = [
    startNamespaceController(api),
    startCustomResourceController(api),
    startGarbageCollector(api),
    startServiceAccountController(api),
    startRoleAggregation(api),
    startEventExpiry(api),
  ];
  const { port } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    stop.abort();
    await shut(server, api.clock);
    for (const controller of controllers) await controller.stop();
    api.store.close();
  };
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    setTls: ({ cert, key }) => server.setSecureContext({ cert, key, minVersion: 'TLSv1.2' }),
    close: () => (closing ??= close()),
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  server.once('error', reject);
  server.listen(port, host, () => resolve(undefined));
  try {
    await promise;
  } catch (cause) {
    throw new MuralError('ListenFailed', `cannot listen on ${host}:${port}`, {
      cause,
      facts: { host, port },
    });
  }
  server.removeListener('error', reject);
}

async function shut(server: Server, clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  server.close(() => resolve(undefined));
  server.closeIdleConnections();
  const patience = new AbortController();
  void clock.sleep(GRACE_MS, patience.signal).then(
    () => server.closeAllConnections(),
    () => undefined,
  );
  await promise;
  patience.abort();
}
