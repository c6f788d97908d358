import { rfc3339 } from '@mural/core';
import { RegistryError } from '../errors.ts';
import { hasBlob, hasManifest } from '../mirror/repository.ts';
import type { Digest } from '../names.ts';
import type { Lease, LeaseKey, LeaseQuery } from '../store/leases.ts';
import type { Store } from '../store/store.ts';

/** A lease as it is told to others: its time is in RFC 3339. */
export interface LeaseDocument extends Omit<Lease, 'until'> {
  readonly until: string;
}

/** What is told of a lease. */
export function leaseDocument({ repository, digest, holder, until }: Lease): LeaseDocument {
  return { repository, digest, holder, until: rfc3339(until) };
}

/** Which leases of a holder {@link RegistryLeases.remove} ends: one, or all in a repository. */
export interface LeasesOfHolder extends Omit<LeaseKey, 'digest'> {
  readonly digest?: Digest | undefined;
}

/** The leases of a registry. */
export interface RegistryLeases {
  /** Those that last, by repository, digest and holder. */
  list(query: LeaseQuery): Lease[];
  /**
   * Sets a lease, in place of the one that the holder has on this content; content that is not there
   * cannot be held. No collection comes between the look and the lease.
   *
   * @throws RegistryError `NameUnknown`, `ManifestUnknown`
   */
  set(lease: Lease): Promise<void>;
  /** @returns how many there were */
  remove(which: LeasesOfHolder): Promise<number>;
}

/** The leases in a store. */
export function leasesOf(store: Store): RegistryLeases {
  const { leases } = store.metadata.holds;
  return {
    list: (query) => leases.page(query),
    set: async (lease) => {
      requireContent(store, lease);
      leases.set(lease);
      await store.database.durable();
    },
    remove: async (which) => {
      const removed = leases.remove(which);
      if (removed > 0) await store.database.durable();
      return removed;
    },
  };
}

function requireContent(store: Store, { repository: name, digest }: Lease): void {
  if (store.metadata.repository(name) === undefined) {
    throw new RegistryError('NameUnknown', 'The registry has no such repository.', { facts: { name } });
  }
  if (hasManifest(store, name, digest) || hasBlob(store, name, digest)) return;
  throw new RegistryError('ManifestUnknown', 'The repository has no manifest and no blob of this digest.', {
    facts: { name, digest },
  });
}
