import { once } from 'node:events';
import { createServer, isIPv6 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { errorMessage, systemCode } from '@mural/core';
import { CliError } from '../errors.ts';

/** Something that listens: the flag is what the user can change. */
export interface ListenSpec {
  readonly flag: string;
  readonly listen: string;
  /** What the user can change the address with, `--listen` unless told. */
  readonly listenFlag?: string;
  readonly port: number;
}

/** What to say when an address cannot be listened on; other errors come back as they are. */
export function listenError(error: unknown, spec: ListenSpec): unknown {
  // What starts a server may say so in an error of its own.
  const code = systemCode(error instanceof Error ? error.cause : undefined) ?? systemCode(error);
  const { flag, listen, listenFlag = '--listen', port } = spec;
  if (code === 'EADDRINUSE') {
    return new CliError('AddressInUse', `port ${port} of ${listen} is in use by another program`, {
      hint: `choose another one with ${flag}, or 0 for any that is free`,
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES') {
    const why = code === 'EACCES' ? 'only root may' : 'this machine has no such address';
    return new CliError('AddressUnavailable', `cannot listen on ${listen}, port ${port}: ${why}`, {
      hint: `change ${listenFlag} or ${flag}`,
      cause: error,
    });
  }
  return error;
}

/**
 * Tries every address before anything is written, so that a port in use leaves no trace.
 *
 * @throws CliError `AddressInUse`, `AddressUnavailable`
 */
export async function probe(specs: readonly ListenSpec[]): Promise<void> {
  for (const spec of specs) {
    const server = createServer();
    try {
      server.listen(spec.port, spec.listen);
      await once(server, 'listening');
    } catch (error) {
      throw listenError(error, spec);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }
}

/** Runs `start`, and explains an address that it cannot listen on. */
export async function listening<T>(spec: ListenSpec, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    throw listenError(error, spec);
  }
}

/** Whether an address stands for every address of the machine. */
function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** The address that clients are told: the one listened on, or for all of them the first that others reach. */
export function advertisedAddress(listen: string, asked?: string): string {
  if (asked !== undefined) return asked;
  if (!isWildcard(listen)) return listen;
  return externalAddresses().find((address) => !isIPv6(address)) ?? '127.0.0.1';
}

/** Every name that the server certificate must cover. */
export function certificateNames(listen: string, advertised: string): string[] {
  const everywhere = isWildcard(listen) ? [hostname(), ...externalAddresses()] : [listen];
  return [...new Set(['localhost', '127.0.0.1', '::1', ...everywhere, advertised])];
}

/** `host:port`, with brackets where IPv6 needs them. */
export function hostPort(address: string, port: number | string): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The port of a URL that names one. */
export function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}

function externalAddresses(): string[] {
  try {
    return Object.values(networkInterfaces())
      .flat()
      .filter((entry) => entry !== undefined && !entry.internal && !entry.address.startsWith('fe80:'))
      .map((entry) => entry?.address ?? '');
  } catch (error) {
    throw new CliError(
      'AddressUnavailable',
      `cannot list the addresses of this machine: ${errorMessage(error)}`,
    );
  }
}
