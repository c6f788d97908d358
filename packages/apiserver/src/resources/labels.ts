import { badRequest } from '../status.ts';

/** One condition of a label selector. */
interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'gt' | 'lt';
  readonly values: readonly string[];
}

/** Whether labels meet a selector. */
export type LabelMatcher = (labels: Readonly<Record<string, string>> | undefined) => boolean;

const KEY = '[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?';
const VALUE = '(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?';
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALS = new RegExp(`^(${KEY})\\s*(==|=|!=|>|<)\\s*(${VALUE})$`);
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);
const LIMIT = 4096;

/**
 * Reads a label selector: `a=b,c!=d,e in (f,g),!h` (`k8s.io/apimachinery` `labels.Parse`).
 *
 * @throws ApiError `BadRequest`
 */
export function labelMatcher(selector: string | undefined): LabelMatcher {
  if (selector === undefined || selector.trim() === '') return () => true;
  if (selector.length > LIMIT) throw badRequest('the label selector is too long');
  const requirements = split(selector).map(parseRequirement);
  return (labels) => requirements.every((requirement) => meets(labels ?? {}, requirement));
}

/** Splits at the commas outside parentheses. */
function split(selector: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index < selector.length; index += 1) {
    const character = selector[index];
    if (character === '(') depth += 1;
    else if (character === ')') depth -= 1;
    else if (character === ',' && depth === 0) {
      parts.push(selector.slice(start, index));
      start = index + 1;
    }
  }
  return [...parts, selector.slice(start)].map((part) => part.trim());
}

function parseRequirement(text: string): Requirement {
  const set = SET.exec(text);
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    return { key: set[1] ?? '', operator: set[2] === 'in' ? 'in' : 'notin', values };
  }
  const equals = EQUALS.exec(text);
  if (equals !== null) {
    const operator = ({ '!=': 'notin', '>': 'gt', '<': 'lt' } as const)[equals[2] ?? ''] ?? 'in';
    return { key: equals[1] ?? '', operator, values: [equals[3] ?? ''] };
  }
  const exists = EXISTS.exec(text);
  if (exists !== null)
    return { key: exists[2] ?? '', operator: exists[1] === '!' ? 'absent' : 'exists', values: [] };
  throw badRequest(
    `unable to parse requirement: found '${text}', expected: !, identifier, or 'end of string'`,
  );
}

function meets(labels: Readonly<Record<string, string>>, requirement: Requirement): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'in':
      return value !== undefined && requirement.values.includes(value);
    case 'notin':
      return value === undefined || !requirement.values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'gt':
      return value !== undefined && Number(value) > Number(requirement.values[0]);
    case 'lt':
      return value !== undefined && Number(value) < Number(requirement.values[0]);
  }
}
