import { type Clock, jitter, type Logger, type Random } from '@mural/core';
import {
  type Controller,
  createController,
  formatPublishedRoot,
  type KubeClient,
  PUBLISHED_ROOT_ANNOTATION,
  type ReconcileResult,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { packArtifact, type PackedArtifact } from '@mural/oci';
import { rootTag } from '../settings.ts';
import { failureOf } from './failure.ts';
import type { GroupPublisher } from './group-publisher.ts';
import { type Group, groupKey } from './groups.ts';
import type { Pusher } from './push.ts';
import { ownRootFiles } from './root.ts';
import type { FleetState } from './roots.ts';

/** What is known of the own root of a spoke. */
export interface PublishedOwnRoot {
  readonly digest: string;
  /** Key of the group that it names. */
  readonly group: string;
  /** When its registry was last seen to hold it, in milliseconds since the epoch. */
  readonly seenAt: number;
  /** URLs of the registries that hold it. */
  readonly heldBy: Set<string>;
}

export interface OwnRootPublisherOptions {
  readonly client: KubeClient;
  readonly fleet: FleetState;
  readonly groups: GroupPublisher;
  /** Told of the deployments whose publication to some spoke went on, or failed. */
  onChange(deployments: Iterable<string>): void;
  /** Told of each spoke whose own root was published. */
  onPublished(spoke: string): void;
  readonly recheckMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** While many roots are being published, their deployments are told this often, in milliseconds. */
const TELL_MS = 5000;

/**
 * Publishes the own roots of spokes: into the registry that the spoke is to read, and then into every
 * other one, for the spoke may still read that one and is moved by what it finds there.
 */
export class OwnRootPublisher {
  readonly #options: OwnRootPublisherOptions;
  readonly #published = new Map<string, PublishedOwnRoot>();
  readonly #failures = new Map<string, string>();
  readonly #controller: Controller;
  readonly #elsewhere: Controller;
  readonly #waiting = new Set<string>();
  #changed = new Set<string>();
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: OwnRootPublisherOptions) {
    const { clock, log, random } = options;
    const shared = { backoff: { baseMs: 750, capMs: 60_000 }, clock, random, log };
    this.#options = options;
    this.#controller = createController({
      ...shared,
      name: 'roots',
      reconcile: async (name, signal) => this.#reconcile(name, signal),
      concurrency: 8,
    });
    this.#elsewhere = createController({
      ...shared,
      name: 'roots-elsewhere',
      reconcile: async (name, signal) => this.#publishElsewhere(name, signal),
      concurrency: 4,
    });
  }

  start(): void {
    this.#controller.start();
    this.#elsewhere.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#controller.stop(), this.#elsewhere.stop()]);
  }

  /** Asks for a turn of a spoke. */
  enqueue(spoke: string): void {
    this.#waiting.add(spoke);
    this.#controller.enqueue(spoke);
  }

  /** What is known to be published of a spoke's own root. */
  published(spoke: string): PublishedOwnRoot | undefined {
    return this.#published.get(spoke);
  }

  /** Why the own root of a spoke could not be published, when it could not. */
  failureOf(spoke: string): string | undefined {
    return this.#failures.get(spoke);
  }

  /** Forgets a spoke that is gone. */
  forget(spoke: string): void {
    this.#published.delete(spoke);
    this.#failures.delete(spoke);
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    try {
      return await this.#publish(name, signal);
    } finally {
      this.#waiting.delete(name);
      this.#tell();
    }
  }

  async #publish(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { clock, fleet, groups, random, recheckMs } = this.#options;
    const spoke = fleet.spokes.get(name);
    const group = fleet.groups.of(name);
    const settings = fleet.settingsOf(name);
    if (spoke === undefined || group === undefined || settings === undefined) return undefined;
    const key = groupKey(group);
    if (spoke.spec?.suspend !== true && groups.published(key)?.contentOf(name) === undefined) {
      // A root must not name what is not there; the group calls when it is.
      groups.enqueue(key);
      return undefined;
    }
    const artifact = await this.#pack(name, spoke, group);
    const before = this.#published.get(name);
    const fresh = before !== undefined && clock.now() - before.seenAt < recheckMs / 2;
    if (!fresh || before.digest !== artifact.digest) {
      await this.#send(name, artifact, { key, home: fleet.registries.homeOf(settings) }, signal);
    }
    await this.#record(spoke, group, artifact.digest, signal);
    this.#options.onPublished(name);
    return { requeueAfterMs: jitter(recheckMs, 0.1, random) };
  }

  async #send(
    name: string,
    artifact: PackedArtifact,
    { key, home }: { readonly key: string; readonly home: Pusher },
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await home.push(artifact, rootTag(name), signal);
    } catch (error) {
      this.#fail(name, error);
      throw error;
    }
    const { digest } = artifact;
    const before = this.#published.get(name);
    const heldBy = before?.digest === digest ? before.heldBy : new Set<string>();
    heldBy.add(home.url);
    this.#published.set(name, { digest, group: key, seenAt: this.#options.clock.now(), heldBy });
    if (this.#failures.delete(name) || before?.group !== key) this.#change(name);
    this.#elsewhere.enqueue(name);
  }

  async #pack(name: string, spoke: Spoke, { id }: Group): Promise<PackedArtifact> {
    const settings = this.#options.fleet.settingsOf(name);
    if (settings === undefined) throw new Error(`there are no settings of the spoke ${name}`);
    const suspended = spoke.spec?.suspend === true;
    const rootStays = this.#options.fleet.rootStays(spoke);
    return await packArtifact({ files: ownRootFiles(name, settings, { id, suspended, rootStays }) });
  }

  /** A failure is logged and tried again, and nothing waits for it. */
  async #publishElsewhere(name: string, signal: AbortSignal): Promise<void> {
    const { fleet } = this.#options;
    const spoke = fleet.spokes.get(name);
    const group = fleet.groups.of(name);
    const settings = fleet.settingsOf(name);
    if (spoke === undefined || group === undefined || settings === undefined) return;
    const home = fleet.registries.homeOf(settings);
    const others = fleet.registries.all.filter((registry) => registry !== home);
    if (others.length === 0) return;
    const artifact = await this.#pack(name, spoke, group);
    // A root that its own registry does not have yet must not move the spoke there.
    const published = this.#published.get(name);
    if (published?.digest !== artifact.digest) return;
    const results = await Promise.allSettled(
      others.map(async (registry) => {
        await registry.push(artifact, rootTag(name), signal);
        published.heldBy.add(registry.url);
      }),
    );
    this.#options.onPublished(name);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Records the group of a spoke. Only annotations are written, whoever owns the rest. */
  async #record(spoke: Spoke, group: Group, digest: string, signal: AbortSignal): Promise<void> {
    const { client, groups } = this.#options;
    const { annotations, name = '' } = spoke.metadata;
    if (annotations?.[ROOT_GROUP_ANNOTATION] === group.id) return;
    const recorded: Record<string, string> = { [ROOT_GROUP_ANNOTATION]: group.id };
    if (annotations?.[PUBLISHED_ROOT_ANNOTATION] === undefined) {
      const shared = groups.published(groupKey(group))?.digestFor(name);
      recorded[PUBLISHED_ROOT_ANNOTATION] = formatPublishedRoot({ root: digest, group: shared });
    }
    const body = { metadata: { annotations: recorded } };
    await client.patch(SPOKES, { name }, 'merge', body, { fieldManager: 'hue', signal });
  }

  #fail(name: string, error: unknown): void {
    const { message } = failureOf(error);
    if (this.#failures.get(name) === message) return;
    this.#failures.set(name, message);
    this.#change(name);
  }

  #change(name: string): void {
    for (const key of this.#options.fleet.contents.of(name).entries.keys()) this.#changed.add(key);
  }

  /** Thousands of roots are not thousands of turns of the deployments that all of them have. */
  #tell(): void {
    const now = this.#options.clock.now();
    if (this.#changed.size === 0 || (this.#waiting.size > 0 && now - this.#toldAt < TELL_MS)) return;
    const changed = this.#changed;
    this.#changed = new Set();
    this.#toldAt = now;
    this.#options.onChange(changed);
  }
}
