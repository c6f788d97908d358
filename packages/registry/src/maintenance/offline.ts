import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, type Logger, silentLogger, systemClock } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { Store } from '../store/store.ts';
import { leasesOf, type RegistryLeases } from './leases.ts';
import { Maintenance, type MaintenanceOptions, type RegistryMaintenance } from './maintenance.ts';

/** The data folder of a registry that does not run. */
export interface RegistryData extends RegistryMaintenance {
  readonly leases: RegistryLeases;
  close(): Promise<void>;
}

/** How {@link openRegistryData} opens a folder. */
export interface RegistryDataOptions {
  readonly dataDir: string;
  readonly maintenance?: MaintenanceOptions;
  readonly log?: Logger;
  readonly clock?: Clock;
}

const MIB = 1024 * 1024;

/**
 * Opens the data folder of a registry that does not run, to look after it. Nobody was told of
 * anything that has to hold beyond the grace period, since no client is served.
 *
 * @throws RegistrySetupError `DataDirectoryInUse` while a registry runs on it, `DataDirectoryMissing`
 *   where there is none, `DataDirectoryInvalid`, `RulesInvalid`
 */
export async function openRegistryData(options: RegistryDataOptions): Promise<RegistryData> {
  const { dataDir, clock = systemClock, log = silentLogger } = options;
  if (!existsSync(join(dataDir, 'metadata.db'))) {
    throw new RegistrySetupError('DataDirectoryMissing', 'There is no registry in this folder.', {
      facts: { directory: dataDir },
    });
  }
  const forever = Number.MAX_SAFE_INTEGER;
  const store = await Store.open({
    ...{ dataDir, clock, log, useMs: 0, minFreeBytes: 0 },
    manifestCacheBytes: 16 * MIB,
    blobCacheBytes: MIB,
    uploads: {
      perRepository: 0,
      total: 0,
      idleMs: 24 * 3_600_000,
      ageMs: 7 * 24 * 3_600_000,
      bytes: forever,
    },
  });
  try {
    const maintenance = new Maintenance({ store, clock, log, options: options.maintenance ?? {} });
    return {
      setRules: (rules) => maintenance.setRules(rules),
      leases: leasesOf(store),
      lease: (...args) => maintenance.lease(...args),
      collect: (...args) => maintenance.collect(...args),
      scrub: (...args) => maintenance.scrub(...args),
      verify: (...args) => maintenance.verify(...args),
      stats: () => maintenance.stats(),
      state: () => maintenance.state(),
      backup: (...args) => maintenance.backup(...args),
      close: async () => {
        await maintenance.stop();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}
