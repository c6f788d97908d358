import { createHash } from 'node:crypto';
import { canonicalJson } from '@mural/core';
import { z } from 'zod';

/** ConfigMap in the hub's namespace that holds the state of a migration. */
export const MIGRATION_CONFIG_MAP = 'mural-registry-migration';
/** Its key. */
export const MIGRATION_KEY = 'migration.json';

/**
 * How far a migration is. Forward: `Copying`, `SwitchingHub`, `SwitchingSpokes`, `Completed`. Back, from
 * any of them: `CopyingBack`, `RevertingHub`, `RevertingSpokes`, `RolledBack`.
 */
export const MigrationPhase = z.enum([
  'Copying',
  'SwitchingHub',
  'SwitchingSpokes',
  'Completed',
  'CopyingBack',
  'RevertingHub',
  'RevertingSpokes',
  'RolledBack',
]);
export type MigrationPhase = z.infer<typeof MigrationPhase>;

const SideState = z.strictObject({
  /** Repository that the hub writes: `oci://host/path`. */
  url: z.string().max(2000),
  /** {@link registryPartHash} of the values. */
  valuesHash: z.string().max(100),
});

const SpokeName = z.string().max(253);

/**
 * State of a migration. `from` and `to` stay what they are when it is rolled back; only the phase
 * tells the direction. It never holds a secret.
 */
export const MigrationState = z.strictObject({
  version: z.literal(1),
  id: z.string().max(100),
  phase: MigrationPhase,
  from: SideState,
  to: SideState,
  /** Spokes that are to read `to`, whatever way the migration goes; all others are to read `from`. */
  switched: z.array(SpokeName).max(100_000),
  /** Spokes that count as moved although they do not report. */
  assumed: z.array(SpokeName).max(100_000),
  /** Spokes that were told to move and have not been seen to have done so. */
  wave: z.array(SpokeName).max(100_000).default([]),
  /** Workloads (`namespace/name`) of the wave under way that were not at their digest before it began, by spoke. */
  behind: z.record(SpokeName, z.array(z.string().max(600))),
  /** Waves that are through, in the present direction. */
  waves: z.number().int().nonnegative(),
  /** Artifacts that were found equal at the target, and bytes that were sent for them. */
  copied: z.strictObject({
    artifacts: z.number().int().nonnegative(),
    bytes: z.number().int().nonnegative(),
  }),
  /** RFC 3339. */
  startedAt: z.string().max(40),
  updatedAt: z.string().max(40),
});
export type MigrationState = z.infer<typeof MigrationState>;

/** One end of a migration: `from` or `to` of its state. */
export type MigrationSide = 'from' | 'to';

/**
 * The state in a ConfigMap's `migration.json`; `undefined` when the text is no such state.
 */
export function parseMigration(text: string | undefined): MigrationState | undefined {
  if (text === undefined) return undefined;
  try {
    const parsed = MigrationState.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a migration has begun and not ended: both registries are needed. */
export function isUnderWay(state: MigrationState | undefined): boolean {
  return state !== undefined && state.phase !== 'Completed' && state.phase !== 'RolledBack';
}

/**
 * The end that a spoke is to read while a migration is under way; `undefined` when none is, and the
 * values in force alone decide.
 *
 * Which of the two values documents belongs to an end is told by {@link registryPartHash}, not by
 * which of them is in force, so that a kill between two writes leaves every spoke where it was.
 */
export function sideOf(state: MigrationState | undefined, spoke: string): MigrationSide | undefined {
  if (state === undefined || !isUnderWay(state)) return undefined;
  return state.switched.includes(spoke) ? 'to' : 'from';
}

interface RegistryPart {
  readonly endpoint?: string | undefined;
  readonly repository?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly provider?: string | undefined;
  readonly basicAuth?: { readonly username?: string | undefined } | undefined;
}

/** What of the values says where artifacts are; `Values` of @mural/values has it. */
export interface RegistryValues {
  readonly hue: { readonly ociRegistry: RegistryPart & { readonly enabled?: boolean | undefined } };
  readonly fleetConfig: {
    readonly spokes: readonly { readonly name: string; readonly ociRegistry?: RegistryPart | undefined }[];
  };
}

/**
 * Tells two values documents apart by the registries they name. A spoke more on the same registry does
 * not change it, and neither do intervals, labels or `zot.enabled`. Passwords are left out: a hash of
 * one could be guessed against.
 */
export function registryPartHash(values: RegistryValues): string {
  const hub = values.hue.ociRegistry;
  const external = hub.enabled !== false && hub.endpoint !== undefined;
  const spokes = values.fleetConfig.spokes.flatMap(({ ociRegistry }) =>
    ociRegistry === undefined ? [] : [canonicalJson(placeOf(ociRegistry))],
  );
  const part = {
    hub: external ? placeOf(hub) : { embedded: true, repository: hub.repository ?? null },
    spokes: [...new Set(spokes)].sort(),
  };
  return `sha256:${createHash('sha256').update(canonicalJson(part)).digest('hex')}`;
}

function placeOf(part: RegistryPart) {
  return {
    endpoint: part.endpoint?.replace(/\/$/, '') ?? null,
    repository: part.repository ?? null,
    insecure: part.insecure ?? false,
    provider: part.provider ?? 'generic',
  };
}
