import { type Clock, jitter, type Logger, type Random } from '@mural/core';
import { type Controller, createController, type ReconcileResult } from '@mural/kube';
import { packArtifact } from '@mural/oci';
import { groupTag } from '../settings.ts';
import type { Content } from './contents.ts';
import { failureOf } from './failure.ts';
import type { Group } from './groups.ts';
import { distinctWorkloads, groupFiles, type Member, settingsKey, uniqueContents } from './root.ts';
import type { FleetState } from './roots.ts';

/** Workloads that differ in some way in one artifact; a spoke that has more by itself is a group of its own. */
const MAX_WORKLOADS = 5000;

/** What is known of the artifact of a group. */
export class PublishedGroup {
  readonly digest: string;
  /** When the registry was last seen to hold it, in milliseconds since the epoch. */
  readonly seenAt: number;
  /** Members and what they have, to see without packing that nothing changed. */
  readonly fingerprint: string;
  readonly members: ReadonlyMap<string, Member>;

  constructor(digest: string, seenAt: number, members: readonly Member[]) {
    this.digest = digest;
    this.seenAt = seenAt;
    this.fingerprint = fingerprintOf(members);
    this.members = new Map(members.map((member) => [member.name, member]));
  }

  /** What the artifact has for a spoke. */
  contentOf(spoke: string): Content | undefined {
    return this.members.get(spoke)?.content;
  }

  /** The digest, for a spoke that the artifact is for. */
  digestFor(spoke: string): string | undefined {
    return this.members.has(spoke) ? this.digest : undefined;
  }
}

export interface GroupPublisherOptions {
  readonly fleet: FleetState;
  /** Told of the deployments whose publication to some spoke went on, or failed. */
  onChange(deployments: Iterable<string>): void;
  /** Told of each look at a group that ended well. */
  onPublished(group: Group): void;
  /** Told of spokes whose group has become too large for them. */
  onOverflow(spokes: readonly string[]): void;
  readonly recheckMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Publishes the artifacts of groups. Turns of one group never overlap, so an older one cannot overtake a newer. */
export class GroupPublisher {
  readonly #options: GroupPublisherOptions;
  readonly #published = new Map<string, PublishedGroup>();
  readonly #failures = new Map<string, string>();
  readonly #controller: Controller;

