import { type AddressInfo, isIP } from 'node:net';
import { type Clock, isLoopbackHost, type Logger, silentLogger, systemClock } from '@mural/core';
import { Access, type AccessOptions } from './auth/access.ts';
import { anonymousMayWrite } from './auth/caller.ts';
import type { RobotAccounts } from './auth/robots.ts';
import type { RegistryUser } from './auth/users.ts';
import { RegistrySetupError } from './errors.ts';
import { Administration } from './http/administration.ts';
import { createHandler } from './http/handler.ts';
import {
  checkMaintenance,
  Maintenance,
  type MaintenanceOptions,
  type RegistryMaintenance,
} from './maintenance/maintenance.ts';
import { compileQuotas } from './maintenance/rules.ts';
import { checkEvents, type EventOptions } from './ops/event-options.ts';
import { type EventAction, type EventListener, Events } from './ops/events.ts';
import { type MetricsOptions, Operations, type OperationsParts } from './ops/operations.ts';
import { TOLD, Webhooks } from './ops/webhooks.ts';
import { Mirrors } from './mirror/mirrors.ts';
import { compileMirrors, type MirrorOptions } from './mirror/options.ts';
import type { Disk } from './store/disk.ts';
import { Store } from './store/store.ts';
import type { UploadLimits } from './store/uploads.ts';
import { Tls, type TlsMaterial } from './tls.ts';
import { Front } from './wire/front.ts';

/** How {@link startRegistry} sets a registry up. */
export interface RegistryOptions extends AccessOptions {
  /** Folder for all data; created if need be, and used by one registry at a time. */
  readonly dataDir: string;
  /** Address to listen on, `127.0.0.1` unless told. */
  readonly listen?: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Without it the registry speaks plain HTTP, which only a loopback address allows. */
  readonly tls?: TlsMaterial;
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
  /** What is collected, kept and scrubbed, and when. */
  readonly maintenance?: MaintenanceOptions;
  /** Where metrics are served, beside `/metrics` for administrators. */
  readonly metrics?: MetricsOptions;
  /** Who is told what happens. */
  readonly events?: EventOptions;
  /** Registries whose repositories are had here on demand; the first that fits a name is its mirror. */
  readonly mirrors?: readonly MirrorOptions[];
  /** How long content that a client was told of is kept from collections, in milliseconds; 15 minutes unless told. */
  readonly useMs?: number;
  /** Take manifests whose blobs were never pushed; they are refused unless told (MANIFEST_BLOB_UNKNOWN). */
  readonly sparseManifests?: boolean;
  /** How long a connection may be silent in the middle of a request, in milliseconds; 2 minutes unless told. */
  readonly idleTimeoutMs?: number;
  /** How long the headers of a request may take, in milliseconds; 20 seconds unless told. */
  readonly headersTimeoutMs?: number;
  /** The file system of the machine unless told. */
  readonly disk?: Disk;
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
  /**
   * Replaces all users by these. What is remembered of the ones that stay as they are stays good.
   *
   * @throws RegistrySetupError `UserInvalid`, `PolicyInvalid`, and then nothing has changed
   */
  setUsers(users: readonly RegistryUser[]): Promise<void>;
  /** Accounts with generated secrets, kept in the data folder. */
  readonly robots: RobotAccounts;
  /** Work on what is stored, done while the registry serves. */
  readonly maintenance: RegistryMaintenance;
  /** Where metrics and health have a listener of their own, as `http://127.0.0.1:9090`; absent without one. */
  readonly metricsUrl: string | undefined;
  /**
   * Calls `listener` for everything that happens to content, in the order in which it happens and
   * before its request is answered; it must not block.
   *
   * @param actions `push`, `delete` and `mount` unless told
   * @returns what ends it
   */
  onEvent(listener: EventListener, actions?: readonly EventAction[]): () => void;
  /** Signs tokens with another key from now on; those of the one before stay good until they end. */
  rotateTokenKey(): void;
  /**
   * Uses another certificate for connections from now on, and other authorities for those of clients
   * where `clientCa` is given: a connection that was opened before then has no certificate any more.
   */
  setTls(tls: TlsMaterial & { readonly clientCa?: string }): void;
  /** Finishes what is running, for 5 seconds at most, and gives the folder up. */
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
const UPLOADS: UploadLimits = {
  perRepository: 1000,
  total: 4000,
  idleMs: 24 * 3_600_000,
  ageMs: 7 * 24 * 3_600_000,
  bytes: 1024 ** 4,
};
const USE_MS = 15 * 60_000;

/**
 * Starts the embedded registry: distribution-spec 1.1 with the end points of its main branch.
 *
 * @throws RegistrySetupError `MirrorInvalid`; `ListenInsecure` for plain HTTP or anonymous writes on an address that is
 *   not loopback, and for client certificates without TLS; `ListenFailed`, `DataDirectoryInUse`,
 *   `DataDirectoryInvalid`; `UserInvalid` and what else says that access cannot be set up so
 */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const listen = options.listen ?? '127.0.0.1';
  requireSafe(options, listen);
  checkMaintenance(options.maintenance ?? {});
  checkEvents(options.events);
  const mirrored = compileMirrors(options.mirrors ?? []);
  const clock = options.clock ?? systemClock;
  const log = options.log ?? silentLogger;
  const store = await openStore(options, clock, log);
  const access = await openAccess(options, { clock, log, store });
  const events = new Events({ clock, log });
  const maintenance = new Maintenance({
    ...{ store, clock, log, options: options.maintenance ?? {} },
    collected: (report) => events.collected(report),
  });
  const administration = new Administration({ maintenance, robots: access.robots, clock, log });
  const protect = options.maintenance?.protect;
  const mirrors =
    mirrored.length === 0 ? undefined : new Mirrors({ store, mirrors: mirrored, clock, log, protect });
  const { operations, webhooks } = await openOperations(options, {
    ...{ store, access, clock, log, events, totals: maintenance.totals },
    mirrors: () => mirrors?.states ?? [],
  });
  const handler = createHandler({
    ...{ mirrors, administration, operations, events, store, access, clock },
    sparseManifests: options.sparseManifests ?? false,
    log,
    accessLog: options.accessLog ?? silentLogger,
  });
  const front = new Front({
    serve: handler,
    tls: tlsOf(options),
    secured: (socket) => access.opened(socket),
    now: () => clock.now(),
    headersMs: options.headersTimeoutMs,
    idleMs: options.idleTimeoutMs,
  });
  try {
    await front.listen(listen, options.port);
  } catch (error) {
    await operations.close();
    await webhooks.close();
    await access.close();
    await store.close();
    throw error;
  }
  maintenance.start();
  await mirrors?.start();
  const host = hostOf(front.address, listen);
  webhooks.start(host);
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    host,
    setUser: async (user) => access.setUser(user),
    removeUser: async (name) => access.users.remove(name),
    setUsers: async (users) => access.setUsers(users),
    robots: access.robots,
    maintenance,
    metricsUrl: operations.url,
    onEvent: (listener, actions = TOLD) => events.subscribe(actions, listener),
    rotateTokenKey: () => access.tokens?.rotate(),
    setTls: (material) => {
      if (front.setTls(material)) access.certificates.forgetAll();
    },
    close: async () => {
      operations.health.stopping();
      await front.close(() => mirrors?.stop());
      await mirrors?.close();
      await administration.close();
      await maintenance.stop();
      await operations.close();
      await webhooks.close();
      await access.close();
      await store.close();
    },
  };
}

