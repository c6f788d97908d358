import { errorMessage } from '@mural/core';
import { OciError, parseRepositoryUrl } from '@mural/oci';
import { MigrationError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import type { Direction } from './session.ts';
import type { MigrationEnd, MigrationPlan, MigrationPorts } from './ports.ts';
import type { MigrationSide } from './state.ts';

/**
 * Finds what would go wrong on the way, before anything is changed.
 *
 * @returns what is worth knowing and stops nothing
 * @throws MigrationError
 */
export async function checkWay(
  world: { readonly plan: MigrationPlan; readonly ports: MigrationPorts; readonly signal: AbortSignal },
  direction: Direction,
  fleet: Fleet,
): Promise<string[]> {
  const { plan, ports, signal } = world;
  const target = plan[direction.target];
  const warnings = [...checkInputs(fleet, target), ...checkFixed(fleet, plan, target)];
  await probe(ports, target, { side: direction.target, write: true }, signal);
  try {
    await probe(ports, plan[direction.source], { side: direction.source, write: false }, signal);
  } catch (error) {
    // A registry that has failed is a reason to go back, and what is still at the old one needs no source.
    if (direction.target === 'to') throw error;
    warnings.push(errorMessage(error));
  }
  return warnings;
}

async function probe(
  ports: MigrationPorts,
  end: MigrationEnd,
  wanted: { readonly side: MigrationSide; readonly write: boolean },
  signal: AbortSignal,
): Promise<void> {
  try {
    await ports.registries.probe(wanted.side, wanted.write, signal);
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw new MigrationError('RegistryUnusable', `${end.url} cannot be used: ${error.message}`, {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      facts: { url: end.url },
      retryable: error.retryable,
    });
  }
}

function checkInputs(fleet: Fleet, target: MigrationEnd): string[] {
  const host = parseRepositoryUrl(target.url).registry;
  const lost = fleet.elsewhere.find(({ url }) => url !== undefined && hostOf(url) !== host);
  if (lost !== undefined) {
    throw new MigrationError(
      'ArtifactElsewhere',
      `${lost.user} is made from ${lost.url ?? ''}, and hue reads its input from its own registry, which will be ${host}`,
      {
        facts: { user: lost.user, url: lost.url },
        hint: "Leave the url of the artifact out: it is then read from hue's repository, which is copied.",
      },
    );
  }
  return fleet.elsewhere
    .filter(({ url }) => url === undefined)
    .map(({ user }) => `${user} computes the tag or digest of its artifact: it is not copied`);
}

function hostOf(url: string): string | undefined {
  try {
    return parseRepositoryUrl(url).registry;
  } catch {
    return undefined;
  }
}

/** Spokes whose registry does not follow from the values. */
function checkFixed(fleet: Fleet, plan: MigrationPlan, target: MigrationEnd): string[] {
  const ends = new Set([plan.from.url, plan.to.url]);
  const left = fleet.spokes.find(
    ({ name, ownUrl, fixedUrl }) =>
      ownUrl !== undefined &&
      fixedUrl === undefined &&
      ownUrl !== target.spokeUrl(name) &&
      !target.names(name),
  );
  if (left !== undefined) {
    throw new MigrationError(
      'SpokeRegistryFixed',
      `spoke ${left.name} has a registry from values (${left.ownUrl ?? ''}), and the values for ${target.url} do not name the spoke`,
      { facts: { spoke: left.name }, hint: 'Write it into fleetConfig.spokes of that file, too.' },
    );
  }
  const fixed = fleet.spokes.filter(({ fixedUrl }) => fixedUrl !== undefined);
  const stuck = fixed.filter(({ fixedUrl }) => ends.has(fixedUrl ?? ''));
  if (stuck.length > 0) {
    const names = stuck.map(({ name }) => name);
    throw new MigrationError(
      'SpokeRegistryFixed',
      `spec.ociRegistry of ${names.slice(0, 5).join(', ')} was not written from the values, so they cannot move it`,
      {
        facts: { spokes: names },
        hint: `Remove it (kubectl patch spoke ${names[0] ?? ''} --type=merge --patch '{"spec":{"ociRegistry":null}}'), or put it into the values.`,
      },
    );
  }
  const kept = fixed.map(({ name, fixedUrl }) => `spoke ${name} keeps its own registry, ${fixedUrl ?? ''}`);
  return [...kept, ...mirrorsOf(fleet, plan, target)];
}

/** The registries that spokes read by the values of both ends, such as the mirror of a site: nothing here moves them. */
function mirrorsOf(fleet: Fleet, plan: MigrationPlan, target: MigrationEnd): string[] {
  const source = target === plan.to ? plan.from : plan.to;
  const spokes = new Map<string, number>();
  for (const { name, fixedUrl } of fleet.spokes) {
    const url = target.spokeUrl(name);
    if (fixedUrl !== undefined || url === target.url || url !== source.spokeUrl(name)) continue;
    spokes.set(url, (spokes.get(url) ?? 0) + 1);
  }
  return [...spokes].map(
    ([url, count]) =>
      `${count} ${count === 1 ? 'spoke reads' : 'spokes read'} ${url} before and after: if that is a mirror of ${source.url}, have it mirror ${target.url} as soon as the hub writes there`,
  );
}
