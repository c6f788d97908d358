import { isRecord } from '@mural/core';
import { type Endpoint, placeholdersIn, readEndpoint } from '../address.ts';
import type { Found, ValuesDocument } from '../document.ts';
import type { Path } from '../place.ts';

/** One check of a values file. */
export interface Rule {
  /** The group of findings it makes; a finding carries the finer name in its own `rule`. */
  readonly name: string;
  check(document: ValuesDocument): Iterable<Found>;
}

/** One `ociRegistry` mapping: the hub's or that of a spoke. */
export interface RegistryPlace {
  readonly path: Path;
  readonly value: Readonly<Record<string, unknown>>;
  /** Name of the spoke; absent for the hub. */
  readonly spoke?: string;
}

export const HUB_REGISTRY: Path = ['hue', 'ociRegistry'];

/** Each `ociRegistry` mapping of the file: the hub's and those of the spokes. */
export function* registriesOf(document: ValuesDocument): Iterable<RegistryPlace> {
  const hub = lookup(document.data, HUB_REGISTRY);
  if (isRecord(hub)) yield { path: HUB_REGISTRY, value: hub };
  for (const { path, value, name } of spokesOf(document)) {
    const registry = value.ociRegistry;
    if (isRecord(registry)) yield { path: [...path, 'ociRegistry'], value: registry, spoke: name };
  }
}

/** Each entry of `fleetConfig.spokes` that is a mapping; one without a name is called by its place. */
export function* spokesOf(
  document: ValuesDocument,
): Iterable<{ readonly path: Path; readonly value: Record<string, unknown>; readonly name: string }> {
  const spokes = lookup(document.data, ['fleetConfig', 'spokes']);
  for (const [index, value] of (Array.isArray(spokes) ? spokes : []).entries()) {
    if (!isRecord(value)) continue;
    const name = typeof value.name === 'string' ? value.name : `number ${index + 1}`;
    yield { path: ['fleetConfig', 'spokes', index], value, name };
  }
}

/** The endpoint of a registry where it is whole: a placeholder or error in it is a finding of its own. */
export function endpointOf(registry: Readonly<Record<string, unknown>>): Endpoint | undefined {
  return typeof registry.endpoint === 'string' ? readEndpoint(registry.endpoint) : undefined;
}

/** A string without placeholders. */
export function filled(value: unknown): string | undefined {
  return typeof value === 'string' && placeholdersIn(value).length === 0 ? value : undefined;
}

/** What stands at `path` of plain data. */
export function lookup(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (Array.isArray(value)) value = value[Number(step)] as unknown;
    else if (isRecord(value)) value = value[step];
    else return undefined;
  }
  return value;
}

/** A path as it is written in documentation: `fleetConfig.spokes[0].name`. */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}
