import { canonicalJson, type Clock, errorMessage, jsonEqual, type Logger } from '@mural/core';
import {
  isUnderWay,
  MIGRATION_CONFIG_MAP,
  MIGRATION_KEY,
  type MigrationState,
  parseMigration,
  registryPartHash,
} from '@mural/hub';
import {
  CONFIG_MAPS,
  createCache,
  createController,
  type EventRecorder,
  type KubeClient,
  type KubeObject,
  MURAL_NAMESPACE,
  SECRETS,
  type Spoke,
  SPOKES,
  watching,
} from '@mural/kube';
import type { Values } from '@mural/values';
import { afterMigration } from './after-migration.ts';
import type { Delivery, DeliveryPlan } from './delivery.ts';
import { type Dependent, dependentsOf, describeDependents, type Seen, seenOf } from './dependents.ts';
import { placeOf, usesEmbedded } from './registry-choice.ts';
import { type FormerDocument, requireValues, TakenValues } from './taken-values.ts';
import { defaultDocument, errorLines, readValues, type ValuesDocument } from './values-document.ts';
import {
  type StoredTexts,
  textOf,
  textsOf,
  VALUES_FILE,
  VALUES_SECRET,
  type ValuesStore,
} from './values-store.ts';
import { refusalOf, tellVerdict, type Verdict } from './verdict.ts';

/** Values that `mural up` was given. */
export interface GivenValues {
  readonly text: string;
  /** Name of the file, for findings. */
  readonly file: string;
}

export interface ValuesInForceOptions {
  /** Acts as the home itself. */
  readonly client: KubeClient;
  readonly store: ValuesStore;
  readonly delivery: Delivery;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a turn is made from. */
interface World {
  readonly texts: StoredTexts;
  /** The latest migration, under way or ended. */
  readonly state: MigrationState | undefined;
  readonly spokes: readonly Spoke[];
}

const KEY = `${MURAL_NAMESPACE}/${VALUES_SECRET}`;
const BACKOFF = { baseMs: 1000, capMs: 5 * 60_000 };

/**
 * Keeps what the home does equal to its values: takes what stands in the Secret, if it is valid, and
 * holds on to a former registry until no spoke depends on it any more.
 */
export class ValuesInForce {
  readonly #options: ValuesInForceOptions;
  readonly #listeners = new Set<() => void>();
  readonly #taken: TakenValues;
  /** What spokes had reported when the registry changed. */
  #seen: ReadonlyMap<string, Seen> = new Map();
  #applied: string | undefined;
  #verdict: Verdict = { text: undefined, state: 'InForce', message: '' };
  #stop: (() => Promise<void>) | undefined;

  constructor(options: ValuesInForceOptions) {
    this.#options = options;
    this.#taken = new TakenValues(options.store, options.clock);
  }

  /** What became of the values in the Secret. */
  get verdict(): Verdict {
    return this.#verdict;
  }

  /** The values in force. */
  get document(): ValuesDocument {
    return this.#taken.state.document;
  }

