import { type Clock, errorMessage, type Logger } from '@mural/core';
import { ensureCertificates, type KeyPair } from './certificates.ts';

const INTERVAL_MS = 12 * 3_600_000;

/** How a server certificate is kept from expiring. */
export interface RenewalOptions {
  readonly folder: string;
  readonly names: readonly string[];
  readonly current: KeyPair;
  /** Puts a new pair to use for connections from then on. */
  readonly use: (pair: KeyPair) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Looks twice a day whether the server certificate is due, for as long as the process runs.
 *
 * @returns how it is stopped
 */
export function startRenewal(options: RenewalOptions): () => void {
  const stop = new AbortController();
  void renew(options, stop.signal);
  return () => stop.abort();
}

async function renew(options: RenewalOptions, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  let { cert } = options.current;
  for (;;) {
    try {
      await clock.sleep(INTERVAL_MS, signal);
    } catch {
      return;
    }
    try {
      const { server } = await ensureCertificates(options.folder, options.names, clock);
      if (server.cert === cert) continue;
      options.use(server);
      cert = server.cert;
      log.info('server certificate renewed');
    } catch (error) {
      log.error({ error: errorMessage(error) }, 'server certificate could not be renewed');
    }
  }
}
