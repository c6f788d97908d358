import { createHash } from 'node:crypto';
import type { Clock, Logger, ProcessEnvironment, Random } from '@mural/core';
import { type Credential, type CredentialProvider, RegistryClient } from '@mural/oci';

/** Credentials of a cloud: a provider, and what tells it from others. */
export interface CloudAccess {
  readonly key: string;
  readonly credentials: CredentialProvider;
}

/** Everything that a connection to a registry depends on. */
export interface RegistryAccess {
  readonly registry: string;
  readonly credential: Credential | undefined;
  /** In place of a credential. */
  readonly cloud?: CloudAccess | undefined;
  readonly ca: string | undefined;
  readonly insecure: boolean;
}

/** What every client of the pool is made with. */
export interface ClientPoolOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Where the proxy is looked up. */
  readonly environment: ProcessEnvironment;
}

const MAX_CLIENTS = 32;

/**
 * Registry clients by what they connect to and as whom, so that all sources of one registry share open
 * connections and tokens. The one used longest ago goes when there are too many.
 */
export class ClientPool {
  readonly #options: ClientPoolOptions;
  readonly #clients = new Map<string, RegistryClient>();

  constructor(options: ClientPoolOptions) {
    this.#options = options;
  }

  /** The client for this access: the same one as before as long as nothing about it changed. */
  get(access: RegistryAccess): RegistryClient {
    const key = keyOf(access);
    const client = this.#clients.get(key) ?? this.#create(access);
    this.#clients.delete(key);
    this.#clients.set(key, client);
    for (const [oldest, other] of this.#clients) {
      if (this.#clients.size <= MAX_CLIENTS) break;
      this.#clients.delete(oldest);
      this.#retire(other);
    }
    return client;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map(async (client) => client.close()));
    this.#clients.clear();
  }

  #create({ registry, credential, cloud, ca, insecure }: RegistryAccess): RegistryClient {
    return new RegistryClient({
      registry,
      insecure,
      credentials: credential ?? cloud?.credentials,
      ...(ca === undefined ? {} : { ca }),
      clock: this.#options.clock,
      random: this.#options.random,
      log: this.#options.log,
      environment: this.#options.environment,
    });
  }

  #retire(client: RegistryClient): void {
    client.close().catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'a registry client did not close');
    });
  }
}

/** A digest, so that the key of a map holds no password. */
function keyOf({ registry, credential, cloud, ca, insecure }: RegistryAccess): string {
  const facts = [registry, insecure, credential?.username, credential?.password, cloud?.key, ca];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
}
