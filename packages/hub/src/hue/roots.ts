import { type Clock, jitter, jsonEqual, type Logger, type Random } from '@mural/core';
import {
  type Cache,
  type Controller,
  createController,
  type KubeClient,
  objectKey,
  PUBLISHED_ROOT_ANNOTATION,
  type ReconcileResult,
  type Spoke,
  SPOKES,
  type WorkloadDeployment,
} from '@mural/kube';
import { packArtifact } from '@mural/oci';
import { Batch } from '../batch.ts';
import { rootTag, type SpokeRegistrySettings } from '../settings.ts';
import { failureOf } from './failure.ts';
import type { Pusher } from './push.ts';
import { recordedDigests, rootEntries, rootFiles } from './root.ts';

/** What was last published to one spoke. */
interface PublishedRoot {
  readonly digest: string;
  /** The text that was packed, to see without packing that nothing changed. */
  readonly content: string;
  readonly workloads: ReadonlyMap<string, string>;
  /** When the registry was last seen to hold it, in milliseconds since the epoch. */
  readonly seenAt: number;
}

export interface RootsOptions {
  readonly client: KubeClient;
  readonly deployments: Cache<WorkloadDeployment>;
  readonly spokes: Cache<Spoke>;
  readonly pusher: Pusher;
  spokeRegistry(spoke: Spoke): SpokeRegistrySettings;
  /** Told of the deployments whose publication to some spoke went on, or failed. */
  onChange(deployments: Iterable<string>): void;
  /** How often the registry is asked whether it still has what was published, in milliseconds. */
  readonly recheckMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How long changes are collected before roots are made: many workloads applied together are one root. */
const COLLECT_MS = 50;

/**
 * Keeps the root artifact of each spoke equal to what the deployments' statuses record.
 *
 * Works per spoke and from the recorded state alone: whatever changes, and however often the hub is
 * killed, the next turn ends at the same root. Turns of one spoke never overlap, so an older root
 * cannot overtake a newer one.
 */
export class Roots {
  readonly #options: RootsOptions;
  readonly #published = new Map<string, PublishedRoot>();
  readonly #failures = new Map<string, string>();
  readonly #controller: Controller;
  readonly #changes: Batch;
  #unsubscribe: (() => void) | undefined;

