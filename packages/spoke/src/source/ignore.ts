import { MANY, matchesWild } from '../wildcards.ts';

const VCS = ['.git/', '.gitignore', '.gitmodules', '.gitattributes'];
/** What Flux leaves out of an artifact when nobody says otherwise (`pkg/sourceignore`). */
const DEFAULTS = [
  ...['jpg', 'jpeg', 'gif', 'png', 'wmv', 'flv', 'tar.gz', 'zip'].map((extension) => `*.${extension}`),
  ...['.github/', '.circleci/', '.travis.yml', '.gitlab-ci.yml', 'appveyor.yml', '.drone.yml'],
  ...['cloudbuild.yaml', 'codeship-services.yml', 'codeship-steps.yml'],
  ...['**/.goreleaser.yml', '**/.sops.yaml', '**/.flux.yaml'],
];

/** Tests one character, or stands for any number of them. */
type CharacterPattern = ((character: string) => boolean) | typeof MANY;
/** Tests one segment of a path, or stands for any number of them. */
type SegmentPattern = readonly CharacterPattern[] | typeof MANY;

interface Rule {
  readonly negated: boolean;
  readonly directoryOnly: boolean;
  readonly pattern: readonly SegmentPattern[];
}

/**
 * Decides which files of an artifact are left out, as Flux does: with no patterns of the user the
 * defaults hold; with any, only version control files and those patterns.
 *
 * @param patterns gitignore syntax; `spec.ignore` if it is set, else the content of `.sourceignore`
 * @returns whether a path is left out
 */
export function ignoreFilter(patterns: string | undefined): (path: string) => boolean {
  const lines = patterns === undefined ? [...VCS, ...DEFAULTS] : [...VCS, ...patterns.split('\n')];
  const rules = lines.map(parseRule).filter((rule) => rule !== undefined);
  return (path) => {
    const segments = path.split('/');
    // A file under an excluded folder cannot be included again (gitignore(5)).
    return segments.some((_, index) =>
      excluded(rules, segments.slice(0, index + 1), index < segments.length - 1),
    );
  };
}

function excluded(rules: readonly Rule[], path: readonly string[], isDirectory: boolean): boolean {
  let result = false;
  for (const rule of rules) {
    if (rule.directoryOnly && !isDirectory) continue;
    if (matchesWild(rule.pattern, path, matchesSegment)) result = !rule.negated;
  }
  return result;
}

function parseRule(line: string): Rule | undefined {
  let pattern = line.replace(/\r$/, '').replace(/(?<!\\)\s+$/, '');
  if (pattern === '' || pattern.startsWith('#')) return undefined;
  const negated = pattern.startsWith('!');
  if (negated) pattern = pattern.slice(1);
  const directoryOnly = pattern.endsWith('/');
  if (directoryOnly) pattern = pattern.slice(0, -1);
  const anchored = pattern.includes('/');
  pattern = pattern.replace(/^\//, '');
  if (pattern === '') return undefined;
  const segments = pattern.split('/').flatMap(segmentPatterns);
  return { negated, directoryOnly, pattern: anchored ? segments : [MANY, ...segments] };
}

function segmentPatterns(segment: string, index: number, all: readonly string[]): SegmentPattern[] {
  if (segment !== '**') return [characterPatterns(segment)];
  // At the end it stands for what is in a folder, which is not the folder itself.
  return index === all.length - 1 ? [MANY, [MANY]] : [MANY];
}

function matchesSegment(pattern: readonly CharacterPattern[], segment: string): boolean {
  return matchesWild(pattern, Array.from(segment), (test, character) => test(character));
}

function characterPatterns(segment: string): CharacterPattern[] {
  const characters = Array.from(segment);
  const patterns: CharacterPattern[] = [];
  for (let index = 0; index < characters.length; index += 1) {
    const character = characters[index] ?? '';
    const end = character === '[' ? characters.indexOf(']', index + 2) : -1;
    const set = end < 0 ? undefined : characterClass(characters.slice(index + 1, end).join(''));
    if (set !== undefined) {
      patterns.push(set);
      index = end;
    } else if (character === '*') patterns.push(MANY);
    else if (character === '?') patterns.push(() => true);
    else if (character === '\\' && index + 1 < characters.length) {
      index += 1;
      patterns.push(literal(characters[index] ?? ''));
    } else patterns.push(literal(character));
  }
  return patterns;
}

/** `undefined` for what is no class, such as `z-a`: it then stands for itself. */
function characterClass(text: string): ((character: string) => boolean) | undefined {
  const negated = /^[!^]/.test(text);
  const body = (negated ? text.slice(1) : text).replaceAll(/[\\\]^[]/g, '\\$&');
  try {
    const expression = new RegExp(`^[${negated ? '^' : ''}${body}]$`, 'u');
    return (character) => expression.test(character);
  } catch {
    return undefined;
  }
}

function literal(wanted: string): (character: string) => boolean {
  return (character) => character === wanted;
}
