import { OciError } from './errors.ts';
import { checkPaths } from './paths.ts';

/** One file to be packed. */
export interface PackFile {
  /** Relative, with forward slashes. */
  readonly path: string;
  /** A string is written as UTF-8. */
  readonly content: Uint8Array | string;
  /** Mode 0755 instead of 0644. */
  readonly executable?: boolean;
}

const BLOCK = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
/** Eleven octal digits of the size field. */
const MAX_SIZE = 0o77_777_777_777;

interface Entry {
  readonly path: string;
  readonly name: Buffer;
  readonly content: Uint8Array | undefined;
  readonly mode: number;
}

/**
 * Writes a USTAR archive (POSIX.1-1988) whose bytes depend on paths, contents and executable bits
 * alone: entries sorted by the bytes of their paths (so a directory stands before what is in it), mode
 * 0644 or 0755, owner 0, time 0, no PAX or GNU headers and no entry for the root.
 *
 * No root entry: extracting one would set mode and time of the directory the user extracts into.
 *
 * @throws OciError `ArchiveInvalid` for a path that a reader would refuse or that USTAR cannot hold
 */
export function writeTar(files: readonly PackFile[]): Uint8Array {
  const entries = listEntries(files);
  let size = 2 * BLOCK;
  for (const entry of entries) size += BLOCK + padded(entry.content?.length ?? 0);
  const archive = Buffer.alloc(size);
  let at = 0;
  for (const entry of entries) {
    writeHeader(archive.subarray(at, at + BLOCK), entry);
    at += BLOCK;
    if (entry.content === undefined) continue;
    archive.set(entry.content, at);
    at += padded(entry.content.length);
  }
  return archive;
}

function listEntries(files: readonly PackFile[]): Entry[] {
  checkPaths(files.map((file) => file.path));
  const entries = new Map<string, Entry>();
  for (const file of files) {
    const parts = file.path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const path = parts.slice(0, depth).join('/');
      if (!entries.has(path)) {
        entries.set(path, { path, name: Buffer.from(path), content: undefined, mode: 0o755 });
      }
    }
    const content = typeof file.content === 'string' ? Buffer.from(file.content) : file.content;
    if (content.length > MAX_SIZE) throw new OciError('ArchiveInvalid', `${file.path} is over 8 GiB`);
    const mode = file.executable === true ? 0o755 : 0o644;
    entries.set(file.path, { path: file.path, name: Buffer.from(file.path), content, mode });
  }
  return [...entries.values()].sort((a, b) => Buffer.compare(a.name, b.name));
}

function writeHeader(block: Buffer, entry: Entry): void {
  const { name, prefix } = splitName(entry);
  name.copy(block, 0);
  octal(block, 100, 8, entry.mode);
  octal(block, 108, 8, 0);
  octal(block, 116, 8, 0);
  octal(block, 124, 12, entry.content?.length ?? 0);
  octal(block, 136, 12, 0);
  block.fill(0x20, 148, 156);
  block.write(entry.content === undefined ? '5' : '0', 156, 'latin1');
  block.write('ustar\u000000', 257, 'latin1');
  octal(block, 329, 8, 0);
  octal(block, 337, 8, 0);
  prefix.copy(block, 345);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148, 'latin1');
}

/** Divides a path at the first slash that leaves both halves short enough. */
function splitName(entry: Entry): { readonly name: Buffer; readonly prefix: Buffer } {
  const full = entry.name;
  if (full.length <= NAME_BYTES) return { name: full, prefix: Buffer.alloc(0) };
  const slash = full.indexOf(0x2f, full.length - NAME_BYTES - 1);
  if (slash <= 0 || slash > PREFIX_BYTES || slash === full.length - 1) {
    throw new OciError('ArchiveInvalid', `the path ${entry.path.slice(0, 300)} is too long to be packed`, {
      hint: `Of a path, up to ${PREFIX_BYTES} bytes may stand before one slash and ${NAME_BYTES} after it.`,
      facts: { path: entry.path },
    });
  }
  return { name: full.subarray(slash + 1), prefix: full.subarray(0, slash) };
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\u0000`, at, 'latin1');
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}
