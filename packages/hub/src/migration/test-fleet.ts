import type { Clock } from '@mural/core';
import { OciError } from '@mural/oci';
import { rootTag } from '../settings.ts';
import { MigrationError } from './errors.ts';
import { type Fleet, type FleetSpoke, mergeArtifacts, type UsedArtifact } from './fleet.ts';
import type { MigrationWorld } from './migration.ts';
import type { MigrationEnd, MigrationEvent, MigrationPlan, MigrationPorts, StoredValues } from './ports.ts';
import { type MigrationSide, type MigrationState, parseMigration, sideOf } from './state.ts';

/** What a killed process throws in the tests. */
export class Killed extends Error {}

const URLS = { from: 'oci://old.example/mural/workloads', to: 'oci://new.example/fleet/workloads' } as const;
const WORKLOADS = ['default/one', 'default/two'];

/** A spoke that reads one of two registries, and moves when its root tells it to. */
export interface FakeSpoke {
  readonly name: string;
  reads: MigrationSide;
  /** Whether it gets to the registry and to the hub. */
  online: boolean;
  /** Whether it gets to the hub only. */
  cut: boolean;
  /** Workloads that never get ready on it. */
  readonly failing: Set<string>;
  /** Whether it tells the hub anything at all. */
  reports: boolean;
  suspended: boolean;
  fixedUrl: string | undefined;
  /** Whether its object names the old registry because values say so. */
  fromValues: boolean;
  readonly running: Map<string, string>;
  /** What it last reported. */
  report: { readonly url: string | undefined; readonly running: ReadonlyMap<string, string> };
  complaint: string | undefined;
}

/**
 * A hub, its spokes and two registries in memory. Hub and spokes take a turn whenever the migration
 * waits, and between its calls at random; each call may be its last.
 */
export class FakeFleet implements MigrationPorts {
  readonly contents = { from: new Set<string>(), to: new Set<string>() };
  readonly tags = { from: new Map<string, string>(), to: new Map<string, string>() };
  readonly spokes: FakeSpoke[] = [];
  readonly wanted = new Map<string, string>();
  readonly events: MigrationEvent[] = [];
  /** What must never happen, and did. */
  readonly violations: string[] = [];
  readonly down = { from: false, to: false };
  elsewhere: Fleet['elsewhere'] = [];
  inputs: UsedArtifact[] = [];
  hubAlive = true;
  /** Calls until the process that drives the migration is killed. */
  fuse = Number.POSITIVE_INFINITY;
  /** Told before each call. */
  onCall: () => void = () => undefined;
  stored: { state: string | undefined; version: number } = { state: undefined, version: 0 };
  kept: { values: StoredValues; version: number } = {
    values: { current: 'OLD', previous: undefined },
    version: 1,
  };
  random = (): number => 0;
  #now = Date.UTC(2026, 0, 1);
  #revision = 0;
  #known: readonly string[] = [];

  constructor(spokes: number) {
    for (const key of WORKLOADS) this.rollOut(key);
    for (let index = 1; index <= spokes; index += 1) this.addSpoke(`edge-${String(index).padStart(2, '0')}`);
    this.turn();
    this.turn();
  }

  addSpoke(name: string): FakeSpoke {
    const spoke: FakeSpoke = {
      name,
      reads: this.hubSides()[0] ?? 'from',
      ...{
        online: true,
        cut: false,
        reports: true,
        suspended: false,
        fixedUrl: undefined,
        fromValues: false,
        complaint: undefined,
      },
      failing: new Set(),
      running: new Map(),
      report: { url: undefined, running: new Map() },
    };
    this.spokes.push(spoke);
    return spoke;
  }

  spoke(name: string): FakeSpoke {
    const found = this.spokes.find((spoke) => spoke.name === name);
    if (found === undefined) throw new Error(`there is no spoke ${name}`);
    return found;
  }

  /** A new version of a workload. The hub takes it to the registries of its spokes and only then records it. */
  rollOut(key: string): void {
    this.#revision += 1;
    const digest = `sha256:${String(this.#revision).padStart(64, '0')}`;
    for (const side of this.hubSides()) {
      const read = this.spokes.length === 0 || this.spokes.some(({ name }) => this.assigned(name) === side);
      if (read) this.contents[side].add(digest);
    }
    this.wanted.set(key, digest);
  }

