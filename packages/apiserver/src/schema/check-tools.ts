import { isRecord } from '@mural/core';
import { labelValue, qualifiedName } from '../resources/names.ts';
import { type FieldError, invalidValue, required } from './field-error.ts';

/** The fields of an object. */
export type Fields = Readonly<Record<string, unknown>>;

/** The record under a key, or an empty one. */
export function sub(value: Fields, key: string): Fields {
  const found = value[key];
  return isRecord(found) ? found : {};
}

/** The records of a list under a key; items of another type are reported elsewhere. */
export function records(value: Fields, key: string): Fields[] {
  const found = value[key];
  return Array.isArray(found) ? found.map((item: unknown) => (isRecord(item) ? item : {})) : [];
}

/** The strings of a list under a key. */
export function strings(value: Fields, key: string): string[] {
  const found = value[key];
  return Array.isArray(found) ? found.filter((item) => typeof item === 'string') : [];
}

/** The string under a key, or an empty one. */
export function str(value: Fields, key: string): string {
  const found = value[key];
  return typeof found === 'string' ? found : '';
}

/** The number under a key, or `undefined`. */
export function num(value: Fields, key: string): number | undefined {
  const found = value[key];
  return typeof found === 'number' ? found : undefined;
}

/** An error for each of the fields that is empty. */
export function requireAll(value: Fields, path: string, ...keys: string[]): FieldError[] {
  return keys.filter((key) => str(value, key) === '').map((key) => required(`${path}.${key}`));
}

/** An error when the number is there and negative. */
export function notNegative(value: Fields, path: string, ...keys: string[]): FieldError[] {
  return keys.flatMap((key) => {
    const number = num(value, key);
    return number !== undefined && number < 0
      ? [invalidValue(`${path}.${key}`, number, 'must be greater than or equal to 0')]
      : [];
  });
}

/** Errors for each thing that a rule has against a name. */
export function ruleErrors(rule: (name: string) => string[], name: string, field: string): FieldError[] {
  return rule(name).map((detail) => invalidValue(field, name, detail));
}

/** Errors for labels: keys, then values. */
export function labelErrors(labels: Fields, field: string): FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...ruleErrors(qualifiedName, key, field),
    ...(typeof value === 'string' ? ruleErrors(labelValue, value, field) : []),
  ]);
}

/** Errors for items whose string under the key was there before. */
export function duplicates(items: readonly Fields[], key: string, path: string): FieldError[] {
  const seen = new Set<string>();
  return items.flatMap((item, index): FieldError[] => {
    const name = str(item, key);
    if (name === '') return [];
    if (seen.has(name))
      return [{ field: `${path}[${index}].${key}`, type: 'Duplicate', badValue: name, detail: '' }];
    seen.add(name);
    return [];
  });
}

/** Whether a number is a port. */
export function portError(port: unknown, field: string): FieldError[] {
  if (typeof port === 'number' && port >= 1 && port <= 65_535) return [];
  return [invalidValue(field, typeof port === 'number' ? port : 0, 'must be between 1 and 65535, inclusive')];
}

/** A port by number or by name. */
export function intOrPortName(port: unknown, field: string): FieldError[] {
  if (typeof port !== 'string') return portError(port, field);
  return portNameErrors(port, field);
}

/** Errors for the name of a port (`IANA_SVC_NAME`). */
export function portNameErrors(name: string, field: string): FieldError[] {
  const problems: string[] = [];
  if (name.length > 15) problems.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(name)) {
    problems.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  }
  if (!/[a-z]/.test(name)) problems.push('must contain at least one letter (a-z)');
  if (name.includes('--')) problems.push('must not contain consecutive hyphens');
  if (name.startsWith('-') || name.endsWith('-')) problems.push('must not begin or end with a hyphen');
  return problems.map((detail) => invalidValue(field, name, detail));
}
