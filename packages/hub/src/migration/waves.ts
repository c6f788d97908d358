import { rootTag } from '../settings.ts';
import { copyArtifacts } from './copying.ts';
import { MigrationError } from './errors.ts';
import type { Fleet, FleetSpoke } from './fleet.ts';
import { isPublished, rootsReady } from './hub-switch.ts';
import type { WaveSize } from './ports.ts';
import type { Session } from './session.ts';

const SHOWN = 5;

/** What a wave was to run when it began; it may have moved on since, and either is right. */
type Wanted = ReadonlyMap<string, ReadonlyMap<string, string>>;

/**
 * Moves the spokes, first one, then wave by wave, and waits for the report of each.
 *
 * A spoke is moved when everything on it was fetched from the target, and what ran before runs at the
 * digest that the hub wants.
 *
 * @throws MigrationError `SpokeNotMoved`, `SpokesSilent`, `HubSilent` and as copies do
 */
export async function moveSpokes(session: Session): Promise<void> {
  let wanted: Wanted = new Map();
  for (;;) {
    const fleet = await session.fleet();
    if (session.state.wave.length > 0) {
      await assume(session);
      await confirm(session, arriving(session, fleet), wanted);
      await session.update({ waves: session.state.waves + 1, wave: [], behind: {} });
      continue;
    }
    const staying = stayingOf(session, fleet);
    const wave = nextWave(session, fleet, staying);
    if (wave.length === 0) {
      if (staying.length > 0) throw silent(session, staying);
      return;
    }
    const unseen = await rootsOfUnseen(session, wave);
    await begin(session, fleet, wave);
    await rootsSent(session, unseen);
    wanted = new Map(wave.map((spoke) => [spoke.name, spoke.wanted]));
  }
}

/** Writes down who of the wave under way counts as moved, so that the hub moves its root, too. */
async function assume(session: Session): Promise<void> {
  const { state, plan } = session;
  const named = plan.assumed.filter((name) => state.wave.includes(name) && !state.assumed.includes(name));
  if (named.length > 0) await session.update({ assumed: [...state.assumed, ...named].sort() });
}

/** The roots, at the registry that is left, of spokes of a wave whose reports nobody waits for. */
async function rootsOfUnseen(
  { plan, ports, direction, signal }: Session,
  wave: readonly FleetSpoke[],
): Promise<ReadonlyMap<string, string>> {
  const roots = new Map<string, string>();
  for (const spoke of wave) {
    const { name } = spoke;
    const moves = plan.from.spokeUrl(name) !== plan.to.spokeUrl(name);
    if (!plan.assumed.includes(name) || !isPublished(spoke) || !moves) continue;
    // A registry that has failed cannot send anybody on, and is no reason not to go back.
    const root = await ports.registries.head(direction.source, rootTag(name), signal).catch(() => undefined);
    if (root !== undefined) roots.set(name, root);
  }
  return roots;
}

/**
 * Waits until the roots of spokes whose reports nobody waits for are replaced at the registry that they
 * read: once the migration is through, the hub writes there no more.
 *
 * @throws MigrationError `HubSilent`
 */
async function rootsSent(session: Session, before: ReadonlyMap<string, string>): Promise<void> {
  const { direction, ports, signal } = session;
  const waiting = new Map(before);
  await session.until(
    async () => {
      for (const [name, root] of waiting) {
        const now = await ports.registries
          .head(direction.source, rootTag(name), signal)
          .catch(() => undefined);
        if (now !== root) waiting.delete(name);
      }
      return waiting.keys().next().value;
    },
    (name) =>
      new MigrationError(
        'HubSilent',
        `the hub has not published the root that sends spoke ${name} to ${session.target.url}`,
        {
          facts: { spoke: name, waiting: waiting.size },
          hint: 'Look for its reason in the log of hue. Then run this again.',
          retryable: true,
        },
      ),
  );
}

/** Spokes of the wave under way that are still to be seen at the target. */
function arriving(session: Session, fleet: Fleet): string[] {
  const assumed = new Set([...session.state.assumed, ...session.plan.assumed]);
  const present = new Set(fleet.spokes.map(({ name }) => name));
  return session.state.wave.filter((name) => present.has(name) && !assumed.has(name));
}

/** Spokes that are still to be told. */
function stayingOf({ state, direction }: Session, fleet: Fleet): FleetSpoke[] {
  const switched = new Set(state.switched);
  return fleet.spokes.filter(
    ({ name, fixedUrl }) => fixedUrl === undefined && switched.has(name) !== (direction.target === 'to'),
  );
}

/** The spokes that are told next: those that are heard first, and the very first alone. */
function nextWave(session: Session, fleet: Fleet, staying: readonly FleetSpoke[]): FleetSpoke[] {
  const assumed = new Set(session.plan.assumed);
  const ready = staying.filter((spoke) => assumed.has(spoke.name) || (spoke.reports && isPublished(spoke)));
  const heard = ready.filter(({ connected }) => connected);
  const from = (heard.length > 0 ? heard : ready).sort((a, b) => (a.name < b.name ? -1 : 1));
  return from.slice(
    0,
    session.state.waves === 0 ? 1 : waveSpokes(session.plan.waveSize, fleet.spokes.length),
  );
}