  constructor(options: RootsOptions) {
    this.#options = options;
    this.#changes = new Batch(options.clock, COLLECT_MS, (spokes) => {
      for (const spoke of spokes) this.#controller.enqueue(spoke);
    });
    this.#controller = createController<Spoke>({
      name: 'roots',
      primary: options.spokes,
      changed: (now, before) => now === undefined || before === undefined || this.#isConcerned(now, before),
      reconcile: async (key, signal) => this.#reconcile(key, signal),
      concurrency: 8,
      backoff: { baseMs: 750, capMs: 60_000 },
      clock: options.clock,
      random: options.random,
      log: options.log,
    });
  }

  /** Starts when both caches hold everything, so that no root is made from half of the state. */
  async start(): Promise<void> {
    await Promise.all([this.#options.deployments.synced(), this.#options.spokes.synced()]);
    this.#unsubscribe = this.#options.deployments.onChange((_key, now, before) =>
      this.#changes.add(concernedSpokes(now, before)),
    );
    this.#controller.start();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#changes.stop();
    await this.#controller.stop();
  }

  /** Asks for a turn of a spoke. */
  enqueue(spoke: string): void {
    this.#controller.enqueue(spoke);
  }

  /**
   * Digest of a deployment's artifact in the published root of a spoke; `null` when the root does not
   * have the deployment, `undefined` when this process has not looked yet.
   */
  publishedDigest(spoke: string, deployment: string): string | null | undefined {
    const root = this.#published.get(spoke);
    return root === undefined ? undefined : (root.workloads.get(deployment) ?? null);
  }

  /** Why the root of a spoke could not be published, when it could not. */
  failureOf(spoke: string): string | undefined {
    return this.#failures.get(spoke);
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { spokes, deployments, clock, random, recheckMs } = this.#options;
    const spoke = spokes.get(name);
    if (spoke === undefined || spoke.metadata.deletionTimestamp !== undefined) {
      this.#forget(name);
      return undefined;
    }
    if (spoke.spec?.suspend === true) return undefined;
    const entries = rootEntries(name, deployments.list());
    const files = rootFiles(name, entries, this.#options.spokeRegistry(spoke));
    const content = JSON.stringify(files);
    const before = this.#published.get(name);
    const fresh = before !== undefined && clock.now() - before.seenAt < recheckMs / 2;
    if (before?.content === content && fresh) {
      await this.#nudge(spoke, before.digest, signal);
      return { requeueAfterMs: jitter(recheckMs, 0.1, random) };
    }
    const workloads = new Map(entries.map(({ deployment, digest }) => [objectKey(deployment), digest]));
    const artifact = await packArtifact({ files });
    try {
      await this.#options.pusher.push(artifact, rootTag(name), signal);
    } catch (error) {
      this.#fail(name, error, workloads);
      throw error;
    }
    this.#failures.delete(name);
    this.#published.set(name, { digest: artifact.digest, content, workloads, seenAt: clock.now() });
    await this.#nudge(spoke, artifact.digest, signal);
    this.#options.onChange(changedWorkloads(before?.workloads, workloads));
    return { requeueAfterMs: jitter(recheckMs, 0.1, random) };
  }

  #isConcerned(now: Spoke, before: Spoke): boolean {
    const name = now.metadata.name ?? '';
    const nudged = now.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION];
    return (
      !jsonEqual(now.spec, before.spec) ||
      now.metadata.deletionTimestamp !== before.metadata.deletionTimestamp ||
      now.metadata.uid !== before.metadata.uid ||
      // Somebody took the annotation away, or wrote another digest into it.
      (nudged !== before.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION] &&
        nudged !== this.#published.get(name)?.digest)
    );
  }

  /** Tells a connected spoke to look now. Only the annotation is written, whoever owns the rest. */
  async #nudge(spoke: Spoke, digest: string, signal: AbortSignal): Promise<void> {
    if (spoke.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION] === digest) return;
    await this.#options.client.patch(
      SPOKES,
      { name: spoke.metadata.name ?? '' },
      'merge',
      { metadata: { annotations: { [PUBLISHED_ROOT_ANNOTATION]: digest } } },
      { fieldManager: 'hue', signal },
    );
  }

  #fail(name: string, error: unknown, workloads: ReadonlyMap<string, string>): void {
    const { message } = failureOf(error);
    if (this.#failures.get(name) === message) return;
    this.#failures.set(name, message);
    this.#options.onChange(changedWorkloads(this.#published.get(name)?.workloads, workloads));
  }

  #forget(name: string): void {
    const before = this.#published.get(name);
    this.#published.delete(name);
    this.#failures.delete(name);
    if (before !== undefined) this.#options.onChange(before.workloads.keys());
  }
}

/** Deployments that the one root has otherwise than the other. */
function changedWorkloads(
  before: ReadonlyMap<string, string> | undefined,
  now: ReadonlyMap<string, string>,
): Set<string> {
  const keys = new Set([...(before?.keys() ?? []), ...now.keys()]);
  return new Set([...keys].filter((key) => before === undefined || before.get(key) !== now.get(key)));
}

/** Spokes whose root a change of a deployment may change. */
function concernedSpokes(
  now: WorkloadDeployment | undefined,
  before: WorkloadDeployment | undefined,
): Set<string> {
  const digestsNow = recordedDigests(now);
  const digestsBefore = recordedDigests(before);
  const all =
    !jsonEqual(rootSpec(now), rootSpec(before)) ||
    (now?.metadata.deletionTimestamp === undefined) !== (before?.metadata.deletionTimestamp === undefined);
  const names = new Set([...digestsNow.keys(), ...digestsBefore.keys()]);
  return new Set([...names].filter((name) => all || digestsNow.get(name) !== digestsBefore.get(name)));
}

/** The part of a deployment's spec that goes into roots. */
function rootSpec(deployment: WorkloadDeployment | undefined): unknown {
  if (deployment === undefined) return undefined;
  const { dependsOn, interval, timeout, prune } = deployment.spec;
  return { dependsOn, interval, timeout, prune };
}
