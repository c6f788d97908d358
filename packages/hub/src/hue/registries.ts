import type { Clock, Logger } from '@mural/core';
import { HubError } from '../errors.ts';
import type { HubRegistry } from './artifact-sources.ts';
import { Pusher } from './push.ts';

/** The registries of a hub: the one that it writes for, and those that some spokes still read. */
export class Registries {
  readonly all: readonly Pusher[];
  readonly first: Pusher;
  readonly #log: Logger;

  /**
   * @throws HubError `NoRegistry` for an empty list
   * @throws OciError `UrlInvalid` when the URL of a repository is none
   */
  constructor(registries: readonly HubRegistry[], clock: Clock, log: Logger) {
    this.all = registries.map((registry) => new Pusher(registry, clock, log));
    const [first] = this.all;
    if (first === undefined) throw new HubError('NoRegistry', 'the hub was given no registry');
    this.first = first;
    this.#log = log;
  }

  /**
   * Where the artifacts of spokes with these settings are put: into the registry that they read. A URL
   * that is none of the hub's is a mirror of the first.
   */
  homeOf({ url }: { readonly url: string }): Pusher {
    return this.all.find((registry) => registry.url === url) ?? this.first;
  }

  /**
   * Makes sure that a registry holds the artifacts that a group is about to name, copying them from
   * where spokes read them so far. What no registry has is left to hue, which makes it anew.
   *
   * @throws OciError when a registry that may have one cannot be asked
   */
  async ensure(home: Pusher, digests: Iterable<string>, signal: AbortSignal): Promise<void> {
    const others = this.all.filter((registry) => registry !== home);
    if (others.length === 0) return;
    for (const digest of digests) {
      if (await home.holds(digest, signal)) continue;
      let found = false;
      for (const other of others) found ||= await home.copyFrom(other, digest, signal);
      if (!found)
        this.#log.warn({ digest, registry: home.url }, 'no registry has an artifact that is published');
    }
  }
}
