import { canonicalJson, type Clock, jsonEqual, type Logger, type Random } from '@mural/core';
import {
  type Cache,
  type KubeClient,
  type PublishedRoot,
  ROOT_GROUP_ANNOTATION,
  type Spoke,
  type WorkloadDeployment,
} from '@mural/kube';
import { Batch } from '../batch.ts';
import type { SpokeRegistrySettings } from '../settings.ts';
import { Contents } from './contents.ts';
import { GroupPublisher } from './group-publisher.ts';
import { type Group, groupKey, Groups, validGroupId } from './groups.ts';
import { readsGroupFrom, rootStays } from './moves.ts';
import { Nudges } from './nudges.ts';
import { OwnRootPublisher, type PublishedOwnRoot } from './own-root-publisher.ts';
import type { Registries } from './registries.ts';
import { settingsKey } from './root.ts';

export interface RootsOptions {
  readonly client: KubeClient;
  readonly deployments: Cache<WorkloadDeployment>;
  readonly spokes: Cache<Spoke>;
  readonly registries: Registries;
  spokeRegistry(spoke: Spoke): SpokeRegistrySettings;
  /** Whether a spoke counts as able to read what it is sent to, although it does not report so. */
  assumedMoved?(spoke: Spoke): boolean;
  /** Told of the deployments whose publication to some spoke went on, or failed. */
  onChange(deployments: Iterable<string>): void;
  /** How often the registry is asked whether it still has what was published, in milliseconds. */
  readonly recheckMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What both publishers see of the fleet. */
export interface FleetState {
  readonly spokes: Cache<Spoke>;
  readonly groups: Groups;
  readonly contents: Contents;
  readonly registries: Registries;
  /** The settings that are in force for a spoke. */
  settingsOf(spoke: string): SpokeRegistrySettings | undefined;
  /**
   * Whether a spoke says that it does not need the group any more that it was in before: it has the root
   * that was last published for it, or all but that comes from where it is to read.
   */
  hasMoved(spoke: Spoke): boolean;
  /** Whether the source of the root of a spoke is left as it is, for the spoke has not confirmed its move. */
  rootStays(spoke: Spoke): boolean;
  /** Whether a spoke that was placed elsewhere may still read a group, by what is recorded of it. */
  mayRead(spoke: Spoke, group: Group): boolean;
}

/** How long changes are collected before they are published: many workloads applied together are one artifact. */
const COLLECT_MS = 50;

/**
 * Keeps what spokes read equal to what the deployments' statuses record.
 *
 * A spoke reads two artifacts: its own root, which names its group and changes hardly ever, and the
 * artifact of the group, which up to 250 spokes share. So a rollout writes one artifact for each group
 * that it touches. Everything follows from recorded state: deployments' statuses, the group in the
 * annotation of each Spoke, and the settings; however often the hub is killed, it ends at the same.
 */
export class Roots implements FleetState {
  readonly spokes: Cache<Spoke>;
  readonly registries: Registries;
  readonly contents = new Contents();
  readonly groups = new Groups();
  readonly #options: RootsOptions;
  readonly #settings = new Map<string, SpokeRegistrySettings>();
  readonly #groupPublisher: GroupPublisher;
  readonly #ownPublisher: OwnRootPublisher;
  readonly #nudges: Nudges;
  readonly #changedContents: Batch;
  readonly #changedSpokes: Batch;
  #unsubscribe: (() => void)[] = [];

