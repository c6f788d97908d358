import { RegistryError } from '../errors.ts';

/** Members that decide what a manifest refers to, in lower case: some parsers ignore the case of names. */
const DECISIVE = new Set(
  ['schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'subject', 'artifactType', 'annotations']
    .concat(['digest', 'size', 'urls', 'data', 'platform'])
    .map((name) => name.toLowerCase()),
);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COLON = 0x3a;

interface Level {
  /** Names seen in the object; undefined in a list. */
  readonly names: Set<string> | undefined;
  /** Names of an object that maps free names, in which case counts. */
  readonly free: boolean;
}

/**
 * Refuses JSON in which one object has a member twice: parsers take the first, the last or both, so
 * that two readers would see two manifests under one digest. Members that decide are compared
 * without regard to case.
 *
 * @param text JSON that has been parsed before
 * @throws RegistryError `ManifestInvalid`
 */
export function requireOneReading(text: string): void {
  const levels: Level[] = [];
  let name = '';
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      const next = skipSpace(text, end + 1);
      if (text.charCodeAt(next) === COLON) {
        name = nameOf(text.slice(at, end + 1));
        note(levels.at(-1), name);
      }
      at = end;
    } else if (code === OPEN) {
      levels.push({ names: new Set(), free: name === 'annotations' && levels.at(-1)?.names !== undefined });
    } else if (code === OPEN_LIST) {
      levels.push({ names: undefined, free: false });
    } else if (code === CLOSE || code === CLOSE_LIST) {
      levels.pop();
      name = '';
    }
  }
}

function note(level: Level | undefined, name: string): void {
  if (level?.names === undefined) return;
  const lower = name.toLowerCase();
  const key = !level.free && DECISIVE.has(lower) ? lower : name;
  if (level.names.has(key)) {
    throw new RegistryError('ManifestInvalid', 'The manifest has a field twice.', {
      facts: { field: name.slice(0, 100) },
    });
  }
  level.names.add(key);
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (/[ \t\r\n]/.test(text.charAt(at))) at += 1;
  return at;
}

/** The name as it is meant: an escape may hide which it is. */
function nameOf(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}