  /** Calls back when the verdict is another; answers how to stop that. */
  onVerdict(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What of a new text may be put into force, as a migration of the registry leaves it. */
  async afterMigration(text: string, file: string) {
    const state = await this.#migration();
    return afterMigration({ text, file, state, inForce: this.document });
  }

  /**
   * Puts the first values into force: those given, else those of an earlier start, else the defaults.
   *
   * @throws CliError `ValuesInvalid`; what {@link Delivery.apply} throws
   */
  async begin(given: GivenValues | undefined): Promise<void> {
    const { client, store, log } = this.#options;
    await this.#taken.load(log);
    const before = await store.texts();
    if (given !== undefined) {
      requireValues(given.text, given.file);
      const kept = await this.afterMigration(given.text, given.file);
      if (kept.warning !== undefined) log.warn(kept.warning);
      await store.write(kept.text);
    }
    const { items: spokes } = await client.list<Spoke>(SPOKES);
    const world = { texts: await store.texts(), state: await this.#migration(), spokes };
    try {
      await this.#turn(world);
    } catch (error) {
      if (given !== undefined && before.current !== undefined) await store.write(before.current);
      if (given !== undefined || this.document.text === world.texts.current) throw error;
      await this.#carryOut(world);
    }
  }

  /** Follows the Secret, the migration and the reports of spokes from now on. */
  start(): void {
    const { client, clock, log } = this.#options;
    const shared = { client, clock, log };
    const named = (name: string) => ({ namespace: MURAL_NAMESPACE, fieldSelector: `metadata.name=${name}` });
    const secrets = createCache<KubeObject>({ ...shared, resource: SECRETS, ...named(VALUES_SECRET) });
    const maps = createCache<KubeObject>({
      ...shared,
      resource: CONFIG_MAPS,
      ...named(MIGRATION_CONFIG_MAP),
    });
    const spokes = createCache<Spoke>({ ...shared, resource: SPOKES });
    const controller = createController({
      ...shared,
      name: 'values',
      primary: secrets,
      changed: (now, before) => !jsonEqual(textsOf(now), textsOf(before)),
      watches: [
        watching(maps, () => [KEY]),
        // Without a former registry it does not matter what spokes read.
        watching(spokes, () => (this.#awaits() ? [KEY] : [])),
      ],
      reconcile: async () =>
        this.#turn({
          texts: textsOf(secrets.get(KEY)),
          state: stateOf(maps.list()[0]),
          spokes: spokes.list(),
        }),
      concurrency: 1,
      backoff: BACKOFF,
    });
    for (const cache of [secrets, maps, spokes]) cache.start();
    controller.start();
    this.#stop = async () => {
      await controller.stop();
      await Promise.all([secrets, maps, spokes].map(async (cache) => cache.stop()));
    };
  }

  async stop(): Promise<void> {
    await this.#stop?.();
  }

  #awaits(): boolean {
    return this.#taken.state.former.length > 0 || this.#verdict.state === 'Waiting';
  }

  async #turn(world: World): Promise<void> {
    // A Secret that is gone takes nothing back: `helm uninstall` must not move a fleet.
    const wanted = world.texts.current ?? this.document.text;
    const read = wanted === undefined ? { document: defaultDocument() } : readValues(wanted, VALUES_FILE);
    if (read.document === undefined) {
      await this.#carryOut(world);
      this.#conclude({ text: wanted, state: 'Invalid', message: errorLines(read.findings) });
      return;
    }
    const before = this.#taken.state;
    await this.#take(read.document, world);
    try {
      await this.#carryOut(world);
    } catch (error) {
      await this.#taken.restore(before);
      this.#applied = undefined;
      this.#conclude({ text: wanted, state: 'Failed', message: errorMessage(error) });
      throw error;
    }
    this.#conclude(this.#judge(wanted, world));
  }

  async #take(document: ValuesDocument, { spokes }: World): Promise<void> {
    const from = this.document;
    if (!(await this.#taken.take(document))) return;
    this.#seen = seenOf(spokes);
    const places = { from: placeOf(from.values), to: placeOf(document.values) };
    this.#options.log.info(places, 'the registry changes; spokes are told of it by the former one');
  }

  /** Brings the delivery to what is taken, and lets go of former registries that nobody needs any more. */
  async #carryOut(world: World): Promise<void> {
    const { delivery, log } = this.#options;
    const plan = this.#plan(world);
    const key = keyOf(plan);
    if (key !== this.#applied) {
      this.#applied = undefined;
      await delivery.apply(plan);
      this.#applied = key;
    }
    const { former } = this.#taken.state;
    if (former.length === 0 || plan.migration !== undefined || this.#dependents(world).length > 0) return;
    const registries = former.map(({ values }) => placeOf(values));
    await this.#taken.letGo();
    log.info({ registries }, 'every spoke reads the present registry; the former one is let go of');
    await this.#carryOut(world);
  }

  #plan({ state, texts, spokes }: World): DeliveryPlan {
    const { document, former } = this.#taken.state;
    const { values } = document;
    const migration = state !== undefined && isUnderWay(state) ? state : undefined;
    const previous = migration === undefined ? undefined : texts.previous;
    const stored = previous === undefined ? undefined : readValues(previous, VALUES_FILE).document;
    const documents = [...former, ...(stored === undefined ? [] : [stored])];
    const others = new Map(documents.map((one) => [placeOf(one.values), one.values]));
    others.delete(placeOf(values));
    const needed = [values, ...others.values()].some(usesEmbedded);
    return {
      values,
      others: [...others.values()],
      migration,
      assumed: assumedIn(state, values),
      runEmbedded: values.zot.enabled || needed || this.#pinned(spokes).length > 0,
    };
  }

