import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import { type Clock, type Logger, silentLogger, systemClock } from '@mural/core';
import { type AnonymousAccess, type RegistryUser, Users } from './auth/users.ts';
import { RegistrySetupError } from './errors.ts';
import { createHandler, type Handler } from './http/handler.ts';
import { Store } from './store/store.ts';
import type { UploadLimits } from './store/uploads.ts';

/** A certificate with what is needed of its chain, and its key, as PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
}

/** How {@link startRegistry} sets a registry up. */
export interface RegistryOptions {
  /** Folder for all data; created if need be, and used by one registry at a time. */
  readonly dataDir: string;
  /** Address to listen on, `127.0.0.1` unless told. */
  readonly listen?: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Without it the registry speaks plain HTTP, which only a loopback address allows. */
  readonly tls?: TlsMaterial;
  readonly users?: readonly RegistryUser[];
  /** What is open to those without credentials, `none` unless told; `push` only on a loopback address. */
  readonly anonymous?: AnonymousAccess;
  readonly log?: Logger;
  /** Takes one line for each request. */
  readonly accessLog?: Logger;
  readonly clock?: Clock;
  /** Bytes of manifests kept in memory, 64 MiB unless told. */
  readonly manifestCacheBytes?: number;
  /** Bytes of small blobs kept in memory, 48 MiB unless told. */
  readonly blobCacheBytes?: number;
  /** Bytes on the disk that blobs leave free for metadata, 4 MiB unless told. */
  readonly minFreeBytes?: number;
  readonly uploads?: Partial<UploadLimits>;
  /** Take manifests whose blobs were never pushed; they are refused unless told (MANIFEST_BLOB_UNKNOWN). */
  readonly sparseManifests?: boolean;
  /** How long a connection may be silent in the middle of a request, in milliseconds; 2 minutes unless told. */
  readonly idleTimeoutMs?: number;
}

/** A registry that serves. */
export interface RunningRegistry {
  /** `https://127.0.0.1:5000`, or with `http` where there is no TLS. */
  readonly url: string;
  /** `127.0.0.1:5000`, as it stands in references. */
  readonly host: string;
  /** Adds a user or replaces the one of that name; users live as long as the process. */
  setUser(user: RegistryUser): Promise<void>;
  removeUser(name: string): Promise<void>;
  /** Uses another certificate for connections from now on. */
  setTls(tls: TlsMaterial): void;
  /** Finishes what is running, for 5 seconds at most, and gives the folder up. */
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
const UPLOADS: UploadLimits = { perRepository: 1000, total: 4000, idleMs: 24 * 3_600_000 };
const USE_MS = 15 * 60_000;
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 20_000;
const IDLE_MS = 120_000;
const DRAIN_MS = 5_000;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 20_000;

/**
 * Starts the embedded registry: distribution-spec 1.1 with the end points of its main branch.
 *
 * @throws RegistrySetupError `ListenInsecure` for plain HTTP or `anonymous: 'push'` on an address
 *   that is not loopback, `ListenFailed`, `DataDirectoryInUse`, `DataDirectoryInvalid`, `UserInvalid`
 */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const listen = options.listen ?? '127.0.0.1';
  requireSafe(options, listen);
  const clock = options.clock ?? systemClock;
  const log = options.log ?? silentLogger;
  const users = new Users(clock, options.anonymous ?? 'none');
  for (const user of options.users ?? []) users.set(user);
  const store = await Store.open({
    dataDir: options.dataDir,
    clock,
    log,
    manifestCacheBytes: options.manifestCacheBytes ?? 64 * MIB,
    blobCacheBytes: options.blobCacheBytes ?? 48 * MIB,
    minFreeBytes: options.minFreeBytes ?? 4 * MIB,
    uploads: { ...UPLOADS, ...options.uploads },
    useMs: USE_MS,
  });
  const handler = createHandler({
    store,
    users,
    clock,
    sparseManifests: options.sparseManifests ?? false,
    log,
    accessLog: options.accessLog ?? silentLogger,
  });
  const active = new ActiveRequests(handler);
  const server = serve(active.handler, options);
  try {
    await listenOn(server, listen, options.port);
  } catch (error) {
    await store.close();
    throw new RegistrySetupError('ListenFailed', 'The registry cannot listen on this address.', {
      cause: error,
      facts: { listen, port: options.port },
    });
  }
  const host = hostOf(server.address(), listen);
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    host,
    setUser: async (user) => users.set(user),
    removeUser: async (name) => users.remove(name),
    setTls: (tls) => {
      if ('setSecureContext' in server) server.setSecureContext({ ...tls });
    },
    close: async () => {
      await shutDown(server, active);
      await users.close();
      await store.close();
    },
  };
}

/** Counts what is running, so that the store is closed after the last request and not under it. */
class ActiveRequests {
  readonly handler: Handler;
  readonly #running = new Set<Promise<void>>();

  constructor(handler: Handler) {
    this.handler = async (request, response, options) => {
      const running = handler(request, response, options);
      this.#running.add(running);
      await running;
      this.#running.delete(running);
    };
  }

  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }
}

function serve(handler: Handler, options: RegistryOptions): Server | TlsServer {
  const settings = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    // Of a whole request: a large layer over a slow link takes as long as it takes, but never falls silent.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    highWaterMark: 256 * 1024,
  };
  const server =
    options.tls === undefined
      ? createServer(settings)
      : createTlsServer({ ...settings, ...options.tls, minVersion: 'TLSv1.2' });
  server.timeout = options.idleTimeoutMs ?? IDLE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request, response) => void handler(request, response));
  server.on(
    'checkContinue',
    (request, response) => void handler(request, response, { expectsContinue: true }),
  );
  return server;
}

async function listenOn(server: Server | TlsServer, listen: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  server.once('error', reject);
  server.listen({ host: listen, port }, () => resolve(undefined));
  await promise;
  server.off('error', reject);
}

async function shutDown(server: Server | TlsServer, active: ActiveRequests): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const force = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await closed;
  clearTimeout(force);
  await active.ended();
}

function requireSafe(options: RegistryOptions, listen: string): void {
  if (isLoopback(listen)) return;
  const facts = { listen };
  if (options.tls === undefined) {
    throw new RegistrySetupError(
      'ListenInsecure',
      'Without TLS the registry listens on loopback addresses only.',
      {
        facts,
        hint: 'Give it a certificate, or listen on 127.0.0.1.',
      },
    );
  }
  if (options.anonymous === 'push') {
    throw new RegistrySetupError(
      'ListenInsecure',
      'Anonymous pushes are allowed on loopback addresses only.',
      {
        facts,
        hint: 'Give the registry users, or listen on 127.0.0.1.',
      },
    );
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(listen: string): boolean {
  const family = isIP(listen);
  if (family === 0) return listen === 'localhost';
  return LOOPBACK.check(listen, family === 6 ? 'ipv6' : 'ipv4');
}

function hostOf(address: AddressInfo | string | null, listen: string): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const name = listen === '0.0.0.0' || listen === '::' ? '127.0.0.1' : listen;
  return isIP(name) === 6 ? `[${name}]:${port}` : `${name}:${port}`;
}
