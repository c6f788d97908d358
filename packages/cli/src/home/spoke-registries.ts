import { jsonEqual } from '@mural/core';
import {
  type MigrationState,
  registryPartHash,
  sideOf,
  type SpokeAccounts,
  type SpokeRegistrySettings,
} from '@mural/hub';
import type { Spoke } from '@mural/kube';
import type { RegistryLogin } from '@mural/oci';
import type { Values } from '@mural/values';
import type { RegistryDirectory } from './directory.ts';
import type { OpenedRegistry } from './opened-registry.ts';
import { settingsOf, siteLogin } from './registry-choice.ts';

/** A registry with the values that chose it. */
export interface RegistryEnd {
  readonly values: Values;
  readonly registry: OpenedRegistry;
}

/** A spoke of no name: what holds for those that nothing is said of. */
const ANY = '';

/**
 * Which registry each spoke is told to read: that of the values in force, and while a migration is
 * under way that of its side, so that a spoke whose turn has not come stays where it is.
 */
export class SpokeRegistries {
  /** The first is that of the values in force. */
  readonly ends: readonly RegistryEnd[];
  readonly #current: RegistryEnd;
  readonly #migration: MigrationState | undefined;
  readonly #hashes: ReadonlyMap<RegistryEnd, string>;

  constructor(ends: readonly [RegistryEnd, ...RegistryEnd[]], migration: MigrationState | undefined) {
    this.ends = ends;
    this.#current = ends[0];
    this.#migration = migration;
    this.#hashes = new Map(ends.map((end) => [end, registryPartHash(end.values)]));
  }

  /** Each repository once, in the order in which the hub is given them. */
  get registries(): readonly OpenedRegistry[] {
    const byUrl = new Map<string, OpenedRegistry>();
    for (const { registry } of this.ends) {
      if (!byUrl.has(registry.hub.url)) byUrl.set(registry.hub.url, registry);
    }
    return [...byUrl.values()];
  }

  /** The registry that a spoke is told of, unless its own object names another. */
  endOf(spoke: string): RegistryEnd {
    const side = sideOf(this.#migration, spoke);
    if (side === undefined || this.#migration === undefined) return this.#current;
    const { url, valuesHash } = this.#migration[side];
    return (
      this.ends.find((end) => this.#hashes.get(end) === valuesHash) ??
      this.ends.find((end) => end.registry.hub.url === url) ??
      this.#current
    );
  }

  /** How a spoke reaches its registry. */
  settingsOf(spoke: Spoke): SpokeRegistrySettings {
    return settingsOf(this.endOf(spoke.metadata.name ?? ANY).registry.directory, spoke);
  }

  #siteLogin(spoke: string): RegistryLogin | undefined {
    const { values, registry } = this.endOf(spoke);
    return siteLogin(values, spoke, registry.hub.client.registry);
  }

  /** What new spokes are told. */
  get directory(): RegistryDirectory {
    const { fleet } = this.endOf(ANY).registry.directory;
    const names = new Set([
      ...(this.#migration?.switched ?? []),
      ...this.ends.flatMap(({ registry }) => Object.keys(registry.directory.spokes)),
    ]);
    const spokes = [...names]
      .map((name) => [name, baseOf(this.endOf(name).registry.directory, name)] as const)
      .filter(([, settings]) => !jsonEqual(settings, fleet));
    const sites = this.#current.values.fleetConfig.spokes.flatMap(({ name }) => {
      const login = this.#siteLogin(name);
      return login === undefined ? [] : [[name, login.host] as const];
    });
    return { fleet, spokes: Object.fromEntries(spokes), logins: Object.fromEntries(sites) };
  }

  /** The accounts of spokes, each in the registry that its spoke reads. */
  get accounts(): SpokeAccounts {
    return {
      ensure: async (spoke, host) => {
        const { registry } = this.endOf(spoke);
        // The account in one registry is never shown to another.
        if (host === registry.hub.client.registry) return registry.accounts.ensure(spoke, host);
        const login = this.#siteLogin(spoke);
        return login?.host === host ? login.credential : undefined;
      },
      others: async (spoke, host) => {
        const logins: RegistryLogin[] = [];
        for (const { accounts, hub } of this.registries) {
          const other = hub.client.registry;
          if (other === host || logins.some((login) => login.host === other)) continue;
          const credential = await accounts.ensure(spoke, other);
          if (credential !== undefined) logins.push({ host: other, credential });
        }
        return logins;
      },
      remove: async (spoke) => {
        for (const { accounts } of this.registries) await accounts.remove(spoke);
      },
    };
  }
}

function baseOf(directory: RegistryDirectory, spoke: string): SpokeRegistrySettings {
  return directory.spokes[spoke] ?? directory.fleet;
}