  #dependents({ spokes, state }: Pick<World, 'spokes' | 'state'>): Dependent[] {
    const { delivery } = this.#options;
    const assumed = assumedMoved(state, this.#taken.state.former);
    const counted = spokes.filter(({ metadata }) => !assumed.has(metadata.name ?? ''));
    return dependentsOf(counted, (spoke) => delivery.settingsOf(spoke)?.url, this.#seen);
  }

  /** Spokes whose own objects name the embedded registry. */
  #pinned(spokes: readonly Spoke[]): string[] {
    const { embeddedHost: host } = this.#options.delivery;
    if (host === undefined) return [];
    return spokes
      .filter(({ spec, metadata }) => spec?.suspend !== true && metadata.deletionTimestamp === undefined)
      .filter(({ spec }) => spec?.ociRegistry?.endpoint.startsWith(`oci://${host}/`) === true)
      .map(({ metadata }) => metadata.name ?? '');
  }

  /** The verdict on values that are in force: it is not all of them when the embedded registry is still needed. */
  #judge(text: string | undefined, world: World): Verdict {
    const { document, former } = this.#taken.state;
    const { values } = document;
    const { migration, runEmbedded } = this.#plan(world);
    if (values.zot.enabled || usesEmbedded(values) || !runEmbedded) {
      return { text, state: 'InForce', message: `the registry is ${placeOf(values)}` };
    }
    const message = refusalOf({
      pinned: this.#pinned(world.spokes),
      dependents: describeDependents(this.#dependents(world)),
      since: former.find((one) => usesEmbedded(one.values))?.since,
      migrating: migration !== undefined,
    });
    return { text, state: 'Waiting', message };
  }

  #conclude(verdict: Verdict): void {
    const before = this.#verdict;
    if (jsonEqual(before, verdict)) return;
    this.#verdict = verdict;
    const same = before.state === verdict.state && before.message === verdict.message;
    // Where nobody gave values there is nothing to tell about.
    if (!same && verdict.text !== undefined) tellVerdict(verdict, this.#options.events, this.#options.log);
    for (const listener of this.#listeners) listener();
  }

  async #migration(): Promise<MigrationState | undefined> {
    const ref = { name: MIGRATION_CONFIG_MAP, namespace: MURAL_NAMESPACE };
    return stateOf(await this.#options.client.find(CONFIG_MAPS, ref));
  }
}

/**
 * Spokes that the operator of a migration declared to have moved although they do not report. It holds
 * as long as the registries of that migration are those in question.
 */
function assumedMoved(
  state: MigrationState | undefined,
  former: readonly FormerDocument[],
): ReadonlySet<string> {
  if (state === undefined || isUnderWay(state)) return new Set();
  const left = (state.phase === 'Completed' ? state.from : state.to).valuesHash;
  const same = former.every(({ values }) => registryPartHash(values) === left);
  return new Set(same ? state.assumed : []);
}

/**
 * Spokes that are moved unseen by the last migration. It may have ended, and one of them still read the
 * root that is to send it on.
 */
function assumedIn(state: MigrationState | undefined, values: Values): readonly string[] {
  if (state === undefined) return [];
  const hash = registryPartHash(values);
  return hash === state.to.valuesHash || hash === state.from.valuesHash ? state.assumed : [];
}

/** Equal for plans that come to the same. It holds secrets. */
function keyOf({ values, others, migration, assumed, runEmbedded }: DeliveryPlan): string {
  const sides = migration && { from: migration.from, to: migration.to, switched: migration.switched };
  return canonicalJson({ values, others, sides, assumed, runEmbedded });
}

function stateOf(object: KubeObject | undefined): MigrationState | undefined {
  return parseMigration(textOf(object, MIGRATION_KEY));
}
