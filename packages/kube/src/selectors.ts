import { KubeError } from './errors.ts';
import type { LabelSelector } from './mural.ts';

type Labels = Readonly<Record<string, string>>;

/** One demand of a selector: all must hold. */
export interface Requirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/**
 * Whether labels satisfy a `metav1.LabelSelector`. An empty selector matches everything; what an
 * absent one means is for the caller to say.
 */
export function matchesSelector(selector: LabelSelector, labels: Labels | undefined): boolean {
  return requirementsOf(selector).every((requirement) => meets(requirement, labels ?? {}));
}

/** Whether labels meet every requirement. */
export function matchesRequirements(
  requirements: readonly Requirement[],
  labels: Labels | undefined,
): boolean {
  return requirements.every((requirement) => meets(requirement, labels ?? {}));
}

/** The query form of a `metav1.LabelSelector`, as `labelSelector=` takes it. */
export function formatSelector(selector: LabelSelector): string {
  return requirementsOf(selector).map(formatRequirement).join(',');
}

function requirementsOf(selector: LabelSelector): Requirement[] {
  return [
    ...Object.entries(selector.matchLabels ?? {}).map(
      ([key, value]): Requirement => ({ key, operator: 'In', values: [value] }),
    ),
    ...(selector.matchExpressions ?? []).map(
      ({ key, operator, values }): Requirement => ({ key, operator, values: values ?? [] }),
    ),
  ];
}

/** As Kubernetes has it, `NotIn` and `DoesNotExist` hold for objects without the label. */
function meets({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0] ?? ''}` : `${key} in (${values.join(',')})`;
    case 'NotIn':
      return `${key} notin (${values.join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
  }
}

const MAX_SELECTOR = 64 * 1024;
const SET = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^\s=!]+)\s*(==|=|!=)\s*([^\s=!(),]*)$/;
const KEY = /^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

/**
 * Reads the query form of a label selector: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`,
 * joined by commas.
 *
 * @throws KubeError `BadRequest`
 */
export function parseSelector(text: string): Requirement[] {
  if (text.length > MAX_SELECTOR) throw new KubeError('BadRequest', 'the label selector is too long');
  return splitTerms(text).map(parseTerm);
}

/** Splits at commas outside parentheses. */
function splitTerms(text: string): string[] {
  if (text.trim() === '') return [];
  const terms: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '(') depth += 1;
    else if (character === ')') depth -= 1;
    else if (character === ',' && depth === 0) {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms.map((term) => term.trim());
}

function parseTerm(term: string): Requirement {
  const set = SET.exec(term);
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    return checked(term, { key: set[1] ?? '', operator: set[2] === 'in' ? 'In' : 'NotIn', values });
  }
  const equality = EQUALITY.exec(term);
  if (equality !== null) {
    const operator = equality[2] === '!=' ? 'NotIn' : 'In';
    return checked(term, { key: equality[1] ?? '', operator, values: [equality[3] ?? ''] });
  }
  if (term.startsWith('!')) {
    return checked(term, { key: term.slice(1).trim(), operator: 'DoesNotExist', values: [] });
  }
  return checked(term, { key: term, operator: 'Exists', values: [] });
}

function checked(term: string, requirement: Requirement): Requirement {
  if (KEY.test(requirement.key) && requirement.values.every((value) => VALUE.test(value))) return requirement;
  throw new KubeError('BadRequest', `unable to parse requirement: "${term}"`);
}
