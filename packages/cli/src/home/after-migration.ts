import { isRecord } from '@mural/core';
import { type MigrationPhase, type MigrationState, registryPartHash } from '@mural/hub';
import { parse, stringify } from 'yaml';
import { readValues, type ValuesDocument } from './values-document.ts';

/** Phases in which the hub writes the registry that the migration goes to. */
const MOVED: ReadonlySet<MigrationPhase> = new Set([
  'SwitchingHub',
  'SwitchingSpokes',
  'Completed',
  'CopyingBack',
]);

/**
 * What of a values document may be put into force after a migration of the registry. A document from
 * before it, as a process that is started again still has it, would move the fleet back: its registry
 * part is replaced by the one that the migration put into force, and a warning says what to write.
 */
export function afterMigration(options: {
  readonly text: string;
  /** Name of the document, for the warning. */
  readonly file: string;
  readonly state: MigrationState | undefined;
  readonly inForce: ValuesDocument;
}): { readonly text: string; readonly warning?: string } {
  const { text, file, state, inForce } = options;
  const asked = readValues(text, file).document;
  if (state === undefined || asked === undefined || !MOVED.has(state.phase)) return { text };
  const stale = registryPartHash(asked.values) === state.from.valuesHash;
  const moved = registryPartHash(inForce.values) === state.to.valuesHash;
  if (!stale || !moved) return { text };
  const merged = withRegistryOf(text, inForce);
  const part = shownRegistry(inForce);
  return {
    text: merged,
    warning: `${file} names the registry that the fleet was moved away from (${state.from.url}); the one in force is kept. Write into ${file}:\n${part}`,
  };
}

/** The text with the registries, and the roles that go with them, of another document. */
function withRegistryOf(text: string, source: ValuesDocument): string {
  const into = mapping(parse(text, { merge: true }));
  const from = mapping(parse(source.text ?? '', { merge: true }));
  const [flux, theirFlux] = [mapping(into.flux2), mapping(from.flux2)];
  const controllers = [mapping(flux.sourceController), mapping(theirFlux.sourceController)] as const;
  const merged = {
    ...into,
    hue: withKeys(mapping(into.hue), mapping(from.hue), ['ociRegistry', 'serviceAccount']),
    flux2: { ...flux, sourceController: withKeys(...controllers, ['serviceAccount']) },
    fleetConfig: { ...mapping(into.fleetConfig), spokes: spokesOf(into, from) },
  };
  return stringify(merged);
}

function spokesOf(into: Mapping, from: Mapping): Mapping[] {
  const theirs = list(mapping(from.fleetConfig).spokes);
  return list(mapping(into.fleetConfig).spokes).map((spoke) =>
    withKeys(spoke, theirs.find(({ name }) => name === spoke.name) ?? {}, ['ociRegistry']),
  );
}

/** The registry part of values as it is written into a file, without secrets. */
function shownRegistry({ text }: ValuesDocument): string {
  const hue = mapping(mapping(parse(text ?? '', { merge: true })).hue);
  const registry = mapping(hue.ociRegistry);
  const shown =
    registry.basicAuth === undefined
      ? registry
      : { ...registry, basicAuth: { username: '<username>', password: '<password>' } };
  return stringify({ hue: { ociRegistry: shown } }).trimEnd();
}

type Mapping = Record<string, unknown>;

/** A mapping with some keys as another one has them, or without them when that has not. */
function withKeys(into: Mapping, from: Mapping, keys: readonly string[]): Mapping {
  const rest = Object.entries(into).filter(([key]) => !keys.includes(key));
  const theirs = Object.entries(from).filter(([key]) => keys.includes(key));
  return Object.fromEntries([...rest, ...theirs]);
}

function mapping(value: unknown): Mapping {
  return isRecord(value) ? value : {};
}

function list(value: unknown): Mapping[] {
  return Array.isArray(value) ? value.map(mapping) : [];
}