  constructor(options: RootsOptions) {
    const { clock } = options;
    this.#options = options;
    this.spokes = options.spokes;
    this.registries = options.registries;
    this.#changedContents = new Batch(clock, COLLECT_MS, (names) => this.#publishGroups(names));
    this.#changedSpokes = new Batch(clock, COLLECT_MS, (names) => this.#takeSpokes(names));
    this.#groupPublisher = new GroupPublisher({
      ...options,
      fleet: this,
      onPublished: (group) => this.#groupPublished(group),
      onOverflow: (names) => this.#changedSpokes.add(names),
    });
    this.#ownPublisher = new OwnRootPublisher({
      ...options,
      fleet: this,
      groups: this.#groupPublisher,
      onPublished: (spoke) => this.#nudges.enqueue(spoke),
    });
    this.#nudges = new Nudges({ ...options, published: (spoke) => this.#publishedRoot(spoke) });
  }

  /** Starts when both caches hold everything, so that nothing is published from half of the state. */
  async start(): Promise<void> {
    const { deployments, spokes } = this.#options;
    await Promise.all([deployments.synced(), spokes.synced()]);
    this.#placeRecorded();
    this.#unsubscribe = [
      deployments.onChange((key, now) => this.#changedContents.add(this.contents.set(key, now))),
      spokes.onChange((name, now, before) => {
        if (this.#isConcerned(name, now, before)) this.#changedSpokes.add([name]);
      }),
    ];
    this.#groupPublisher.start();
    this.#ownPublisher.start();
    this.#nudges.start();
  }

  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#changedContents.stop();
    this.#changedSpokes.stop();
    await Promise.all([this.#groupPublisher.stop(), this.#ownPublisher.stop(), this.#nudges.stop()]);
  }

  /** Asks for a turn of a spoke. */
  enqueue(spoke: string): void {
    this.#changedSpokes.add([spoke]);
  }

  /** Asks for the settings of every spoke anew. */
  refresh(): void {
    this.#changedSpokes.add(this.#options.spokes.list().map(({ metadata }) => metadata.name ?? ''));
  }

  settingsOf(spoke: string): SpokeRegistrySettings | undefined {
    return this.#settings.get(spoke);
  }

  hasMoved(spoke: Spoke): boolean {
    const name = spoke.metadata.name ?? '';
    const own = this.#ownPublisher.published(name);
    if (own !== undefined && own.digest === spoke.status?.rootDigest) return true;
    return readsGroupFrom(spoke, this.settingsOf(name)?.url);
  }

  rootStays(spoke: Spoke): boolean {
    const settings = this.settingsOf(spoke.metadata.name ?? '');
    if (settings === undefined || this.#options.assumedMoved?.(spoke) === true) return false;
    return rootStays(spoke, settings.url);
  }

  mayRead(spoke: Spoke, group: Group): boolean {
    const now = this.groups.of(spoke.metadata.name ?? '');
    if (now === undefined || now.registry === group.registry || recordedGroup(spoke) !== group.id)
      return false;
    const url = spoke.status?.rootRegistryUrl;
    const fromThere = url === undefined || this.registries.homeOf({ url }).url === group.registry;
    return fromThere && !this.hasMoved(spoke);
  }

  /**
   * Digest of a deployment's artifact in what is published for a spoke; `null` when the deployment is not
   * in it, `undefined` when this process does not know.
   */
  publishedDigest(spoke: string, deployment: string): string | null | undefined {
    const own = this.#ownPublisher.published(spoke);
    const content =
      own === undefined ? undefined : this.#groupPublisher.published(own.group)?.contentOf(spoke);
    return content === undefined ? undefined : (content.entries.get(deployment)?.digest ?? null);
  }

  /** Why nothing could be published for a spoke, when it could not. */
  failureOf(spoke: string): string | undefined {
    const group = this.groups.of(spoke);
    const shared = group === undefined ? undefined : this.#groupPublisher.failureOf(groupKey(group));
    return shared ?? this.#ownPublisher.failureOf(spoke);
  }

  #publishedRoot(spoke: string): PublishedRoot | undefined {
    const own = this.#ownPublisher.published(spoke);
    if (own === undefined || !this.#isReadable(spoke, own)) return undefined;
    return { root: own.digest, group: this.#groupPublisher.published(own.group)?.digestFor(spoke) };
  }

  /** Whether the registry that a spoke reads has its root by now: told earlier, it would look in vain. */
  #isReadable(spoke: string, { heldBy }: PublishedOwnRoot): boolean {
    const { rootRegistryUrl, registryUrl } = this.#options.spokes.get(spoke)?.status ?? {};
    const url = rootRegistryUrl ?? registryUrl;
    return heldBy.has(url ?? '') || !this.registries.all.some((registry) => registry.url === url);
  }

  /** Recorded groups come before new ones, so that nobody takes the room of who was there before. */
  #placeRecorded(): void {
    for (const spoke of this.#options.spokes.list().sort(byName)) {
      if (recordedGroup(spoke) !== undefined) this.#place(spoke);
    }
  }

  #takeSpokes(names: ReadonlySet<string>): void {
    for (const name of names) {
      const spoke = this.#options.spokes.get(name);
      if (spoke === undefined || spoke.metadata.deletionTimestamp !== undefined) {
        this.#forget(name);
        continue;
      }
      // A spoke that was suspended before it was ever published to has nothing to be suspended.
      if (spoke.spec?.suspend === true && recordedGroup(spoke) === undefined && !this.#isPlaced(name))
        continue;
      this.#groupPublisher.enqueue(groupKey(this.#place(spoke)));
      this.#ownPublisher.enqueue(name);
    }
  }

  #place(spoke: Spoke): Group {
    const name = spoke.metadata.name ?? '';
    const settings = this.#options.spokeRegistry(spoke);
    const known = this.#settings.get(name);
    if (known === undefined || settingsKey(known) !== settingsKey(settings))
      this.#settings.set(name, settings);
    return this.groups.place(name, {
      registry: this.registries.homeOf(settings).url,
      recorded: recordedGroup(spoke),
      labels: canonicalJson(spoke.metadata.labels ?? {}),
    });
  }

  #isPlaced(name: string): boolean {
    return this.groups.of(name) !== undefined;
  }

  #publishGroups(names: Iterable<string>): void {
    const keys = new Set<string>();
    for (const name of names) {
      const group = this.groups.of(name);
      if (group !== undefined) keys.add(groupKey(group));
    }
    for (const key of keys) this.#groupPublisher.enqueue(key);
  }

  #groupPublished(group: Group): void {
    for (const name of group.members) {
      if (this.#ownPublisher.published(name)?.group === groupKey(group)) this.#nudges.enqueue(name);
      else this.#ownPublisher.enqueue(name);
    }
  }

  #forget(name: string): void {
    const own = this.#ownPublisher.published(name);
    const content =
      own === undefined ? undefined : this.#groupPublisher.published(own.group)?.contentOf(name);
    this.groups.remove(name);
    this.#settings.delete(name);
    this.#ownPublisher.forget(name);
    if (content !== undefined) this.#options.onChange(content.entries.keys());
  }

  #isConcerned(name: string, now: Spoke | undefined, before: Spoke | undefined): boolean {
    if (now === undefined || before === undefined) return true;
    return (
      !jsonEqual(now.spec, before.spec) ||
      now.metadata.deletionTimestamp !== before.metadata.deletionTimestamp ||
      now.metadata.uid !== before.metadata.uid ||
      this.rootStays(now) !== this.rootStays(before) ||
      // Somebody took the annotation away, or wrote another group into it.
      (recordedGroup(now) !== recordedGroup(before) && recordedGroup(now) !== this.groups.of(name)?.id)
    );
  }
}

function recordedGroup({ metadata }: Spoke): string | undefined {
  return validGroupId(metadata.annotations?.[ROOT_GROUP_ANNOTATION]);
}

function byName(a: Spoke, b: Spoke): number {
  return (a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1;
}
