import { rfc3339 } from '@mural/core';
import { checkWay } from './checks.ts';
import { copyArtifacts } from './copying.ts';
import { MigrationError } from './errors.ts';
import { dropPrevious, switchHub } from './hub-switch.ts';
import type { MigrationPlan, MigrationPorts } from './ports.ts';
import { BACK, type Direction, FORWARD, Session } from './session.ts';
import { isUnderWay, type MigrationState } from './state.ts';
import { moveSpokes } from './waves.ts';

/** A plan, the world that it is carried out in, and what ends it. */
export interface MigrationWorld {
  readonly plan: MigrationPlan;
  readonly ports: MigrationPorts;
  readonly signal: AbortSignal;
}

/**
 * Moves the fleet from one registry to another: copies what it uses, moves the hub, then the spokes in
 * waves. Goes on from wherever an earlier run stopped.
 *
 * @returns the state when all is moved
 * @throws MigrationError; what was done stays done
 */
export async function migrate(world: MigrationWorld): Promise<MigrationState> {
  return await carryOut(world, FORWARD);
}

/**
 * Takes a migration back, from whatever phase it is in.
 *
 * @throws MigrationError `NothingToRollBack` and as {@link migrate}
 */
export async function rollBack(world: MigrationWorld): Promise<MigrationState> {
  return await carryOut(world, BACK);
}

async function carryOut(world: MigrationWorld, direction: Direction): Promise<MigrationState> {
  const { ports, signal } = world;
  const start = await startOf(world, direction);
  const session = new Session(world, direction, start);
  if (session.state.phase !== direction.done) {
    session.step('check', `${session.source.url} to ${session.target.url}`);
    const warnings = await checkWay(world, direction, await ports.fleet.read(signal));
    for (const warning of warnings) session.warn(warning);
    // Written once more: whoever drives it says so, and another who does finds out at once.
    await session.update({});
  }
  await advance(session);
  return session.state;
}

/** Goes through the phases, each of which begins by being written down. */
async function advance(session: Session): Promise<void> {
  const { direction } = session;
  if (session.state.phase === direction.copying) {
    const fleet = await session.fleet();
    session.step('copy', `${fleet.artifacts.length} artifacts, with what refers to them`);
    await copyArtifacts(session, fleet);
    await session.update({ phase: direction.hub, waves: 0 });
  }
  if (session.state.phase === direction.hub) {
    session.step('hub', `the hub publishes to ${session.target.url}`);
    await switchHub(session);
    await session.update({ phase: direction.spokes });
  }
  if (session.state.phase === direction.spokes) {
    await moveSpokes(session);
    await session.update({ phase: direction.done });
  }
  await dropPrevious(session);
  session.step('done', `the fleet reads ${session.target.url}`);
}

interface Start {
  readonly state: MigrationState;
  readonly version: string | undefined;
}

/**
 * The state to go on from. Nothing is written here.
 *
 * @throws MigrationError when there is a migration that this is not the next step of
 */
export async function startOf(world: MigrationWorld, direction: Direction): Promise<Start> {
  const { plan, ports, signal } = world;
  if (plan.from.url === plan.to.url) {
    throw new MigrationError('SameRegistry', `both files name the same registry, ${plan.from.url}`, {
      hint: 'The file of --to must name another hue.ociRegistry.endpoint or repository.',
    });
  }
  const { value: stored, version } = await ports.states.read(signal);
  if (stored !== undefined && isUnderWay(stored) && !isSame(stored, plan)) {
    throw new MigrationError(
      'OtherMigration',
      `another migration is under way, from ${stored.from.url} to ${stored.to.url} (${stored.phase})`,
      { facts: { id: stored.id }, hint: 'End it with the files that it was begun with, or roll it back.' },
    );
  }
  const current = stored !== undefined && isSame(stored, plan) ? stored : undefined;
  if (direction.target === 'from') return { state: await backStart(world, current), version };
  return { state: await forwardStart(world, current), version };
}

function isSame({ from, to }: MigrationState, plan: MigrationPlan): boolean {
  const ends = [
    [from, plan.from],
    [to, plan.to],
  ] as const;
  return ends.every(([a, b]) => a.url === b.url && a.valuesHash === b.valuesHash);
}

async function forwardStart(
  world: MigrationWorld,
  current: MigrationState | undefined,
): Promise<MigrationState> {
  if (current !== undefined && isUnderWay(current)) {
    if (PHASES_BACK.has(current.phase)) {
      throw new MigrationError('RollbackUnderWay', 'this migration is being rolled back', {
        hint: 'End that with --rollback; then it can be begun anew.',
      });
    }
    return current;
  }
  const { plan } = world;
  const inForce = await hashInForce(world);
  if (current?.phase === 'Completed' && inForce === plan.to.valuesHash) return current;
  if (inForce !== plan.from.valuesHash) throw valuesDiffer(inForce === plan.to.valuesHash);
  return fresh(world, 'Copying');
}

async function backStart(
  world: MigrationWorld,
  current: MigrationState | undefined,
): Promise<MigrationState> {
  if (current === undefined) {
    throw new MigrationError('NothingToRollBack', 'there is no migration between these two registries', {
      hint: 'Name the files that it was begun with, --values and --to in the same order.',
    });
  }
  if (PHASES_BACK.has(current.phase)) return current;
  // Nothing but copies was made, and they hurt nobody.
  if (current.phase === 'Copying') return { ...current, phase: 'RevertingSpokes', switched: [], wave: [] };
  const start = { ...current, phase: 'CopyingBack' as const, waves: 0, wave: [], behind: {}, assumed: [] };
  if (current.phase !== 'Completed') return start;
  const inForce = await hashInForce(world);
  if (inForce !== world.plan.to.valuesHash) throw valuesDiffer(false);
  const { spokes } = await world.ports.fleet.read(world.signal);
  const movable = spokes.filter(({ fixedUrl }) => fixedUrl === undefined);
  return { ...start, switched: movable.map(({ name }) => name).sort() };
}

const PHASES_BACK: ReadonlySet<string> = new Set([BACK.copying, BACK.hub, BACK.spokes, BACK.done]);

async function hashInForce({ plan, ports, signal }: MigrationWorld): Promise<string | undefined> {
  const { value } = await ports.values.read(signal);
  return plan.hashOf(value?.current ?? '');
}

function valuesDiffer(moved: boolean): MigrationError {
  return new MigrationError(
    'ValuesDiffer',
    moved
      ? 'the hub works with the values of --to already, and no migration is known'
      : 'the hub works with values that name other registries than the file does',
    { hint: 'See what is in force: mural values show, or kubectl get secret mural-values.' },
  );
}

function fresh({ plan, ports }: MigrationWorld, phase: 'Copying'): MigrationState {
  const now = rfc3339(ports.clock.now());
  return {
    version: 1,
    id: plan.id,
    phase,
    from: { url: plan.from.url, valuesHash: plan.from.valuesHash },
    to: { url: plan.to.url, valuesHash: plan.to.valuesHash },
    switched: [],
    assumed: [],
    wave: [],
    behind: {},
    waves: 0,
    copied: { artifacts: 0, bytes: 0 },
    startedAt: now,
    updatedAt: now,
  };
}
