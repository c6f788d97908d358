import { canonicalJson, type Clock, errorMessage, jsonEqual, type Logger, rfc3339 } from '@mural/core';
import {
  isUnderWay,
  MIGRATION_CONFIG_MAP,
  MIGRATION_KEY,
  type MigrationState,
  parseMigration,
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
import { CliError } from '../errors.ts';
import { afterMigration } from './after-migration.ts';
import type { Delivery, DeliveryPlan } from './delivery.ts';
import { type Dependent, dependentsOf, describeDependents } from './dependents.ts';
import { placeOf, usesEmbedded } from './registry-choice.ts';
import { defaultDocument, errorLines, readValues, type ValuesDocument } from './values-document.ts';
import {
  type StoredTexts,
  textOf,
  textsOf,
  VALUES_KEY,
  VALUES_SECRET,
  type ValuesStore,
} from './values-store.ts';

/** What became of a values document. */
export interface Verdict {
  /** The text that was judged; `undefined` where there is none. */
  readonly text: string | undefined;
  /** `Waiting`: in force but for `zot.enabled: false`, which follows by itself. */
  readonly state: 'InForce' | 'Waiting' | 'Invalid' | 'Failed';
  /** For people, without secrets. */
  readonly message: string;
}

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

/** Former values whose registry some spokes may still read. */
interface FormerDocument extends ValuesDocument {
  readonly since: string;
}

interface Taken {
  readonly document: ValuesDocument;
  readonly former: readonly FormerDocument[];
}

/** What a turn is made from. */
interface World {
  readonly texts: StoredTexts;
  /** The migration that is under way, if one is. */
  readonly migration: MigrationState | undefined;
  readonly spokes: readonly Spoke[];
}

const KEY = `${MURAL_NAMESPACE}/${VALUES_SECRET}`;
const FILE = `${VALUES_SECRET}/${VALUES_KEY}`;
/** Registries that are kept for spokes beside the present one. */
const MAX_FORMER = 4;
const BACKOFF = { baseMs: 1000, capMs: 5 * 60_000 };

/**
 * Keeps what the home does equal to its values: takes what stands in the Secret, if it is valid, and
 * holds on to a former registry until no spoke depends on it any more.
 */
export class ValuesInForce {
  readonly #options: ValuesInForceOptions;
  readonly #listeners = new Set<() => void>();
  #taken: Taken = { document: defaultDocument(), former: [] };
  /** Heartbeats of the spokes when the registry changed. */
  #seen = new Map<string, string | undefined>();
  #applied: string | undefined;
  /** Whether nothing was ever in force in this folder: then nobody reads a former registry. */
  #fresh = true;
  #verdict: Verdict = { text: undefined, state: 'InForce', message: '' };
  #stop: (() => Promise<void>) | undefined;

  constructor(options: ValuesInForceOptions) {
    this.#options = options;
  }

  /** What became of the values in the Secret. */
  get verdict(): Verdict {
    return this.#verdict;
  }

  /** The values in force. */
  get document(): ValuesDocument {
    return this.#taken.document;
  }

  /** Calls back when the verdict is another; answers how to stop that. */
  onVerdict(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What of a new text may be put into force, as a migration of the registry leaves it. */
  async afterMigration(text: string, file: string) {
    const state = await this.#migration();
    return afterMigration({ text, file, state, inForce: this.#taken.document });
  }

  /**
   * Puts the first values into force: those given, else those of an earlier start, else the defaults.
   *
   * @throws CliError `ValuesInvalid`; what {@link Delivery.apply} throws
   */
  async begin(given: GivenValues | undefined): Promise<void> {
    const { client, store, log } = this.#options;
    await this.#load();
    const before = await store.texts();
    if (given !== undefined) {
      requireValid(given);
      const kept = await this.afterMigration(given.text, given.file);
      if (kept.warning !== undefined) log.warn(kept.warning);
      await store.write(kept.text);
    }
    const { items: spokes } = await client.list<Spoke>(SPOKES);
    const world = { texts: await store.texts(), migration: underWay(await this.#migration()), spokes };
    try {
      await this.#turn(world);
    } catch (error) {
      if (given !== undefined && before.current !== undefined) await store.write(before.current);
      if (given !== undefined || jsonEqual(this.#taken.document.text, world.texts.current)) throw error;
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
    const controller = createController<KubeObject>({
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
          migration: underWay(stateOf(maps.list()[0])),
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
    return this.#taken.former.length > 0 || this.#verdict.state === 'Waiting';
  }

  async #turn(world: World): Promise<void> {
    const { text } = this.#taken.document;
    // A Secret that is gone takes nothing back: `helm uninstall` must not move a fleet.
    const wanted = world.texts.current ?? text;
    const read = wanted === undefined ? { document: defaultDocument() } : readValues(wanted, FILE);
    if (read.document === undefined) {
      await this.#carryOut(world);
      this.#conclude({ text: wanted, state: 'Invalid', message: errorLines(read.findings) });
      return;
    }
    const before = this.#taken;
    const fresh = this.#fresh;
    await this.#take(read.document, world);
    try {
      await this.#carryOut(world);
    } catch (error) {
      await this.#remember(before);
      this.#fresh = fresh;
      this.#applied = undefined;
      this.#conclude({ text: wanted, state: 'Failed', message: errorMessage(error) });
      throw error;
    }
    this.#conclude(this.#waiting(wanted, world));
  }

  /** Remembers new values before anything is done by them, and the former registry with its credential. */
  async #take(document: ValuesDocument, world: World): Promise<void> {
    const { document: old, former } = this.#taken;
    const same = jsonEqual(old.values, document.values);
    if (this.#fresh) {
      await this.#remember({ document, former: [] });
      return;
    }
    if (same && old.text === document.text) return;
    const [place, oldPlace] = [placeOf(document.values), placeOf(old.values)];
    const others = former.filter(({ values }) => ![place, oldPlace].includes(placeOf(values)));
    if (place === oldPlace) {
      await this.#remember({ document, former: others });
      return;
    }
    const { clock, log } = this.#options;
    this.#seen = new Map(
      world.spokes.map(({ metadata, status }) => [metadata.name ?? '', status?.lastHeartbeatTime]),
    );
    const left = { ...old, since: rfc3339(clock.now()) };
    await this.#remember({ document, former: [left, ...others].slice(0, MAX_FORMER) });
    log.info({ from: oldPlace, to: place }, 'the registry changes; spokes are told of it by the former one');
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
    const { former, document } = this.#taken;
    if (former.length === 0 || world.migration !== undefined || this.#dependents(world).length > 0) return;
    const places = former.map(({ values }) => placeOf(values));
    await this.#remember({ document, former: [] });
    log.info({ registries: places }, 'every spoke reads the present registry; the former one is let go of');
    await this.#carryOut(world);
  }

  #plan({ migration, texts, spokes }: World): DeliveryPlan {
    const { document, former } = this.#taken;
    const { values } = document;
    const stored =
      migration !== undefined && texts.previous !== undefined
        ? readValues(texts.previous, FILE).document
        : undefined;
    const others = new Map(
      [...former, ...(stored === undefined ? [] : [stored])].map((one) => [placeOf(one.values), one.values]),
    );
    others.delete(placeOf(values));
    const needed = [values, ...others.values()].some(usesEmbedded);
    return {
      values,
      others: [...others.values()],
      migration,
      runEmbedded: values.zot.enabled || needed || this.#pinned(spokes).length > 0,
    };
  }

  #dependents({ spokes }: Pick<World, 'spokes'>): Dependent[] {
    return dependentsOf(spokes, (spoke) => this.#options.delivery.settingsOf(spoke)?.url, this.#seen);
  }

  /** Spokes whose own objects name the embedded registry. */
  #pinned(spokes: readonly Spoke[]): string[] {
    const { delivery } = this.#options;
    const { embeddedHost: host } = delivery;
    if (host === undefined) return [];
    return spokes
      .filter(({ spec, metadata }) => spec?.suspend !== true && metadata.deletionTimestamp === undefined)
      .filter(({ spec }) => spec?.ociRegistry?.endpoint.startsWith(`oci://${host}/`) === true)
      .map(({ metadata }) => metadata.name ?? '');
  }

  /** The verdict on values that are in force, in words when the embedded registry has to wait. */
  #waiting(text: string | undefined, world: World): Verdict {
    const { document, former } = this.#taken;
    const { values } = document;
    const inForce = { text, state: 'InForce', message: `the registry is ${placeOf(values)}` } as const;
    if (values.zot.enabled || usesEmbedded(values) || !this.#plan(world).runEmbedded) return inForce;
    const pinned = this.#pinned(world.spokes);
    const since = former.find((one) => usesEmbedded(one.values))?.since;
    const who =
      pinned.length > 0
        ? `${pinned.join(', ')}, by spec.ociRegistry of ${pinned.length === 1 ? 'its' : 'their'} own`
        : describeDependents(this.#dependents(world));
    const change = since === undefined ? '' : ` (the registry is another since ${since})`;
    const under = world.migration !== undefined ? ', and a migration of the registry is under way' : '';
    const message = `zot.enabled: false is refused for now: the embedded registry is still needed by ${
      who === '' ? 'the migration' : who
    }${change}${under}. It is stopped by itself as soon as nobody needs it`;
    return { text, state: 'Waiting', message };
  }

  #conclude(verdict: Verdict): void {
    const before = this.#verdict;
    this.#verdict = verdict;
    if (before.state === verdict.state && before.message === verdict.message && before.text === verdict.text)
      return;
    const told = before.state !== verdict.state || before.message !== verdict.message;
    if (told) this.#tell(verdict);
    for (const listener of this.#listeners) listener();
  }

  #tell({ state, message }: Verdict): void {
    const { events, log } = this.#options;
    const metadata = { name: VALUES_SECRET, namespace: MURAL_NAMESPACE };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata };
    const words = {
      InForce: ['Normal', 'ValuesInForce', 'values are in force'],
      Waiting: ['Warning', 'RegistryInUse', 'the embedded registry cannot be stopped yet'],
      Invalid: ['Warning', 'ValuesInvalid', 'values are not valid; the former ones stay in force'],
      Failed: ['Warning', 'ValuesNotApplied', 'values could not be applied; the former ones stay in force'],
    } as const;
    const [type, reason, what] = words[state];
    events.event(secret, type, reason, `${what}: ${message}`);
    log[type === 'Normal' ? 'info' : 'warn']({ reason, detail: message }, what);
  }

  async #remember(taken: Taken): Promise<void> {
    const { document, former } = taken;
    this.#taken = taken;
    this.#fresh = false;
    await this.#options.store.take({
      text: document.text,
      former: former.flatMap(({ text, since }) => [{ text: text ?? '', since }]),
    });
  }

  async #load(): Promise<void> {
    const { store, log } = this.#options;
    const taken = await store.taken();
    if (taken === undefined) return;
    this.#fresh = false;
    const former: FormerDocument[] = [];
    for (const { text, since } of taken.former) {
      const { document, findings } = readValues(text, FILE);
      if (document !== undefined) former.push({ ...document, since });
      else log.warn({ detail: errorLines(findings) }, 'former values are not valid any more and are dropped');
    }
    const document = taken.text === undefined ? defaultDocument() : valid({ text: taken.text, file: FILE });
    this.#taken = { document, former };
  }

  async #migration(): Promise<MigrationState | undefined> {
    const ref = { name: MIGRATION_CONFIG_MAP, namespace: MURAL_NAMESPACE };
    return stateOf(await this.#options.client.find(CONFIG_MAPS, ref));
  }
}

function underWay(state: MigrationState | undefined): MigrationState | undefined {
  return state !== undefined && isUnderWay(state) ? state : undefined;
}

/** Equal for plans that come to the same. It holds secrets. */
function keyOf({ values, others, migration, runEmbedded }: DeliveryPlan): string {
  const sides = migration && { from: migration.from, to: migration.to, switched: migration.switched };
  return canonicalJson({ values, others, sides, runEmbedded });
}

function stateOf(object: KubeObject | undefined): MigrationState | undefined {
  return parseMigration(textOf(object, MIGRATION_KEY));
}

function requireValid(given: GivenValues): void {
  valid(given);
}

function valid({ text, file }: GivenValues): ValuesDocument {
  const { document, findings } = readValues(text, file);
  if (document !== undefined) return document;
  throw new CliError('ValuesInvalid', `the values are not valid:\n${errorLines(findings)}`, {
    hint: '"mural values lint FILE" checks a file',
  });
}
