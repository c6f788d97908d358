import type { Clock, Random } from '@mural/core';
import type { Fleet, UsedArtifact } from './fleet.ts';
import type { MigrationSide, MigrationState } from './state.ts';

/** Where the state of the migration is kept. */
export interface StateStore {
  /** @throws MigrationError `StateUnreadable` */
  read(signal: AbortSignal): Promise<Versioned<MigrationState>>;
  /**
   * Writes it if nobody else has since `version` was read.
   *
   * @returns the version that is stored now
   * @throws MigrationError `Interleaved`
   */
  write(state: MigrationState, version: string | undefined, signal: AbortSignal): Promise<string>;
}

/** What is stored, if anything is, and the version that a write must name. */
export interface Versioned<T> {
  readonly value: T | undefined;
  readonly version: string | undefined;
}

/** Texts of the Secret that the hub's home reads its values from. */
export interface StoredValues {
  readonly current: string | undefined;
  readonly previous: string | undefined;
}

/** The values that are in force. */
export interface ValuesStore {
  read(signal: AbortSignal): Promise<Versioned<StoredValues>>;
  /**
   * Writes both texts, the previous one first where it is given; one that is not is taken away last.
   *
   * @throws MigrationError `Interleaved` when somebody else has written since `version` was read
   */
  write(values: StoredValues, version: string | undefined, signal: AbortSignal): Promise<void>;
}

/** The fleet as the API shows it now. */
export interface FleetView {
  read(signal: AbortSignal): Promise<Fleet>;
}

/** What one copy came to. */
export interface CopyOutcome {
  /** Whether either end has it. What neither has was not copied. */
  readonly found: boolean;
  readonly bytes: number;
}

/** Where a copy goes. */
export interface CopyWay {
  readonly to: MigrationSide;
  /** What the target holds whole is not looked for at the source, which may be gone. */
  readonly onlyMissing: boolean;
}

/** How much of an artifact a copy would send. */
export interface CopyEstimate {
  readonly found: boolean;
  /** Whether the target has its manifest. */
  readonly present: boolean;
  readonly bytes: number;
}

/** The two registries. */
export interface MigrationRegistries {
  /**
   * Copies an artifact with what refers to it to an end, and proves that all of it is there.
   *
   * @throws MigrationError `CopyIncomplete`, `TagTaken`; OciError
   */
  copy(artifact: UsedArtifact, way: CopyWay, signal: AbortSignal): Promise<CopyOutcome>;
  /** What {@link copy} would do; changes nothing. */
  estimate(artifact: UsedArtifact, to: MigrationSide, signal: AbortSignal): Promise<CopyEstimate>;
  /** The digest that a tag names at an end. */
  head(side: MigrationSide, tag: string, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Whether an end can be read and, if asked, written. Leaves nothing behind.
   *
   * @throws OciError
   */
  probe(side: MigrationSide, write: boolean, signal: AbortSignal): Promise<void>;
}

/** What a migration tells while it runs. */
export type MigrationEvent =
  | { readonly type: 'step'; readonly step: MigrationStep; readonly message: string }
  | { readonly type: 'copied'; readonly done: number; readonly total: number; readonly bytes: number }
  | { readonly type: 'spoke'; readonly spoke: string; readonly url: string }
  | { readonly type: 'warning'; readonly message: string };

export type MigrationStep = 'check' | 'inventory' | 'copy' | 'hub' | 'wave' | 'done';

/** The world around a migration. */
export interface MigrationPorts {
  readonly states: StateStore;
  readonly values: ValuesStore;
  readonly fleet: FleetView;
  readonly registries: MigrationRegistries;
  readonly clock: Clock;
  readonly random: Random;
  readonly progress: (event: MigrationEvent) => void;
}

/** One end as its values describe it. */
export interface MigrationEnd {
  /** Repository that the hub writes: `oci://host/path`. */
  readonly url: string;
  /** The values document; it may hold secrets. */
  readonly text: string;
  readonly valuesHash: string;
  /** Repository that a spoke reads at this end. */
  spokeUrl(spoke: string): string;
  /** Whether the values name the spoke: then they write its registry, or take it away. */
  names(spoke: string): boolean;
}

/** How many spokes a wave after the first has. */
export type WaveSize = { readonly spokes: number } | { readonly percent: number };

/** What is to be moved, and how. */
export interface MigrationPlan {
  readonly id: string;
  readonly from: MigrationEnd;
  readonly to: MigrationEnd;
  /** {@link registryPartHash} of a values document; `undefined` when it cannot be read. */
  hashOf(text: string): string | undefined;
  readonly waveSize: WaveSize;
  /** How long the hub, and then each wave, may take, in milliseconds. */
  readonly timeoutMs: number;
  /** How often the fleet is looked at while something is waited for, in milliseconds. */
  readonly pollMs: number;
  /** Spokes that count as moved although they do not report. */
  readonly assumed: readonly string[];
}