function tlsOf({ tls, clientCertificates }: RegistryOptions): Tls | undefined {
  return tls === undefined ? undefined : new Tls(tls, clientCertificates);
}

function openStore(options: RegistryOptions, clock: Clock, log: Logger): Promise<Store> {
  return Store.open({
    dataDir: options.dataDir,
    clock,
    log,
    manifestCacheBytes: options.manifestCacheBytes ?? 64 * MIB,
    blobCacheBytes: options.blobCacheBytes ?? 48 * MIB,
    minFreeBytes: options.minFreeBytes ?? 4 * MIB,
    uploads: { ...UPLOADS, ...options.uploads },
    useMs: options.useMs ?? USE_MS,
    quotas: compileQuotas(options.maintenance?.quotas ?? []),
    ...(options.disk === undefined ? {} : { disk: options.disk }),
  });
}

/** Gives the folder up again when the users cannot be used. */
async function openAccess(
  options: RegistryOptions,
  { clock, log, store }: { readonly clock: Clock; readonly log: Logger; readonly store: Store },
): Promise<Access> {
  try {
    return Access.open(options.dataDir, options, clock, log);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/**
 * Opens what events wait in and where metrics are served. Gives everything up again when that fails.
 *
 * @throws RegistrySetupError `ListenFailed`, `DataDirectoryInvalid`
 */
async function openOperations(
  { dataDir, metrics = {}, events: told = {} }: RegistryOptions,
  opened: Omit<OperationsParts, 'metrics' | 'endpoints'> & { readonly events: Events },
): Promise<{ operations: Operations; webhooks: Webhooks }> {
  const { events, ...parts } = opened;
  const { clock, log, access, store } = parts;
  let webhooks: Webhooks | undefined;
  try {
    const endpoints = told.endpoints ?? [];
    const sending = new Webhooks({ dataDir, endpoints, events, clock, log, random: Math.random });
    webhooks = sending;
    const operations = new Operations({ ...parts, metrics, endpoints: () => sending.states });
    await operations.listen();
    return { operations, webhooks };
  } catch (error) {
    await webhooks?.close();
    await access.close();
    await store.close();
    throw error;
  }
}

function requireSafe(options: RegistryOptions, listen: string): void {
  if (options.clientCertificates !== undefined && options.tls === undefined) {
    throw new RegistrySetupError('ListenInsecure', 'Client certificates need TLS.', { facts: { listen } });
  }
  if (isLoopbackHost(listen)) return;
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
  if (anonymousMayWrite(options.anonymous ?? 'none')) {
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

function hostOf(address: AddressInfo | undefined, listen: string): string {
  const port = address?.port ?? 0;
  const name = listen === '0.0.0.0' || listen === '::' ? '127.0.0.1' : listen;
  return isIP(name) === 6 ? `[${name}]:${port}` : `${name}:${port}`;
}
