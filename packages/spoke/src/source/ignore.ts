const VCS = ['.git/', '.gitignore', '.gitmodules', '.gitattributes'];
/** What Flux leaves out of an artifact when nobody says otherwise (`pkg/sourceignore`). */
const DEFAULTS = [
  ...['jpg', 'jpeg', 'gif', 'png', 'wmv', 'flv', 'tar.gz', 'zip'].map((extension) => `*.${extension}`),
  ...['.github/', '.circleci/', '.travis.yml', '.gitlab-ci.yml', 'appveyor.yml', '.drone.yml'],
  ...['cloudbuild.yaml', 'codeship-services.yml', 'codeship-steps.yml'],
  ...['**/.goreleaser.yml', '**/.sops.yaml', '**/.flux.yaml'],
];

interface Rule {
  readonly negated: boolean;
  readonly directoryOnly: boolean;
  readonly expression: RegExp;
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
      excluded(rules, segments.slice(0, index + 1).join('/'), index < segments.length - 1),
    );
  };
}

function excluded(rules: readonly Rule[], path: string, isDirectory: boolean): boolean {
  let result = false;
  for (const rule of rules) {
    if (rule.directoryOnly && !isDirectory) continue;
    if (rule.expression.test(path)) result = !rule.negated;
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
  const source = anchored ? globSource(pattern) : `(?:.*/)?${globSource(pattern)}`;
  return { negated, directoryOnly, expression: new RegExp(`^${source}$`) };
}

function globSource(pattern: string): string {
  return pattern
    .split('/')
    .map((segment, index, all) => {
      const last = index === all.length - 1;
      if (segment === '**') return last ? '.+' : '(?:.+/)?';
      return segmentSource(segment) + (last ? '' : '/');
    })
    .join('');
}

function segmentSource(segment: string): string {
  let source = '';
  for (let index = 0; index < segment.length; index += 1) {
    const character = segment.charAt(index);
    if (character === '\\' && index + 1 < segment.length) {
      index += 1;
      source += literal(segment.charAt(index));
    } else if (character === '*') {
      while (segment.charAt(index + 1) === '*') index += 1;
      source += '[^/]*';
    } else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const end = segment.indexOf(']', index + 2);
      if (end < 0) source += '\\[';
      else {
        source += characterClass(segment.slice(index + 1, end));
        index = end;
      }
    } else source += literal(character);
  }
  return source;
}

function characterClass(text: string): string {
  const negated = /^[!^]/.test(text);
  const body = (negated ? text.slice(1) : text).replaceAll(/[\\\]^[]/g, '\\$&');
  const source = `[${negated ? '^/' : ''}${body}]`;
  try {
    new RegExp(source);
    return source;
  } catch {
    return literal(`[${text}]`);
  }
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
