import { errorMessage, isRecord, parseDuration } from '@mural/core';
import type { Path, ValuesDocument } from './document.ts';
import { problemOfEndpoint, problemOfRepository } from './endpoint.ts';
import type { Finding } from './finding.ts';
import { checkKeys, formatPath } from './keys.ts';
import { Values } from './schema.ts';

/** One check of a values file. */
export interface Rule {
  /** The group of findings it makes; a finding carries the finer name in its own `rule`. */
  readonly name: string;
  check(document: ValuesDocument): Iterable<Finding>;
}

/** Every check, in the order in which a reader would make them. */
export const RULES: readonly Rule[] = [
  { name: 'keys', check: checkKeys },
  { name: 'types', check: checkTypes },
  { name: 'endpoint', check: checkEndpoints },
  { name: 'repository', check: checkRepositories },
  { name: 'duration', check: checkDurations },
  { name: 'basic-auth', check: checkBasicAuth },
  { name: 'spoke-name', check: checkSpokeNames },
  { name: 'no-registry', check: checkRegistryLeft },
];

function* checkTypes(document: ValuesDocument): Iterable<Finding> {
  const parsed = Values.safeParse(document.data);
  for (const issue of parsed.error?.issues ?? []) {
    // Unknown keys are told apart, with suggestions, by the rule before.
    if (issue.code === 'unrecognized_keys') continue;
    const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
    const missing = issue.code === 'invalid_type' && lookup(document.data, path) === undefined;
    const what = missing ? 'is required' : `must be ${expectation(issue)}`;
    yield document.finding(path, {
      level: 'error',
      message: `${formatPath(path)} ${what}`,
      rule: missing ? 'required' : issue.code === 'invalid_value' ? 'value' : 'type',
    });
  }
}

/** The word for what a schema wanted, from zod's issue. */
function expectation(issue: {
  readonly code?: string;
  readonly expected?: unknown;
  readonly values?: unknown;
  readonly message: string;
}): string {
  if (Array.isArray(issue.values)) return `one of ${issue.values.join(', ')}`;
  const names: Readonly<Record<string, string>> = {
    boolean: 'true or false',
    string: 'a string (write it in quotes)',
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
  };
  const expected = typeof issue.expected === 'string' ? issue.expected : '';
  return names[expected] ?? (expected === '' ? issue.message : expected);
}

/** Each `ociRegistry` mapping of the file: the hub's and those of the spokes. */
export function* registriesOf(
  document: ValuesDocument,
): Iterable<{ readonly path: Path; readonly value: Record<string, unknown> }> {
  const hub: Path = ['hue', 'ociRegistry'];
  const spokes = lookup(document.data, ['fleetConfig', 'spokes']);
  const count = Array.isArray(spokes) ? spokes.length : 0;
  const paths = [hub, ...Array.from({ length: count }, (_, index) => spokePath(index, 'ociRegistry'))];
  for (const path of paths) {
    const value = lookup(document.data, path);
    if (isRecord(value)) yield { path, value };
  }
}

function* checkEndpoints(document: ValuesDocument): Iterable<Finding> {
  for (const { path, value } of registriesOf(document)) {
    if (typeof value.endpoint !== 'string') continue;
    const problem = problemOfEndpoint(value.endpoint);
    if (problem === undefined) continue;
    const at = [...path, 'endpoint'];
    yield document.finding(at, {
      level: 'error',
      message: `${formatPath(at)} ${problem.message}`,
      rule: 'endpoint',
      ...(problem.fix === undefined ? {} : { fix: problem.fix }),
    });
  }
}

function* checkRepositories(document: ValuesDocument): Iterable<Finding> {
  for (const { path, value } of registriesOf(document)) {
    const at = [...path, 'repository'];
    if (value.repository === undefined && typeof value.endpoint === 'string') {
      const message = `${formatPath(at)} is required beside an endpoint`;
      yield document.finding([...path, 'endpoint'], { level: 'error', message, rule: 'repository' }, 'key');
    }
    if (typeof value.repository !== 'string') continue;
    const problem = problemOfRepository(value.repository);
    if (problem === undefined) continue;
    const message = `${formatPath(at)} ${problem}`;
    yield document.finding(at, { level: 'error', message, rule: 'repository' });
  }
}

function* checkDurations(document: ValuesDocument): Iterable<Finding> {
  for (const { path, value } of registriesOf(document)) {
    for (const key of ['interval', 'timeout']) {
      const text = value[key];
      if (typeof text !== 'string') continue;
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
    return `${errorMessage(error)}; write a number and a unit, such as 30s, 5m or 1h30m`;
  }
}

function* checkBasicAuth(document: ValuesDocument): Iterable<Finding> {
  for (const { path, value } of registriesOf(document)) {
    if (!isRecord(value.basicAuth)) continue;
    const at = [...path, 'basicAuth'];
    const { provider } = value;
    if (typeof provider === 'string' && ['aws', 'azure', 'gcp'].includes(provider)) {
      const message = `${formatPath(at)} must be removed: with provider ${provider} the cloud authenticates`;
      yield document.finding(at, { level: 'error', message, rule: 'basic-auth-provider' }, 'key');
      continue;
    }
    for (const key of ['username', 'password']) {
      if (value.basicAuth[key] !== undefined && value.basicAuth[key] !== '') continue;
      const message = `${formatPath([...at, key])} is required in basicAuth`;
      yield document.finding(at, { level: 'error', message, rule: 'basic-auth' }, 'key');
    }
  }
}

// A DNS label: the name becomes part of tags, Secrets and service accounts.
const SPOKE_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

function* checkSpokeNames(document: ValuesDocument): Iterable<Finding> {
  const spokes = lookup(document.data, ['fleetConfig', 'spokes']);
  const seen = new Set<string>();
  for (const [index, spoke] of (Array.isArray(spokes) ? spokes : []).entries()) {
    const name: unknown = isRecord(spoke) ? spoke.name : undefined;
    if (typeof name !== 'string') continue;
    const at = spokePath(index, 'name');
    if (!SPOKE_NAME.test(name)) {
      const message = `${formatPath(at)}: "${name}" is not a name: lower-case letters, digits and "-", at most 63`;
      yield document.finding(at, { level: 'error', message, rule: 'spoke-name' });
    }
    if (seen.has(name)) {
      const message = `${formatPath(at)}: the spoke ${name} stands twice in the list`;
      yield document.finding(at, { level: 'error', message, rule: 'spoke-name' });
    }
    seen.add(name);
  }
}

function* checkRegistryLeft(document: ValuesDocument): Iterable<Finding> {
  const zot = lookup(document.data, ['zot', 'enabled']);
  const other = lookup(document.data, ['hue', 'ociRegistry']);
  if (zot !== false || (isRecord(other) && other.endpoint !== undefined && other.enabled !== false)) return;
  const message = 'zot.enabled is false and hue.ociRegistry.endpoint names no other registry';
  yield document.finding(['zot', 'enabled'], { level: 'error', message, rule: 'no-registry' });
}

function spokePath(index: number, key: string): Path {
  return ['fleetConfig', 'spokes', index, key];
}

function lookup(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (Array.isArray(value)) value = value[Number(step)] as unknown;
    else if (isRecord(value)) value = value[step];
    else return undefined;
  }
  return value;
}
