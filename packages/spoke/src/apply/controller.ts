import type { Clock, Logger, Random } from '@mural/core';
import {
  type Cache,
  type Controller,
  createController,
  type EventRecorder,
  type KubeClient,
  type Kustomization,
  type OCIRepository,
  watching,
} from '@mural/kube';
import { LatestObjects } from '../latest.ts';
import type { ArtifactStorage } from '../source/storage.ts';
import { dependencyKeys } from './dependencies.ts';
import { KustomizationReconciler } from './reconciler.ts';
import { sourceKey } from './steps.ts';

/** What {@link createApplyController} needs. */
export interface ApplyControllerOptions {
  readonly client: KubeClient;
  readonly sources: Cache<OCIRepository>;
  readonly kustomizations: Cache<Kustomization>;
  readonly storage: ArtifactStorage;
  readonly events: EventRecorder;
  /** Path of the kustomize binary; looked for on PATH unless given. */
  readonly kustomize?: string | undefined;
  /** Kustomizations, and objects of one, that are worked on at a time. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The controller of Kustomizations: brings what their sources hold into the cluster and keeps it there. */
export function createApplyController(options: ApplyControllerOptions): Controller {
  const { client, sources, kustomizations, storage, clock, random, log, concurrency } = options;
  const objects = new LatestObjects(kustomizations);
  const reconciler = new KustomizationReconciler({
    tools: {
      client,
      storage,
      clock,
      log,
      concurrency,
      kustomize: options.kustomize,
      findSource: (key) => sources.get(key),
      findKustomization: (key) => objects.get(key),
    },
    objects,
    events: options.events,
    random,
  });
  return createController<Kustomization>({
    name: 'kustomization',
    primary: kustomizations,
    watches: [
      watching(sources, (source) => keysWhere(kustomizations, (other) => sourceKey(other) === keyOf(source))),
      watching(kustomizations, (changed) =>
        keysWhere(kustomizations, (other) => dependencyKeys(other).includes(keyOf(changed))),
      ),
    ],
    reconcile: async (key, signal) => reconciler.reconcile(key, signal),
    concurrency,
    clock,
    random,
    log,
  });
}

function keysWhere(cache: Cache<Kustomization>, concerns: (object: Kustomization) => boolean): string[] {
  return cache.list().filter(concerns).map(keyOf);
}

function keyOf({ metadata }: Kustomization | OCIRepository): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}
