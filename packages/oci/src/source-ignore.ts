/**
 * What Flux leaves out of every artifact (source-controller, "Default exclusions": VCS files).
 *
 * Its further defaults (pictures, archives, CI files) hold only where no pattern is given; here they
 * never do: a manifest set packs what is in it.
 */
const VCS = ['.git', '.gitignore', '.gitmodules', '.gitattributes'];

interface Pattern {
  readonly expression: RegExp;
  readonly negated: boolean;
  readonly directoryOnly: boolean;
}

/** Says whether a path is left out. Directories that are left out take with them what is in them. */
export type Ignore = (path: string, isDirectory: boolean) => boolean;

/**
 * Reads patterns in the syntax of `.gitignore`, one per line; the last that matches decides.
 *
 * @param text the content of `.sourceignore` at the root, or nothing
 */
export function parseIgnore(text: string): Ignore {
  const patterns = [...VCS, ...text.split(/\r?\n/)].flatMap((line) => parseLine(line));
  return (path, isDirectory) => {
    let ignored = false;
    for (const pattern of patterns) {
      if (pattern.directoryOnly && !isDirectory) continue;
      if (pattern.expression.test(path)) ignored = !pattern.negated;
    }
    return ignored;
  };
}

function parseLine(line: string): Pattern[] {
  let pattern = line.replace(/(?<!\\)[ \t]+$/, '');
  if (pattern === '' || pattern.startsWith('#')) return [];
  const negated = pattern.startsWith('!');
  if (negated) pattern = pattern.slice(1);
  const directoryOnly = pattern.endsWith('/');
  if (directoryOnly) pattern = pattern.slice(0, -1);
  const anchored = pattern.includes('/');
  const body = pattern.replace(/^\//, '');
  if (body === '') return [];
  const expression = new RegExp(`^${anchored ? '' : '(?:.*/)?'}${translate(body)}$`, 'u');
  return [{ expression, negated, directoryOnly }];
}

const PIECES = /\*\*\/|\/\*\*$|\*+|\?|\[(?:!|\^)?[^\]/]+\]|\\.|[^]/gu;

/** A glob as the source of a regular expression that cannot backtrack beyond its number of stars. */
function translate(glob: string): string {
  return (glob.match(PIECES) ?? []).map((piece) => translatePiece(piece)).join('');
}

function translatePiece(piece: string): string {
  if (piece === '**/') return '(?:[^/]+/)*';
  if (piece === '/**') return '/.+';
  if (piece.startsWith('*')) return '[^/]*';
  if (piece === '?') return '[^/]';
  if (piece.length > 2 && piece.startsWith('[')) {
    const inner = piece
      .slice(1, -1)
      .replace(/^[!^]/, '')
      .replace(/[\\[\]^&]/g, '\\$&');
    return /^\[[!^]/.test(piece) ? `[^/${inner}]` : `[${inner}]`;
  }
  const literal = piece.length === 2 && piece.startsWith('\\') ? piece.slice(1) : piece;
  return literal.replace(/[\\^$.*+?()[\]{}|/-]/g, (sign) => (sign === '-' ? '-' : `\\${sign}`));
}
