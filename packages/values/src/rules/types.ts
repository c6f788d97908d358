import type { z } from 'zod';
import type { About, Found, ValuesDocument } from '../document.ts';
import type { Path } from '../place.ts';
import { Values } from '../schema.ts';
import { schemaAt, unwrap } from './keys.ts';
import { formatPath, lookup } from './rule.ts';

type Issue = z.core.$ZodIssue;

/** Compares every value with the type that its key has. */
export function* checkTypes(document: ValuesDocument): Iterable<Found> {
  const parsed = Values.safeParse(document.data);
  for (const issue of parsed.error?.issues ?? []) {
    // Unknown keys are told apart, with suggestions, by a rule of their own.
    if (issue.code === 'unrecognized_keys') continue;
    const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
    const value = lookup(document.data, path);
    const missing = issue.code === 'invalid_type' && value === undefined;
    const what = missing
      ? 'is required'
      : `must be ${isDuration(path) ? 'a duration with its unit, such as 60s' : expectation(issue)}`;
    yield document.finding(path, {
      level: 'error',
      message: `${formatPath(path)} ${what}`,
      rule: missing ? 'required' : issue.code === 'invalid_value' ? 'value' : 'type',
      ...(missing ? {} : correction(issue, path, value)),
    });
  }
}

/** A `null` where a string or number belongs: Helm drops the key, and what a template makes of that is a guess. */
export function* checkNulls(document: ValuesDocument): Iterable<Found> {
  for (const { path, scalar } of document.scalars()) {
    if (scalar.value !== null) continue;
    const schema = schemaAt(path);
    // Where a value is required, that it is missing is an error already.
    if (schema?.safeParse(undefined).success === false && !underMap(path)) continue;
    const kind = schema === undefined ? undefined : unwrap(schema).def.type;
    if (kind !== 'string' && kind !== 'enum' && kind !== 'boolean') continue;
    const where = formatPath(path);
    const message = `${where} is null, which makes Helm drop the key: give it a value or take the line out`;
    yield document.finding(path, { level: 'warning', message, rule: 'null' }, 'key');
  }
}

/** Whether the key is one that the user chose: the values of such maps are never required. */
function underMap(path: Path): boolean {
  const parent = schemaAt(path.slice(0, -1));
  return parent !== undefined && unwrap(parent).def.type === 'record';
}

/** The word for what a schema wanted, from zod's issue. */
function expectation(issue: Issue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`;
  if (issue.code !== 'invalid_type') return issue.message;
  const names: Readonly<Record<string, string>> = {
    boolean: 'true or false (without quotes)',
    string: 'a string (write it in quotes)',
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
  };
  return names[issue.expected] ?? issue.expected;
}

/** What was certainly meant: another case of an allowed word, a quoted boolean, a number that is a name. */
function correction(issue: Issue, path: Path, value: unknown): Pick<About, 'fix' | 'edit'> {
  if (issue.code === 'invalid_value' && typeof value === 'string') {
    const meant = issue.values.find((allowed) => String(allowed) === value.trim().toLowerCase());
    return typeof meant === 'string' ? { fix: meant, edit: { kind: 'set', to: meant } } : {};
  }
  if (issue.code !== 'invalid_type') return {};
  if (issue.expected === 'boolean' && typeof value === 'string' && /^(?:true|false)$/i.test(value)) {
    const meant = value.toLowerCase();
    return { fix: meant, edit: { kind: 'set', to: meant === 'true' } };
  }
  const scalar = typeof value === 'number' || typeof value === 'boolean';
  // A number has no unit, so quotes make no duration of it.
  if (issue.expected === 'string' && scalar && !isDuration(path)) return { edit: { kind: 'quote' } };
  return {};
}

function isDuration(path: Path): boolean {
  return path.at(-2) === 'ociRegistry' && ['interval', 'timeout'].includes(String(path.at(-1)));
}
