import type { Clock, Logger } from '@mural/core';
import type { KubeClient } from '@mural/kube';
import { type KnownScopes, kindKey } from '../render/scope.ts';

/** How long an API that does not serve a kind is believed. */
const ASK_AGAIN_MS = 60_000;

/** Learns from the API which kinds live in a namespace. */
export class ScopeDiscovery {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #known = new Map<string, boolean>();
  readonly #askedAt = new Map<string, number>();

  constructor(client: KubeClient, clock: Clock, log: Logger) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
  }

  get known(): KnownScopes {
    return Object.fromEntries(this.#known);
  }

  /**
   * Asks for kinds that are not known.
   *
   * @returns whether anything was learnt that could change a rendering
   */
  async learn(kinds: readonly { readonly apiVersion: string; readonly kind: string }[]): Promise<boolean> {
    let learnt = false;
    for (const kind of kinds) {
      const key = kindKey(kind);
      const asked = this.#askedAt.get(key);
      if (asked !== undefined && this.#clock.now() - asked < ASK_AGAIN_MS) continue;
      this.#askedAt.set(key, this.#clock.now());
      try {
        const resource = await this.#client.resourceFor(kind.apiVersion, kind.kind);
        if (resource === undefined) continue;
        this.#known.set(key, resource.namespaced);
        learnt ||= !resource.namespaced;
      } catch (error) {
        // Without an answer the kind counts as namespaced, as one that no API serves does.
        this.#log.warn({ err: error, kind: key }, 'the scope of a kind could not be asked for');
      }
    }
    return learnt;
  }
}
