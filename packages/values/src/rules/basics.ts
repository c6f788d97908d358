import { isRecord, MuralError, parseDuration } from '@mural/core';
import { placeholdersIn } from '../address.ts';
import type { Found, ValuesDocument } from '../document.ts';
import type { Path } from '../place.ts';
import { FOREIGN_TREES } from '../schema.ts';
import { endpointOf, filled, formatPath, lookup, registriesOf, spokesOf } from './rule.ts';

/** Placeholders that nobody replaced, such as `<account-id>`: errors in our keys, warnings in those of others. */
export function* checkPlaceholders(document: ValuesDocument): Iterable<Found> {
  for (const { path, scalar, at } of document.scalars()) {
    if (typeof scalar.value !== 'string') continue;
    const secret = at === 'value' && mayBeSecret(path);
    // Anything may stand in a password, so only one that is nothing but a placeholder is one.
    if (secret && !/^<[a-z][a-z _-]*>$/i.test(scalar.value)) continue;
    const written = at === 'key' ? String(path.at(-1)) : scalar.value;
    const found = placeholdersIn(written);
    if (found.length === 0) continue;
    const level = FOREIGN_TREES.includes(String(path[0])) ? 'warning' : 'error';
    const what = secret ? 'a placeholder' : found.join(', ');
    const message = `${formatPath(path)} still holds ${what}: put the real value there`;
    yield document.finding(path, { level, message, rule: 'placeholder' }, at);
  }
}

/** By its keys, however they are spelled: a key that is misspelled has a password all the same. */
function mayBeSecret(path: Path): boolean {
  const key = String(path.at(-1));
  return /basic-?auth/i.test(path.join('.')) || /pass|pwd|secret|token|credential/i.test(key);
}

/** `interval` and `timeout`: durations as Go writes them, longer than nothing. */
export function* checkDurations(document: ValuesDocument): Iterable<Found> {
  for (const { path, value } of registriesOf(document)) {
    for (const key of ['interval', 'timeout']) {
      const text = filled(value[key]);
      if (text === undefined) continue;
      const problem = problemOfDuration(text);
      if (problem === undefined) continue;
      const message = `${formatPath([...path, key])}: ${problem}`;
      yield document.finding([...path, key], { level: 'error', message, rule: 'duration' });
    }
  }
}

function problemOfDuration(text: string): string | undefined {
  try {
    return parseDuration(text) > 0 ? undefined : 'must be longer than nothing';
  } catch (error) {
    if (!(error instanceof MuralError)) throw error;
    return `${error.message}; write a number and a unit, such as 30s, 5m or 1h30m`;
  }
}

/** `basicAuth`: whole where it is needed, and gone where the cloud authenticates. */
export function* checkBasicAuth(document: ValuesDocument): Iterable<Found> {
  for (const { path, value } of registriesOf(document)) {
    if (!isRecord(value.basicAuth)) continue;
    const at = [...path, 'basicAuth'];
    const { provider } = value;
    if (typeof provider === 'string' && ['aws', 'azure', 'gcp'].includes(provider)) {
      const message = `${formatPath(at)} must be removed: with provider ${provider} the cloud authenticates`;
      const certain = provider === 'aws' && endpointOf(value)?.ecr !== undefined;
      const edit = certain ? ({ kind: 'remove' } as const) : undefined;
      yield document.finding(at, { level: 'error', message, rule: 'basic-auth-provider', edit }, 'key');
      continue;
    }
    for (const key of ['username', 'password']) {
      if (value.basicAuth[key] !== undefined && value.basicAuth[key] !== '') continue;
      const message = `${formatPath([...at, key])} is required in basicAuth`;
      yield document.finding(at, { level: 'error', message, rule: 'basic-auth' }, 'key');
    }
  }
}

/**
 * `zot.enabled: false` while something still needs the embedded registry: the hub without an
 * endpoint, or a spoke that has neither one of its own nor that of the hub.
 */
export function* checkRegistryLeft(document: ValuesDocument): Iterable<Found> {
  const at = ['zot', 'enabled'];
  if (lookup(document.data, at) !== false) return;
  const hub = lookup(document.data, ['hue', 'ociRegistry']);
  if (isRecord(hub) && hub.endpoint !== undefined && hub.enabled !== false) return;
  const why =
    isRecord(hub) && hub.enabled === false
      ? 'hue.ociRegistry.enabled is false'
      : 'hue.ociRegistry.endpoint names no other registry';
  const message = `zot.enabled is false and ${why}: hue would have nowhere to push`;
  yield document.finding(at, { level: 'error', message, rule: 'no-registry' });
  for (const { value, name, path } of spokesOf(document)) {
    if (isRecord(value.ociRegistry) && value.ociRegistry.endpoint !== undefined) continue;
    const where = formatPath([...path, 'ociRegistry', 'endpoint']);
    const needs = `zot.enabled is false and the spoke ${name} still reads the embedded registry: ${where} names no other`;
    yield document.finding(path, { level: 'error', message: needs, rule: 'no-registry' }, 'key');
  }
}