  get state(): MigrationState | undefined {
    return parseMigration(this.stored.state);
  }

  /** The registries that the hub works with: that of the values in force first. */
  hubSides(): MigrationSide[] {
    const side = (text: string | undefined): MigrationSide[] =>
      text === 'OLD' ? ['from'] : text === 'NEW' ? ['to'] : [];
    return [...side(this.kept.values.current), ...side(this.kept.values.previous)];
  }

  assigned(spoke: string): MigrationSide {
    const [first = 'from', ...others] = this.hubSides();
    const side = sideOf(this.state, spoke);
    return side !== undefined && (side === first || others.includes(side)) ? side : first;
  }

  /** One turn of the hub, then of each spoke. */
  turn(): void {
    if (this.hubAlive) this.#hubTurn();
    for (const spoke of this.spokes) if (spoke.online) this.#spokeTurn(spoke);
    this.#judge();
  }

  #hubTurn(): void {
    for (const { name, suspended, fixedUrl } of this.spokes) {
      if (suspended || fixedUrl !== undefined) continue;
      const home = this.assigned(name);
      const sides = this.hubSides();
      // Content first, from the other registry where it is only there; then the root, into all of them.
      for (const digest of this.wanted.values()) {
        if (sides.some((side) => this.contents[side].has(digest))) this.contents[home].add(digest);
      }
      for (const side of [home, ...sides]) this.tags[side].set(rootTag(name), `root of ${name} at ${home}`);
    }
  }

  #spokeTurn(spoke: FakeSpoke): void {
    if (spoke.suspended || spoke.cut || spoke.fixedUrl !== undefined) return;
    const root = this.tags[spoke.reads].get(rootTag(spoke.name));
    if (root === undefined || this.down[spoke.reads]) return;
    const told: MigrationSide = root.endsWith(' to') ? 'to' : 'from';
    if (told !== spoke.reads) {
      spoke.reads = told;
      if (this.tags[told].get(rootTag(spoke.name)) === undefined) {
        this.violations.push(`${spoke.name} was sent to ${told}, which has no root for it`);
      }
    }
    for (const [key, digest] of this.wanted) {
      if (this.contents[spoke.reads].has(digest) && !spoke.failing.has(key)) spoke.running.set(key, digest);
    }
    if (spoke.reports) spoke.report = { url: URLS[spoke.reads], running: new Map(spoke.running) };
  }

  #judge(): void {
    for (const { name, reads, running } of this.spokes) {
      for (const [key, digest] of running) {
        if (!this.contents[reads].has(digest)) {
          this.violations.push(`${name} reads ${reads}, which does not have ${key} at ${digest.slice(-4)}`);
        }
      }
    }
  }

  /** No spoke may be told to move before all that the migration knows of is where it moves to. */
  #judgeWave({ phase, wave }: MigrationState): void {
    const target = phase === 'SwitchingSpokes' ? 'to' : 'from';
    for (const digest of this.#known) {
      if (!this.contents[target].has(digest)) {
        this.violations.push(`${wave.join()} are told to move before ${target} has ${digest.slice(-4)}`);
      }
    }
  }

  /** A call of the migration: what can happen around one. */
  async #call<T>(action: () => T): Promise<T> {
    this.onCall();
    await Promise.resolve();
    if (this.random() < 0.3) this.turn();
    this.fuse -= 1;
    // Killed before the call got through, or after it did and before anybody knew.
    if (this.fuse < 1 && this.random() < 0.5) throw new Killed();
    const result = action();
    if (this.fuse < 1) throw new Killed();
    return result;
  }

  readonly clock: Clock = {
    now: () => this.#now,
    sleep: async (ms, signal) => {
      await Promise.resolve();
      signal?.throwIfAborted();
      this.#now += ms;
      this.turn();
    },
    timer: () => () => undefined,
  };

  readonly progress = (event: MigrationEvent): void => void this.events.push(event);

  readonly states: MigrationPorts['states'] = {
    read: async () =>
      this.#call(() => ({ value: this.state, version: this.stored.state && String(this.stored.version) })),
    write: async (state, version) =>
      this.#call(() => {
        const expected = this.stored.state === undefined ? undefined : String(this.stored.version);
        if (version !== expected) throw new MigrationError('Interleaved', 'another run has written');
        if (state.wave.length > 0 && (this.state?.wave.length ?? 0) === 0) this.#judgeWave(state);
        this.stored = { state: JSON.stringify(state), version: this.stored.version + 1 };
        return String(this.stored.version);
      }),
  };

  readonly values: MigrationPorts['values'] = {
    read: async () => this.#call(() => ({ value: this.kept.values, version: String(this.kept.version) })),
    write: async (values, version) =>
      this.#call(() => {
        if (version !== String(this.kept.version)) throw new MigrationError('Interleaved', 'changed');
        this.kept = { values, version: this.kept.version + 1 };
      }),
  };

  readonly fleet: MigrationPorts['fleet'] = {
    read: async () =>
      this.#call(() => {
        const artifacts = this.#artifacts();
        this.#known = artifacts.map(({ reference }) => reference);
        return {
          spokes: this.spokes.map((spoke) => this.#seen(spoke)),
          artifacts,
          elsewhere: this.elsewhere,
        };
      }),
  };

  #seen(spoke: FakeSpoke): FleetSpoke {
    const { name, reports, online, suspended, fixedUrl, report, complaint } = spoke;
    const wanted = suspended ? new Map<string, string>() : new Map(this.wanted);
    const connected = online && reports;
    return {
      ...{ name, reports, connected, suspended, fixedUrl, wanted, complaint },
      registryUrl: report.url,
      rootRegistryUrl: report.url,
      ownUrl: fixedUrl ?? (spoke.fromValues ? URLS.from : undefined),
      running: report.running,
    };
  }

  #artifacts(): UsedArtifact[] {
    const of = (use: UsedArtifact['use'], user: string) => (reference: string) => ({
      ...{ reference, use, user },
      tags: [],
    });
    return mergeArtifacts([
      ...[...this.wanted.values()].map(of('required', 'workload')),
      ...this.spokes.flatMap(({ report, name }) => [...report.running.values()].map(of('reported', name))),
      ...this.inputs,
    ]);
  }

  readonly registries: MigrationPorts['registries'] = {
    copy: async ({ reference }, { to, onlyMissing }) =>
      this.#call(() => {
        const source = to === 'to' ? 'from' : 'to';
        if (onlyMissing && this.contents[to].has(reference)) return { found: true, bytes: 0 };
        this.#reach(source);
        this.#reach(to);
        if (this.contents[to].has(reference)) return { found: true, bytes: 0 };
        if (!this.contents[source].has(reference)) return { found: false, bytes: 0 };
        this.contents[to].add(reference);
        return { found: true, bytes: 100 };
      }),
    estimate: async ({ reference }, to) =>
      this.#call(() => {
        const source = to === 'to' ? 'from' : 'to';
        const present = this.contents[to].has(reference);
        const found = present || this.contents[source].has(reference);
        return { found, present, bytes: found && !present ? 100 : 0 };
      }),
    head: async (side, tag) =>
      this.#call(() => {
        this.#reach(side);
        return this.tags[side].get(tag);
      }),
    probe: async (side) => this.#call(() => this.#reach(side)),
  };

  #reach(side: MigrationSide): void {
    if (this.down[side])
      throw new OciError('Unreachable', `${URLS[side]} does not answer`, { retryable: true });
  }

  /** A run with this fleet as its world. */
  world(changes: Partial<MigrationPlan> = {}): MigrationWorld {
    const end = (side: MigrationSide, text: string): MigrationEnd => ({
      ...{ url: URLS[side], text, valuesHash: `hash of ${text}` },
      spokeUrl: () => URLS[side],
      names: () => false,
    });
    const plan: MigrationPlan = {
      ...{ id: 'm-1', from: end('from', 'OLD'), to: end('to', 'NEW') },
      hashOf: (text) => `hash of ${text}`,
      ...{ waveSize: { percent: 10 }, timeoutMs: 60_000, pollMs: 1000, assumed: [] },
      ...changes,
    };
    return { plan, ports: this, signal: new AbortController().signal };
  }
}
