import { mapLimit } from '@mural/core';
import { checkWay } from './checks.ts';
import { type MigrationWorld, startOf } from './migration.ts';
import { BACK, FORWARD } from './session.ts';
import type { MigrationPhase } from './state.ts';
import { waveSpokes } from './waves.ts';

/** What a migration would do. */
export interface MigrationPreview {
  /** The phase that it would go on from. */
  readonly phase: MigrationPhase;
  readonly source: string;
  readonly target: string;
  readonly artifacts: number;
  /** Of those, how many the target does not have, and the bytes that it lacks for them. */
  readonly toCopy: number;
  readonly bytes: number;
  /** Who uses artifacts that neither registry has. */
  readonly missing: readonly string[];
  /** Spokes by what becomes of them. */
  readonly spokes: {
    readonly toMove: readonly string[];
    readonly moved: readonly string[];
    /** Not heard at present: they move when they come back. */
    readonly unheard: readonly string[];
    /** They never reported or are suspended, and stay unless they are assumed. */
    readonly silent: readonly string[];
  };
  /** Sizes of the waves. */
  readonly waves: readonly number[];
  readonly warnings: readonly string[];
}

/**
 * Works out what {@link migrate} or {@link rollBack} would do. Writes nothing.
 *
 * @throws MigrationError as they do before they change anything
 */
export async function previewMigration(world: MigrationWorld, way: 'to' | 'from'): Promise<MigrationPreview> {
  const direction = way === 'to' ? FORWARD : BACK;
  const { plan, ports, signal } = world;
  const { state } = await startOf(world, direction);
  const fleet = await ports.fleet.read(signal);
  const warnings = await checkWay(world, direction, fleet);
  let toCopy = 0;
  let bytes = 0;
  const missing: string[] = [];
  await mapLimit(fleet.artifacts, 4, async (artifact) => {
    const estimate = await ports.registries.estimate(artifact, way, signal);
    if (estimate.found && !estimate.present) toCopy += 1;
    if (!estimate.found && artifact.use !== 'reported') missing.push(artifact.user);
    bytes += estimate.bytes;
  });
  const switched = new Set(state.switched);
  const assumed = new Set(plan.assumed);
  const all = fleet.spokes.filter(({ fixedUrl }) => fixedUrl === undefined);
  const staying = all.filter(({ name }) => switched.has(name) !== (way === 'to'));
  const silent = staying.filter((s) => !assumed.has(s.name) && (!s.reports || s.suspended));
  const moving = staying.filter((spoke) => !silent.includes(spoke));
  const names = (spokes: readonly { readonly name: string }[]) => spokes.map(({ name }) => name).sort();
  return {
    phase: state.phase,
    source: plan[direction.source].url,
    target: plan[direction.target].url,
    artifacts: fleet.artifacts.length,
    toCopy,
    bytes,
    missing: missing.sort(),
    spokes: {
      toMove: names(moving),
      moved: names(all.filter((spoke) => !staying.includes(spoke))),
      unheard: names(moving.filter(({ connected }) => !connected)),
      silent: names(silent),
    },
    waves: wavesOf(moving.length, state.waves === 0, waveSpokes(plan.waveSize, fleet.spokes.length)),
    warnings,
  };
}

function wavesOf(spokes: number, canary: boolean, size: number): number[] {
  const waves: number[] = [];
  for (let left = spokes; left > 0; ) {
    const next = Math.min(left, canary && waves.length === 0 ? 1 : size);
    waves.push(next);
    left -= next;
  }
  return waves;
}
