import { SingleFlight } from '@mural/core';
import { isKubeError } from '../errors.ts';
import { parseApiVersion, type Resource } from '../objects.ts';
import type { Transport } from './transport.ts';

const AGGREGATED = [
  'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
  'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
  'application/json',
].join(',');
/** How long what was found is believed. */
const KEEP_MS = 10 * 60_000;
/** How long it is believed that a kind does not exist: it may be being installed. */
const KEEP_MISS_MS = 2000;

interface AggregatedResource {
  readonly resource: string;
  readonly responseKind?: { readonly kind?: string };
  readonly scope: string;
}

interface AggregatedList {
  readonly kind?: string;
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string };
    readonly versions?: readonly {
      readonly version: string;
      readonly freshness?: string;
      readonly resources?: readonly AggregatedResource[];
    }[];
  }[];
}

interface LegacyList {
  readonly resources?: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

interface Known {
  readonly at: number;
  readonly kinds: ReadonlyMap<string, Resource>;
}

/**
 * Which resource serves a kind. All groups are read at once where the API can tell them so
 * (aggregated discovery); a group version that is unknown, old or lacks the kind is read alone.
 */
export class Discovery {
  readonly #transport: Transport;
  readonly #known = new Map<string, Known>();
  readonly #flights = new SingleFlight<undefined>();
  #loadedAll = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async resourceFor(apiVersion: string, kind: string): Promise<Resource | undefined> {
    if (!this.#loadedAll) await this.#flights.run('', async () => this.#loadAll());
    const known = this.#known.get(apiVersion);
    const found = known?.kinds.get(kind);
    const age = known === undefined ? Number.POSITIVE_INFINITY : this.#transport.clock.now() - known.at;
    if (age <= (found === undefined ? KEEP_MISS_MS : KEEP_MS)) return found;
    await this.#flights.run(apiVersion, async () => this.#loadOne(apiVersion));
    return this.#known.get(apiVersion)?.kinds.get(kind);
  }

  async #loadAll(): Promise<undefined> {
    for (const path of ['/api', '/apis']) {
      const answer = await this.#transport.json({ method: 'GET', path, accept: AGGREGATED });
      this.#remember(answer as AggregatedList);
    }
    this.#loadedAll = true;
    return undefined;
  }

  #remember(answer: AggregatedList): void {
    if (answer.kind !== 'APIGroupDiscoveryList') return;
    const at = this.#transport.clock.now();
    for (const item of answer.items ?? []) {
      const group = item.metadata?.name ?? '';
      for (const { version, freshness, resources } of item.versions ?? []) {
        if (freshness === 'Stale') continue;
        const kinds = kindsOf({ group, version }, resources ?? []);
        this.#known.set(group === '' ? version : `${group}/${version}`, { at, kinds });
      }
    }
  }

  async #loadOne(apiVersion: string): Promise<undefined> {
    const { group, version } = parseApiVersion(apiVersion);
    const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
    const kinds = new Map<string, Resource>();
    try {
      const answer = (await this.#transport.json({ method: 'GET', path })) as LegacyList;
      for (const { name, kind, namespaced } of answer.resources ?? []) {
        if (!name.includes('/') && !kinds.has(kind)) {
          kinds.set(kind, { group, version, kind, plural: name, namespaced });
        }
      }
    } catch (error) {
      if (!isKubeError(error, 'NotFound')) throw error;
    }
    this.#known.set(apiVersion, { at: this.#transport.clock.now(), kinds });
    return undefined;
  }
}

function kindsOf(
  version: Pick<Resource, 'group' | 'version'>,
  resources: readonly AggregatedResource[],
): Map<string, Resource> {
  const kinds = new Map<string, Resource>();
  for (const { resource, responseKind, scope } of resources) {
    const kind = responseKind?.kind ?? '';
    if (kind === '' || kinds.has(kind)) continue;
    kinds.set(kind, { ...version, kind, plural: resource, namespaced: scope === 'Namespaced' });
  }
  return kinds;
}
