import { randomBytes } from 'node:crypto';
import { isRecord, jsonEqual } from '@mural/core';
import type { SpokeAccounts } from '@mural/hub';
import type { Credential } from '@mural/oci';
import type { RunningRegistry } from '@mural/registry';
import { readIfPresent, writePrivate } from './secrets.ts';

/** The name of a spoke's account in the embedded registry. */
export function readerName(spoke: string): string {
  return `spoke-${spoke}`;
}

/**
 * The accounts of the spokes in the embedded registry: each can read the workloads and do nothing
 * else. Their passwords are in a file of the data folder, so that they outlive a restart.
 */
export class Readers implements SpokeAccounts {
  readonly #registry: RunningRegistry;
  readonly #path: string;
  #repositories: readonly string[];
  readonly #passwords: Map<string, string>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    registry: RunningRegistry,
    options: { readonly path: string; readonly repositories: readonly string[] },
    passwords: Map<string, string>,
  ) {
    this.#registry = registry;
    this.#path = options.path;
    this.#repositories = options.repositories;
    this.#passwords = passwords;
  }

  /** Opens the accounts and makes them known to the registry. */
  static async open(
    registry: RunningRegistry,
    options: { readonly path: string; readonly repositories: readonly string[] },
  ): Promise<Readers> {
    const stored: unknown = JSON.parse((await readIfPresent(options.path)) ?? '{}');
    const entries = Object.entries(isRecord(stored) ? stored : {});
    const readers = new Readers(
      registry,
      options,
      new Map(entries.map(([name, value]) => [name, String(value)])),
    );
    for (const [spoke, password] of readers.#passwords) await readers.#setUser(spoke, password);
    return readers;
  }

  /** Lets every spoke read these repositories, and no others, from now on. */
  async allow(repositories: readonly string[]): Promise<void> {
    await this.#inTurn(async () => {
      if (jsonEqual(this.#repositories, repositories)) return;
      this.#repositories = repositories;
      for (const [spoke, password] of this.#passwords) await this.#setUser(spoke, password);
    });
  }

  /** The account of a spoke, made if there is none. */
  async ensure(spoke: string): Promise<Credential> {
    return this.#inTurn(async () => {
      const kept = this.#passwords.get(spoke);
      if (kept !== undefined) return { username: readerName(spoke), password: kept };
      const password = randomBytes(24).toString('base64url');
      await this.#setUser(spoke, password);
      this.#passwords.set(spoke, password);
      await this.#save();
      return { username: readerName(spoke), password };
    });
  }

  /** Ends the account of a spoke. */
  async remove(spoke: string): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#passwords.delete(spoke)) return;
      await this.#registry.removeUser(readerName(spoke));
      await this.#save();
    });
  }

  async #setUser(spoke: string, password: string): Promise<void> {
    await this.#registry.setUser({
      name: readerName(spoke),
      password,
      policies: this.#repositories.map((repositories) => ({ repositories, actions: ['read'] })),
    });
  }

  async #save(): Promise<void> {
    await writePrivate(this.#path, `${JSON.stringify(Object.fromEntries(this.#passwords), null, 2)}\n`);
  }

  /** One change at a time: the file is written whole. */
  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(action, action);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
