import { isRecord } from '@mural/core';
import { digStrings } from '../objects.ts';

/** `rbacv1.PolicyRule`, read out of a stored role. */
export interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

/** What somebody wants to do. */
export interface Attributes {
  readonly verb: string;
  readonly isResource: boolean;
  readonly group: string;
  readonly plural: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
}

/** The rules of a role. */
export function rulesOf(role: unknown): Rule[] {
  if (!isRecord(role) || !Array.isArray(role['rules'])) return [];
  return (role['rules'] as unknown[]).map((rule) => ({
    verbs: digStrings(rule, 'verbs'),
    apiGroups: digStrings(rule, 'apiGroups'),
    resources: digStrings(rule, 'resources'),
    resourceNames: digStrings(rule, 'resourceNames'),
    nonResourceURLs: digStrings(rule, 'nonResourceURLs'),
  }));
}

function has(list: readonly string[], value: string): boolean {
  return list.includes('*') || list.includes(value);
}

/** Whether a rule allows what is wanted (`rbac.RuleAllows`). */
export function ruleAllows(rule: Rule, wanted: Attributes): boolean {
  if (!has(rule.verbs, wanted.verb)) return false;
  if (!wanted.isResource) return rule.nonResourceURLs.some((url) => urlMatches(url, wanted.path));
  return (
    has(rule.apiGroups, wanted.group) &&
    resourceMatches(rule.resources, wanted) &&
    (rule.resourceNames.length === 0 || (wanted.name !== '' && rule.resourceNames.includes(wanted.name)))
  );
}

function resourceMatches(resources: readonly string[], { plural, subresource }: Attributes): boolean {
  const full = subresource === '' ? plural : `${plural}/${subresource}`;
  return (
    resources.includes('*') ||
    resources.includes(full) ||
    (subresource !== '' && resources.includes(`*/${subresource}`))
  );
}

function urlMatches(pattern: string, path: string): boolean {
  return (
    pattern === '*' || pattern === path || (pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1)))
  );
}

/** The parts of `wanted` that no rule of `held` covers (`validation.Covers`). */
export function uncovered(held: readonly Rule[], wanted: readonly Rule[]): Rule[] {
  return wanted.flatMap(breakDown).filter((one) => !held.some((rule) => covers(rule, one)));
}

/** A rule as rules of one verb, group and resource each. */
function breakDown(rule: Rule): Rule[] {
  const names = rule.resourceNames.length === 0 ? [[]] : rule.resourceNames.map((name) => [name]);
  const resources = rule.apiGroups.flatMap((group) =>
    rule.resources.flatMap((resource) =>
      rule.verbs.flatMap((verb) =>
        names.map((resourceNames) => ({
          verbs: [verb],
          apiGroups: [group],
          resources: [resource],
          resourceNames,
          nonResourceURLs: [],
        })),
      ),
    ),
  );
  const urls = rule.nonResourceURLs.flatMap((url) =>
    rule.verbs.map((verb) => ({
      verbs: [verb],
      apiGroups: [],
      resources: [],
      resourceNames: [],
      nonResourceURLs: [url],
    })),
  );
  return [...resources, ...urls];
}

function covers(owner: Rule, one: Rule): boolean {
  const all = (mine: readonly string[], theirs: readonly string[]): boolean =>
    mine.includes('*') || theirs.every((value) => mine.includes(value));
  if (!all(owner.verbs, one.verbs)) return false;
  if (one.nonResourceURLs.length > 0) {
    return one.nonResourceURLs.every((url) => owner.nonResourceURLs.some((mine) => urlMatches(mine, url)));
  }
  const names =
    owner.resourceNames.length === 0 ||
    (one.resourceNames.length > 0 && one.resourceNames.every((name) => owner.resourceNames.includes(name)));
  const resource = one.resources.every((wanted) => {
    const [, subresource = ''] = wanted.split('/');
    return (
      owner.resources.includes('*') ||
      owner.resources.includes(wanted) ||
      (subresource !== '' && owner.resources.includes(`*/${subresource}`))
    );
  });
  return names && resource && all(owner.apiGroups, one.apiGroups);
}

/** A rule as the API's messages write it: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`. */
export function describeRule(rule: Rule): string {
  const parts: readonly [string, readonly string[]][] = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['ResourceNames', rule.resourceNames],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['Verbs', rule.verbs],
  ];
  const shown = parts
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => `${name}:[${values.map((value) => JSON.stringify(value)).join(' ')}]`);
  return `{${shown.join(', ')}}`;
}
