/** A version as semver.org 2.0 writes it; a leading `v` and missing minor or patch are allowed, as in tags. */
export interface Version {
  readonly text: string;
  readonly numbers: readonly [number, number, number];
  readonly prerelease: readonly string[];
}

type Comparator = (version: Version) => boolean;

const VERSION = /^v?(\d{1,10})(?:\.(\d{1,10}))?(?:\.(\d{1,10}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;
const PARTIAL = /^v?(\d{1,10}|[xX*])(?:\.(\d{1,10}|[xX*]))?(?:\.(\d{1,10}|[xX*]))?(?:-([0-9A-Za-z.-]+))?$/;

/** Reads a version; `undefined` when `text` is none. */
export function parseVersion(text: string): Version | undefined {
  const match = VERSION.exec(text);
  if (match === null) return undefined;
  return {
    text,
    numbers: [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)],
    prerelease: match[4]?.split('.') ?? [],
  };
}

/** Precedence by semver.org 2.0 §11: negative when `a` comes before `b`. */
export function compareVersions(a: Version, b: Version): number {
  for (const index of [0, 1, 2] as const) {
    const difference = a.numbers[index] - b.numbers[index];
    if (difference !== 0) return difference;
  }
  if (a.prerelease.length === 0 || b.prerelease.length === 0) {
    return b.prerelease.length - a.prerelease.length;
  }
  for (let index = 0; ; index += 1) {
    const left = a.prerelease[index];
    const right = b.prerelease[index];
    if (left === undefined || right === undefined)
      return (left === undefined ? 0 : 1) - (right === undefined ? 0 : 1);
    const difference = compareIdentifiers(left, right);
    if (difference !== 0) return difference;
  }
}

function compareIdentifiers(a: string, b: string): number {
  const numeric = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (numeric[0] === true && numeric[1] === true) return Number(a) - Number(b);
  if (numeric[0] !== numeric[1]) return numeric[0] === true ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Reads a range as Masterminds' semver does, which Flux uses: `>=1.2 <2`, `1.x`, `~1.2`, `^1.2.3`, `1.2 - 1.4`,
 * `||` between alternatives. Pre-releases match only where the range names one.
 *
 * @returns the test, or `undefined` when the range cannot be read
 */
export function parseRange(range: string): Comparator | undefined {
  const alternatives: Comparator[] = [];
  for (const part of range.split('||')) {
    const comparators = parseAlternative(part.trim());
    if (comparators === undefined) return undefined;
    alternatives.push((version) => comparators.every((accepts) => accepts(version)));
  }
  return (version) => alternatives.some((accepts) => accepts(version));
}

/** The greatest version in `tags` that `range` accepts; `undefined` for none. Tags that are no versions are passed over. */
export function greatest(tags: Iterable<string>, accepts: Comparator): string | undefined {
  let best: Version | undefined;
  for (const tag of tags) {
    const version = parseVersion(tag);
    if (version === undefined || !accepts(version)) continue;
    if (best === undefined || compareVersions(version, best) > 0) best = version;
  }
  return best?.text;
}

function parseAlternative(text: string): Comparator[] | undefined {
  const hyphen = /^(\S+)\s+-\s+(\S+)$/.exec(text);
  if (hyphen !== null) {
    const low = comparator('>=', hyphen[1] ?? '');
    const high = comparator('<=', hyphen[2] ?? '');
    return low === undefined || high === undefined ? undefined : [low, high];
  }
  const terms = text.replaceAll(/(=>|=<|>=|<=|!=|[=<>~^])\s+/g, '$1').split(/[\s,]+/);
  const comparators: Comparator[] = [];
  for (const term of terms) {
    const match = /^(=>|=<|>=|<=|!=|=|<|>|~>|~|\^)?(.+)$/.exec(term);
    const made = match === null ? undefined : comparator(match[1] ?? '', match[2] ?? '');
    if (made === undefined) return undefined;
    comparators.push(made);
  }
  return comparators;
}

function comparator(operator: string, text: string): Comparator | undefined {
  const match = PARTIAL.exec(text);
  if (match === null) return undefined;
  const given = [match[1], match[2], match[3]].map((part) =>
    part === undefined || /^[xX*]$/.test(part) ? undefined : Number(part),
  );
  const wild = given.indexOf(undefined);
  const known = wild < 0 ? 3 : wild;
  const numbers = [0, 1, 2].map((index) => (index < known ? (given[index] ?? 0) : 0)) as [
    number,
    number,
    number,
  ];
  const prerelease = match[4]?.split('.') ?? [];
  const low: Version = { text, numbers, prerelease };
  const bounded = bounds(operator, low, known);
  const allowsPrerelease = prerelease.length > 0;
  return (version) => (version.prerelease.length === 0 || allowsPrerelease) && bounded(version);
}

/** @param known how many of major, minor and patch the range spells out */
function bounds(operator: string, low: Version, known: number): Comparator {
  const after = (level: number): Version => bump(low, level);
  const within =
    (high: Version): Comparator =>
    (v) =>
      compareVersions(v, low) >= 0 && below(v, high);
  const same =
    known === 3 ? (v: Version): boolean => compareVersions(v, low) === 0 : within(after(known - 1));
  switch (operator) {
    case '!=':
      return (v) => !same(v);
    case '>':
      return known === 3 ? (v) => compareVersions(v, low) > 0 : (v) => !below(v, after(known - 1));
    case '>=':
    case '=>':
      return (v) => compareVersions(v, low) >= 0;
    case '<':
      return (v) => compareVersions(v, low) < 0;
    case '<=':
    case '=<':
      return known === 3 ? (v) => compareVersions(v, low) <= 0 : (v) => below(v, after(known - 1));
    case '~':
    case '~>':
      return within(after(Math.min(known - 1, 1)));
    case '^':
      return within(after(caretLevel(low, known)));
    default:
      return same;
  }
}

/** `^` lets everything change that stands right of the first number that is not zero. */
function caretLevel(low: Version, known: number): number {
  const nonZero = low.numbers.findIndex((number) => number > 0);
  return nonZero < 0 || nonZero >= known ? known - 1 : nonZero;
}

function below(version: Version, high: Version): boolean {
  return compareVersions(version, high) < 0;
}

/**
 * Where those end that share the numbers of `low` up to `level`: before the first pre-release of the next
 * one. Level -1 is after everything.
 */
function bump(low: Version, level: number): Version {
  const numbers = [0, 1, 2].map((index) =>
    level < 0
      ? Number.POSITIVE_INFINITY
      : index < level
        ? (low.numbers[index] ?? 0)
        : index === level
          ? (low.numbers[index] ?? 0) + 1
          : 0,
  ) as [number, number, number];
  return { text: '', numbers, prerelease: ['0'] };
}
