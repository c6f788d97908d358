import { join } from 'node:path';
import {
  type Clock,
  type Logger,
  type ProcessEnvironment,
  type Random,
  silentLogger,
  systemClock,
} from '@mural/core';
import {
  createCache,
  createEventRecorder,
  type KubeClient,
  KUSTOMIZATIONS,
  type Kustomization,
  OCI_REPOSITORIES,
  type OCIRepository,
} from '@mural/kube';
import { type SpokeAgent, startAgent } from './agent/agent.ts';
import { createApplyController } from './apply/controller.ts';
import { createSourceController } from './source/controller.ts';
import { ArtifactStorage } from './source/storage.ts';

/** What a spoke needs. */
export interface SpokeOptions {
  /** The API of the spoke's own cluster. */
  readonly client: KubeClient;
  /** Where the last good artifacts are kept. They outlive restarts and outages. */
  readonly dataDir: string;
  /** The name of the Spoke object that this cluster is in the hub. */
  readonly name: string;
  /** The API of the hub, with a token that can read this Spoke and write its status. Without it nothing is reported. */
  readonly hub?: { readonly client: KubeClient } | undefined;
  /** Path of the kustomize binary; looked for on PATH unless given. */
  readonly kustomize?: string | undefined;
  /** Sources, and Kustomizations, that are worked on at a time; 8 unless given. */
  readonly concurrency?: number | undefined;
  /** Reported as `status.agentVersion`. */
  readonly version?: string | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
  /** The variables that name a proxy and the identity in a cloud: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
}

/** A spoke at work. */
export interface RunningSpoke {
  /** Stops all controllers; what is in the cluster and on the disk stays. */
  stop(): Promise<void>;
}

const DEFAULT_CONCURRENCY = 8;

/**
 * Starts the source controller, the apply controller, and, with a hub, the agent that reports to it.
 * Delivery never waits for the hub. Killed at any point and started again, it goes on from what is stored.
 */
export async function startSpoke(options: SpokeOptions): Promise<RunningSpoke> {
  const { client, clock = systemClock, random = Math.random, log = silentLogger } = options;
  const concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
  const storage = new ArtifactStorage(join(options.dataDir));
  await storage.prepare();
  const shared = { client, clock, random, log };
  const sources = createCache<OCIRepository>({ ...shared, resource: OCI_REPOSITORIES });
  const kustomizations = createCache<Kustomization>({ ...shared, resource: KUSTOMIZATIONS });
  const sourceEvents = createEventRecorder({ client, component: 'source-controller', clock, log });
  const applyEvents = createEventRecorder({ client, component: 'kustomize-controller', clock, log });
  const source = createSourceController({
    ...shared,
    sources,
    storage,
    events: sourceEvents,
    concurrency,
    environment: options.environment,
  });
  const apply = createApplyController({
    ...shared,
    sources,
    kustomizations,
    storage,
    events: applyEvents,
    kustomize: options.kustomize,
    concurrency,
  });
  sources.start();
  kustomizations.start();
  source.controller.start();
  apply.start();
  const agent: SpokeAgent | undefined =
    options.hub === undefined
      ? undefined
      : startAgent({
          ...shared,
          hub: options.hub.client,
          name: options.name,
          sources,
          kustomizations,
          version: options.version,
        });
  return {
    async stop() {
      await agent?.stop();
      await Promise.all([source.controller.stop(), apply.stop()]);
      await Promise.all([sources.stop(), kustomizations.stop(), source.close()]);
      await Promise.all([sourceEvents.flush(), applyEvents.flush()]);
    },
  };
}
