import { type Clock, type Logger, type Random, silentLogger, systemClock } from '@mural/core';
import {
  createCache,
  createEventRecorder,
  type Environment,
  ENVIRONMENTS,
  type KubeClient,
  MURAL_NAMESPACE,
  type Resource,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  WORKLOAD_PROFILES,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';
import { FleetAccounts, type SpokeAccounts } from './fleet/accounts.ts';
import { Heartbeats } from './fleet/heartbeats.ts';
import { ArtifactSources, type HubRegistry } from './hue/artifact-sources.ts';
import { Deployments } from './hue/deployments.ts';
import type { HubCaches } from './hue/gather.ts';
import { Registries } from './hue/registries.ts';
import { Roots } from './hue/roots.ts';
import { ScopeDiscovery } from './hue/scope-discovery.ts';
import { RenderThread } from './render/thread.ts';
import type { Renderers } from './render/types.ts';
import type { SpokeRegistrySettings } from './settings.ts';

export interface HubOptions {
  /** The API that everything is read from and reported to. */
  readonly client: KubeClient;
  /** Namespace of the hub's own objects; `mural-system` unless given. */
  readonly namespace?: string | undefined;
  /**
   * The repositories that workloads and roots are pushed to: the first is the hub's own, the others are those
   * that some spokes still read.
   */
  readonly registries: readonly HubRegistry[];
  /** How a spoke reaches the registry. Spokes are put into the registry with its URL, and if there is none into the first. */
  spokeRegistry(spoke: Spoke): SpokeRegistrySettings;
  /**
   * Whether a spoke is moved to another registry at once, although it does not report that it can read
   * that one: somebody said so.
   */
  readonly assumedMoved?: ((spoke: Spoke) => boolean) | undefined;
  /** Accounts of spokes in the registry; without them, the Secrets are the operator's business. */
  readonly accounts?: SpokeAccounts | undefined;
  /** Paths of programs that render; those that are not given are looked for on `searchPath`. */
  readonly renderers?: Renderers | undefined;
  /** Directories to look for programs in, as PATH has them; that of the process unless given. */
  readonly searchPath?: string | undefined;
  /** How often what was published is looked for in the registry, in milliseconds; 10 minutes unless given. */
  readonly recheckMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
}

/** A running hub. */
export interface Hub {
  /** Ends all controllers; what they were at is taken up again at the next start. */
  stop(): Promise<void>;
  /** Asks for the registry of every spoke anew, when `spokeRegistry` answers otherwise than before. */
  refresh(): void;
}

const RECHECK_MS = 10 * 60_000;
/** How long reports of spokes are collected: a thousand heartbeats are one write for each workload. */
const FOLD_MS = 150;

/**
 * Starts the hub's controllers: hue, which takes workloads to the registry, and the fleet.
 *
 * Resolves at once; the controllers begin when what they watch is in memory, and outages of API and
 * registry are waited out.
 *
 * @throws OciError `UrlInvalid` when the URL of a repository is none; HubError `NoRegistry` without any
 */
export async function startHub(options: HubOptions): Promise<Hub> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? Math.random;
  const log = options.log ?? silentLogger;
  const recheckMs = options.recheckMs ?? RECHECK_MS;
  const { client } = options;
  const shared = { client, clock, random, log };
  const caches = cachesOf(shared);
  const registries = new Registries(options.registries, clock, log);
  const thread = new RenderThread();
  const events = createEventRecorder({ client, component: 'hue', clock, log });
  const roots = new Roots({
    ...shared,
    deployments: caches.deployments,
    spokes: caches.spokes,
    registries,
    spokeRegistry: (spoke) => options.spokeRegistry(spoke),
    assumedMoved: (spoke) => options.assumedMoved?.(spoke) === true,
    onChange: (keys) => deployments.enqueue(keys),
    recheckMs,
  });
  const deployments = new Deployments({
    ...shared,
    tools: {
      caches,
      sources: new ArtifactSources(options.registries),
      scopes: new ScopeDiscovery(client, clock, log),
      thread,
      registries,
      spokeRegistry: (spoke) => options.spokeRegistry(spoke),
      renderers: options.renderers ?? {},
      searchPath: options.searchPath ?? process.env['PATH'] ?? '',
    },
    roots,
    events,
    recheckMs,
    foldMs: FOLD_MS,
  });
  const accounts = new FleetAccounts({
    ...shared,
    spokes: caches.spokes,
    namespace: options.namespace ?? MURAL_NAMESPACE,
    accounts: options.accounts,
    spokeRegistry: (spoke) => options.spokeRegistry(spoke),
  });
  const heartbeats = new Heartbeats({ client, spokes: caches.spokes, clock, log });

  const everyCache = Object.values(caches) as HubCaches[keyof HubCaches][];
  for (const cache of everyCache) cache.start();
  accounts.start();
  heartbeats.start();
  const started = Promise.all([roots.start(), deployments.start()]);
  return {
    refresh() {
      roots.refresh();
      deployments.refresh();
      accounts.refresh();
    },
    async stop() {
      await Promise.all(everyCache.map(async (cache) => cache.stop()));
      await started;
      await Promise.all([accounts.stop(), heartbeats.stop(), deployments.stop(), roots.stop()]);
      await events.flush();
      await thread.close();
    },
  };
}

function cachesOf(shared: {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}): HubCaches {
  const of = <T extends WorkloadProfile | Environment | WorkloadDeployment | Spoke>(resource: Resource) =>
    createCache<T>({ ...shared, resource });
  return {
    profiles: of<WorkloadProfile>(WORKLOAD_PROFILES),
    environments: of<Environment>(ENVIRONMENTS),
    deployments: of<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS),
    spokes: of<Spoke>(SPOKES),
  };
}
