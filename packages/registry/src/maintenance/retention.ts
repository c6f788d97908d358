import type { Digest } from '../names.ts';
import type { CompiledTagRule } from './rules.ts';

/** A tag with the time at which it was set. */
export interface TimedTag {
  readonly name: string;
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly updatedAt: number;
}

/** A tag that its rule does not keep. */
export interface ExpiredTag extends TimedTag {
  readonly reason: string;
}

/**
 * The tags that no rule keeps. A tag follows the first rule that fits its name, and is kept when it
 * is one of the newest of that rule or young enough; without a fitting rule it is kept.
 */
export function expiredTags(
  tags: readonly TimedTag[],
  rules: readonly CompiledTagRule[],
  now: number,
): ExpiredTag[] {
  const groups = new Map<CompiledTagRule, TimedTag[]>();
  for (const tag of tags) {
    const rule = rules.find(({ patterns }) => patterns.some((pattern) => pattern.test(tag.name)));
    if (rule === undefined) continue;
    const group = groups.get(rule);
    if (group === undefined) groups.set(rule, [tag]);
    else group.push(tag);
  }
  return rules.flatMap((rule) => expiredOf(groups.get(rule) ?? [], rule, now));
}

function expiredOf(group: TimedTag[], rule: CompiledTagRule, now: number): ExpiredTag[] {
  const newestFirst = group.toSorted((a, b) => b.updatedAt - a.updatedAt || (a.name < b.name ? 1 : -1));
  const { keepNewest = 0, keepYoungerThanMs } = rule;
  return newestFirst
    .slice(keepNewest)
    .filter((tag) => keepYoungerThanMs === undefined || now - tag.updatedAt >= keepYoungerThanMs)
    .map((tag) => ({ ...tag, reason: reasonOf(rule, now - tag.updatedAt) }));
}

function reasonOf({ text, keepNewest, keepYoungerThanMs }: CompiledTagRule, age: number): string {
  const parts = [
    ...(keepNewest === undefined ? [] : [`not among the newest ${keepNewest}`]),
    ...(keepYoungerThanMs === undefined
      ? []
      : [`set ${hours(age)} ago, kept for ${hours(keepYoungerThanMs)}`]),
  ];
  return `${parts.join(' and ')} (rule for ${text})`;
}

function hours(ms: number): string {
  return `${Math.round(ms / 360_000) / 10} h`;
}
