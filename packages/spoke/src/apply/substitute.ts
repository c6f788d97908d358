import { MuralError } from '@mural/core';
import { MANY, matchesWild } from '../wildcards.ts';

/** Why a text cannot be substituted in. */
export type SubstitutionErrorCode = 'VariableUndefined' | 'ExpressionInvalid' | 'NameInvalid';

/** A substitution that cannot be made. The value of a variable is never part of the message. */
export class SubstitutionError extends MuralError<SubstitutionErrorCode> {}

const NAME = /^[_A-Za-z][_A-Za-z0-9]*$/;

/**
 * Checks the names of variables, as `spec.postBuild` takes them, and removes newlines from the values.
 *
 * @throws SubstitutionError `NameInvalid`
 */
export function checkVariables(variables: ReadonlyMap<string, string>): Map<string, string> {
  const checked = new Map<string, string>();
  for (const [name, value] of variables) {
    if (!NAME.test(name)) {
      throw new SubstitutionError(
        'NameInvalid',
        `var name '${name}' is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'`,
      );
    }
    checked.set(name, oneLine(value));
  }
  return checked;
}

/** A value as it is substituted: without newlines. */
export function oneLine(value: string): string {
  return value.replaceAll(/[\n\r]/g, '');
}

/**
 * Replaces `${name}` and its forms (`:-` and `:=` default, `#` length, `^ ^^ , ,,` case, `:from:length`,
 * `#`/`##`/`%`/`%%` trim, `/` and `//` replace) as the envsubst of Flux does. `$${` stands for a plain `${`;
 * `$name` without braces is left alone.
 *
 * @throws SubstitutionError `VariableUndefined` for a variable with neither value nor default
 */
export function substitute(text: string, variables: ReadonlyMap<string, string>): string {
  let result = '';
  let position = 0;
  for (;;) {
    const start = text.indexOf('${', position);
    if (start < 0) return result + text.slice(position);
    if (text.charAt(start - 1) === '$' && start > position) {
      result += `${text.slice(position, start - 1)}\${`;
      position = start + 2;
      continue;
    }
    const end = closingBrace(text, start + 2);
    if (end < 0) {
      throw new SubstitutionError('ExpressionInvalid', 'a substitution is missing its closing brace');
    }
    result += text.slice(position, start) + expand(text.slice(start + 2, end), variables);
    position = end + 1;
  }
}

/** Whether a text has anything to substitute. */
export function hasVariables(text: string): boolean {
  return text.includes('${');
}

function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let index = from; index < text.length; index += 1) {
    if (text.startsWith('${', index)) depth += 1;
    else if (text.charAt(index) === '}') depth -= 1;
    if (depth === 0) return index;
  }
  return -1;
}

function expand(expression: string, variables: ReadonlyMap<string, string>): string {
  const length = /^#([_A-Za-z][_A-Za-z0-9]*)$/.exec(expression);
  if (length !== null) return String(Array.from(required(length[1] ?? '', variables)).length);
  const match = /^([_A-Za-z][_A-Za-z0-9]*)([\s\S]*)$/.exec(expression);
  if (match === null) {
    throw new SubstitutionError('ExpressionInvalid', `"\${${expression}}" is not a substitution`);
  }
  const name = match[1] ?? '';
  const operation = match[2] ?? '';
  const fallback = /^(:-|:=|-|=)([\s\S]*)$/.exec(operation);
  if (fallback !== null) {
    const value = variables.get(name);
    const missing = value === undefined || (value === '' && (fallback[1] ?? '').startsWith(':'));
    return missing ? substitute(fallback[2] ?? '', variables) : value;
  }
  const value = required(name, variables);
  return operation === '' ? value : transform(value, operation, expression);
}

function required(name: string, variables: ReadonlyMap<string, string>): string {
  const value = variables.get(name);
  if (value !== undefined) return value;
  throw new SubstitutionError('VariableUndefined', `variable not set (strict mode): "${name}"`, {
    hint: `Set ${name} in spec.postBuild, give a default with \${${name}:-…}, or write $\${${name}} for the text itself.`,
    facts: { name },
  });
}

function transform(value: string, operation: string, expression: string): string {
  switch (operation) {
    case '^':
      return value.charAt(0).toUpperCase() + value.slice(1);
    case '^^':
      return value.toUpperCase();
    case ',':
      return value.charAt(0).toLowerCase() + value.slice(1);
    case ',,':
      return value.toLowerCase();
    default:
  }
  const slice = /^:\s*(-?\d+)(?::\s*(\d+))?$/.exec(operation);
  if (slice !== null) {
    const start = Number(slice[1]);
    const from = start < 0 ? Math.max(0, value.length + start) : start;
    return value.slice(from, slice[2] === undefined ? undefined : from + Number(slice[2]));
  }
  const replace = /^(\/\/?)((?:\\.|[^/\\])*)(?:\/([\s\S]*))?$/.exec(operation);
  if (replace !== null) {
    const from = (replace[2] ?? '').replaceAll(/\\(.)/g, '$1');
    const to = replace[3] ?? '';
    return replace[1] === '//' ? value.replaceAll(from, () => to) : value.replace(from, () => to);
  }
  const trim = /^(##?|%%?)([\s\S]+)$/.exec(operation);
  if (trim !== null) return trimmed(value, trim[1] ?? '', trim[2] ?? '');
  throw new SubstitutionError('ExpressionInvalid', `"\${${expression}}" is not a substitution`);
}

/** Trimming by a pattern compares it with every beginning or end of the value. */
const MAX_TRIMMED = 4096;

/** `#` and `%` cut the shortest match off the start and the end, doubled the longest; `*` and `?` are wild. */
function trimmed(value: string, operator: string, text: string): string {
  const fromStart = operator.startsWith('#');
  if (!/[*?]/.test(text)) {
    if (fromStart) return value.startsWith(text) ? value.slice(text.length) : value;
    return value.endsWith(text) ? value.slice(0, value.length - text.length) : value;
  }
  const characters = Array.from(value);
  if (characters.length > MAX_TRIMMED) {
    throw new SubstitutionError(
      'ExpressionInvalid',
      `a value over ${MAX_TRIMMED} characters cannot be trimmed`,
    );
  }
  const pattern = Array.from(text, (character) => (character === '*' ? MANY : character));
  const lengths = characters.map((_, index) => index).concat(characters.length);
  if (operator.length === 2) lengths.reverse();
  for (const length of lengths) {
    const cut = fromStart ? characters.slice(0, length) : characters.slice(characters.length - length);
    if (!matchesWild(pattern, cut, (wanted, character) => wanted === '?' || wanted === character)) continue;
    return (fromStart ? characters.slice(length) : characters.slice(0, characters.length - length)).join('');
  }
  return value;
}