/** How many spokes a wave has in a fleet of `total`. */
export function waveSpokes(size: WaveSize, total: number): number {
  return Math.max(1, 'spokes' in size ? size.spokes : Math.ceil((total * size.percent) / 100));
}

async function begin(session: Session, fleet: Fleet, wave: readonly FleetSpoke[]): Promise<void> {
  const { direction, state, plan, target } = session;
  const names = wave.map(({ name }) => name);
  session.step('wave', `wave ${state.waves + 1}: ${listed(names)} to ${target.url}`);
  await copyArtifacts(session, fleet);
  await rootsReady(
    session,
    wave.filter((spoke) => isPublished(spoke)).map(({ name }) => name),
  );
  const moving = new Set(names);
  const switched =
    direction.target === 'to'
      ? [...new Set([...state.switched, ...names])].sort()
      : state.switched.filter((name) => !moving.has(name));
  const behind = wave.flatMap((spoke) => {
    const workloads = behindOf(spoke);
    return workloads.length === 0 ? [] : [[spoke.name, workloads] as const];
  });
  const assumed = new Set([...state.assumed, ...plan.assumed.filter((name) => moving.has(name))]);
  await session.update({
    switched,
    wave: names,
    behind: Object.fromEntries(behind),
    assumed: [...assumed].sort(),
  });
}

/** Workloads that do not run at the digest that the hub wants: for reasons that are not the registry's. */
function behindOf({ wanted, running }: FleetSpoke): string[] {
  return [...wanted].flatMap(([key, digest]) => (running.get(key) === digest ? [] : [key]));
}

async function confirm(session: Session, names: readonly string[], wanted: Wanted): Promise<void> {
  const waiting = new Set(names);
  let last: readonly FleetSpoke[] = [];
  await session.until(
    async () => {
      last = (await session.fleet()).spokes.filter(({ name }) => waiting.has(name));
      const present = new Set(last.map(({ name }) => name));
      for (const name of waiting) if (!present.has(name)) waiting.delete(name);
      for (const spoke of last) {
        if (!isMoved(session, spoke, wanted.get(spoke.name))) continue;
        waiting.delete(spoke.name);
        const url = session.target.spokeUrl(spoke.name);
        session.ports.progress({ type: 'spoke', spoke: spoke.name, url });
      }
      return waiting.values().next().value;
    },
    () =>
      notMoved(
        session,
        last.filter(({ name }) => waiting.has(name)),
      ),
  );
}

function isMoved(
  session: Session,
  spoke: FleetSpoke,
  before: ReadonlyMap<string, string> | undefined,
): boolean {
  if (spoke.registryUrl !== session.target.spokeUrl(spoke.name)) return false;
  const behind = new Set(session.state.behind[spoke.name]);
  return [...spoke.wanted].every(([key, digest]) => {
    const running = spoke.running.get(key);
    return running === digest || behind.has(key) || (running !== undefined && running === before?.get(key));
  });
}

function notMoved(session: Session, spokes: readonly FleetSpoke[]): MigrationError {
  const [first] = spokes;
  const name = first?.name ?? '';
  const where = whereOf(first);
  const silentSince = first?.connected === false ? ', and the hub does not hear it' : '';
  const complaint = first?.complaint === undefined ? '' : `; ${first.complaint}`;
  const others =
    spokes.length > 1 ? ` (${spokes.length} of the wave wait: ${listed(spokes.map((s) => s.name))})` : '';
  return new MigrationError(
    'SpokeNotMoved',
    `spoke ${name} does not report to read ${session.target.spokeUrl(name)}: it reads ${where}${silentSince}${complaint}${others}`,
    {
      facts: { spokes: spokes.map((spoke) => spoke.name) },
      hint: 'The spokes that follow stay where they are. Run this again to go on, or with --rollback to go back.',
      retryable: true,
    },
  );
}

function whereOf(spoke: FleetSpoke | undefined): string {
  if (spoke?.registryUrl !== undefined) return spoke.registryUrl;
  if (spoke?.rootRegistryUrl === undefined) return 'registries that differ, or that it does not tell';
  return `its root from ${spoke.rootRegistryUrl}, and could not fetch all of the rest`;
}

function silent(session: Session, staying: readonly FleetSpoke[]): MigrationError {
  const why = (spoke: FleetSpoke) => `${spoke.name} (${spoke.suspended ? 'suspended' : 'never reported'})`;
  const names = staying.map(({ name }) => name);
  const more = staying.length > SHOWN ? ` and ${staying.length - SHOWN} more` : '';
  return new MigrationError(
    'SpokesSilent',
    `every spoke that reports reads ${session.target.url}, but these do not report: ${staying.slice(0, SHOWN).map(why).join(', ')}${more}`,
    {
      facts: { spokes: names },
      hint: `${session.source.url} must stay. Resume or connect them, or move them unseen with --assume-switched ${names[0] ?? ''}, then run this again.`,
    },
  );
}

function listed(names: readonly string[]): string {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '';
  return `${names.slice(0, SHOWN).join(', ')}${more}`;
}