  constructor(options: GroupPublisherOptions) {
    this.#options = options;
    this.#controller = createController({
      name: 'groups',
      reconcile: async (key, signal) => this.#reconcile(key, signal),
      concurrency: 4,
      backoff: { baseMs: 750, capMs: 60_000 },
      clock: options.clock,
      random: options.random,
      log: options.log,
    });
  }

  start(): void {
    this.#controller.start();
  }

  async stop(): Promise<void> {
    await this.#controller.stop();
  }

  /** Asks for a turn of a group, by its key. */
  enqueue(key: string): void {
    this.#controller.enqueue(key);
  }

  /** What is known to be published of a group. */
  published(key: string): PublishedGroup | undefined {
    return this.#published.get(key);
  }

  /** Why a group could not be published, when it could not. */
  failureOf(key: string): string | undefined {
    return this.#failures.get(key);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { clock, fleet, random, recheckMs } = this.#options;
    const group = fleet.groups.get(key);
    const before = this.#published.get(key);
    const members = group === undefined ? [] : this.#fitting(group, this.#members(group));
    // Nobody reads it, or only spokes that are to stay at what they have.
    if (group === undefined || members.length === 0) return undefined;
    const again = { requeueAfterMs: jitter(recheckMs, 0.1, random) };
    const leaving = before === undefined ? this.#recorded(group, members) : this.#leaving(members, before);
    const all = [...members, ...leaving];
    const fresh = before !== undefined && clock.now() - before.seenAt < recheckMs / 2;
    if (fresh && before.fingerprint === fingerprintOf(all)) {
      this.#options.onPublished(group);
      return again;
    }
    try {
      const home = fleet.registries.homeOf({ url: group.registry });
      await fleet.registries.ensure(home, newDigests(all, before), signal);
      const artifact = await packArtifact({ files: groupFiles(group.id, all) });
      await home.push(artifact, groupTag(group.id), signal);
      this.#failures.delete(key);
      this.#published.set(key, new PublishedGroup(artifact.digest, clock.now(), all));
    } catch (error) {
      this.#fail(key, error, changedDeployments(before, all));
      throw error;
    }
    this.#options.onPublished(group);
    this.#options.onChange(changedDeployments(before, all));
    return again;
  }

  /** The members that are to have what is recorded; those that are suspended stay at what they have. */
  #members(group: Group): Member[] {
    const { fleet } = this.#options;
    return [...group.members].sort().flatMap((name) => {
      const spoke = fleet.spokes.get(name);
      const settings = fleet.settingsOf(name);
      if (spoke === undefined || settings === undefined || spoke.spec?.suspend === true) return [];
      return [{ name, settings, content: fleet.contents.of(name) }];
    });
  }

  /** Puts out the members that would make the artifact too large: they are placed anew. */
  #fitting(group: Group, members: readonly Member[]): readonly Member[] {
    if (distinctWorkloads(members) <= MAX_WORKLOADS) return members;
    let fitting = members.length;
    for (let low = 1; low < fitting; ) {
      const middle = Math.ceil((low + fitting) / 2);
      if (distinctWorkloads(members.slice(0, middle)) <= MAX_WORKLOADS) low = middle;
      else fitting = middle - 1;
    }
    group.full = true;
    const out = members.slice(fitting).map(({ name }) => name);
    for (const name of out) this.#options.fleet.groups.remove(name);
    this.#options.onOverflow(out);
    return members.slice(0, fitting);
  }

  /**
   * Spokes that the published artifact has and that are no active members any more. They keep what they
   * have until they are seen to read elsewhere: a source that moves late must not fail meanwhile.
   */
  #leaving(members: readonly Member[], before: PublishedGroup): Member[] {
    const { fleet } = this.#options;
    const active = new Set(members.map(({ name }) => name));
    return [...before.members.values()].filter(({ name }) => {
      const spoke = fleet.spokes.get(name);
      if (active.has(name) || spoke === undefined) return false;
      if (spoke.spec?.suspend === true) return true;
      return !fleet.hasMoved(spoke);
    });
  }

  /**
   * The same by what is recorded, for a process that has not published the group yet: who had been in
   * it and was on the way to another registry when the hub ended. They are about to read the settings
   * of the other registry; until then those of the group's other members do.
   */
  #recorded(group: Group, members: readonly Member[]): Member[] {
    const { fleet } = this.#options;
    const [example] = members;
    if (example === undefined || fleet.registries.all.length < 2) return [];
    return fleet.spokes
      .list()
      .filter((spoke) => fleet.mayRead(spoke, group))
      .map(({ metadata: { name = '' } }) => ({
        name,
        settings: example.settings,
        content: fleet.contents.of(name),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #fail(key: string, error: unknown, deployments: Iterable<string>): void {
    const { message } = failureOf(error);
    if (this.#failures.get(key) === message) return;
    this.#failures.set(key, message);
    this.#options.onChange(deployments);
  }
}

function fingerprintOf(members: readonly Member[]): string {
  return members
    .map(({ name, settings, content }) => `${name} ${content.id} ${settingsKey(settings)}`)
    .join('\n');
}

/** Digests that the artifact is to name and has not named so far. */
function newDigests(members: readonly Member[], before: PublishedGroup | undefined): Set<string> {
  const known = digestsOf(uniqueContents([...(before?.members.values() ?? [])]));
  return new Set([...digestsOf(uniqueContents(members))].filter((digest) => !known.has(digest)));
}

function digestsOf(members: readonly Member[]): Set<string> {
  return new Set(members.flatMap(({ content }) => [...content.entries.values()].map(({ digest }) => digest)));
}

/** Deployments that some spoke has otherwise than before. */
function changedDeployments(before: PublishedGroup | undefined, members: readonly Member[]): Set<string> {
  const changed = new Set<string>();
  const seen = new Set<string>();
  for (const { name, content } of members) {
    const old = before?.contentOf(name);
    const pair = `${old?.id ?? '-'} ${content.id}`;
    if (old?.id === content.id || seen.has(pair)) continue;
    seen.add(pair);
    for (const key of new Set([...(old?.entries.keys() ?? []), ...content.entries.keys()])) {
      if (old?.entries.get(key)?.id !== content.entries.get(key)?.id) changed.add(key);
    }
  }
  return changed;
}
