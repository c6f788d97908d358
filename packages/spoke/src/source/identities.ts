import type { Clock, Logger, ProcessEnvironment, Random } from '@mural/core';
import { cloudCredentials, type CloudProvider, type CredentialProvider } from '@mural/oci';

/** Whose token is wanted, and for which registry. */
export interface CloudIdentity {
  readonly provider: CloudProvider;
  /** The host of the registry, in lower case. */
  readonly registry: string;
  /** AWS: the role of the source's service account; the controller's own identity unless given. */
  readonly roleArn: string | undefined;
}

/** What tokens are fetched with. */
export interface CloudIdentitiesOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly environment: ProcessEnvironment;
}

const MAX_IDENTITIES = 256;

/**
 * One provider for each registry and identity, shared by all sources and kept from run to run, so that a
 * token is fetched once for all of them. The one used longest ago goes when there are too many.
 */
export class CloudIdentities {
  readonly #options: CloudIdentitiesOptions;
  readonly #providers = new Map<string, CredentialProvider>();

  constructor(options: CloudIdentitiesOptions) {
    this.#options = options;
  }

  /** @throws OciError `ProviderMismatch` when the registry is not one of the provider's */
  get(identity: CloudIdentity): CredentialProvider {
    const key = identityKey(identity);
    const known = this.#providers.get(key) ?? cloudCredentials({ ...this.#options, ...identity });
    this.#providers.delete(key);
    this.#providers.set(key, known);
    for (const oldest of this.#providers.keys()) {
      if (this.#providers.size <= MAX_IDENTITIES) break;
      this.#providers.delete(oldest);
    }
    return known;
  }
}

/** Names an identity; it holds no secret. */
export function identityKey({ provider, registry, roleArn }: CloudIdentity): string {
  return JSON.stringify([provider, registry, roleArn]);
}
