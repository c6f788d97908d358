import { OciError } from './errors.ts';
import { PathTree, refusePath } from './paths.ts';

/** A file out of an archive. */
export interface UnpackedFile {
  /** A view into the archive: copy it if it has to outlive the rest. */
  readonly content: Uint8Array;
  readonly executable: boolean;
}

/** What an archive may hold at most. */
export interface ArchiveLimits {
  /** Bytes of the tar, and so of all files together. 256 MiB unless given. */
  readonly maxBytes?: number | undefined;
  /** Bytes of one file. As many as `maxBytes` unless given. */
  readonly maxFileBytes?: number | undefined;
  /** Files and directories. 100,000 unless given. */
  readonly maxEntries?: number | undefined;
}

/** Limits that hold when none are given. */
export const DEFAULT_LIMITS = { maxBytes: 256 * 1024 * 1024, maxEntries: 100_000 } as const;

const BLOCK = 512;
/** Longest extended header that is read: a path of 1,024 characters fits well. */
const MAX_EXTENSION = 64 * 1024;

interface Header {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
  readonly type: string;
}

/** What extended headers say about the entry that follows them. */
interface Overrides {
  path?: string;
  size?: number;
}

/**
 * Reads a tar of plain files and directories: USTAR, and what Go and GNU tar write for long names.
 * Links and devices of any kind are refused, and so are paths that leave the tree or meet another path.
 *
 * @throws OciError `ArchiveInvalid` with the entry's name
 */
export function readTar(archive: Uint8Array, limits: ArchiveLimits = {}): Map<string, UnpackedFile> {
  const buffer = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const maxEntries = limits.maxEntries ?? DEFAULT_LIMITS.maxEntries;
  const maxFile = limits.maxFileBytes ?? limits.maxBytes ?? DEFAULT_LIMITS.maxBytes;
  const files = new Map<string, UnpackedFile>();
  const tree = new PathTree();
  let entries = 0;
  let overrides: Overrides = {};
  for (const { header, content } of readEntries(buffer, maxFile, () => overrides)) {
    entries += 1;
    if (entries > maxEntries) throw invalid(`it has more than ${maxEntries} entries`);
    if (EXTENSIONS.has(header.type)) {
      readExtension(header, content, overrides);
    } else {
      overrides = {};
      addEntry(files, tree, header, content);
    }
  }
  return files;
}

interface Entry {
  readonly header: Header;
  readonly content: Buffer;
}

function* readEntries(buffer: Buffer, maxFile: number, overrides: () => Overrides): Generator<Entry> {
  for (let at = 0; ; ) {
    const block = takeBlock(buffer, at);
    if (block === undefined) return;
    at += BLOCK;
    const read = readHeader(block);
    const isExtension = EXTENSIONS.has(read.type);
    const header = isExtension ? read : { ...read, ...overrides() };
    const { path, size } = header;
    if (size > (isExtension ? MAX_EXTENSION : maxFile)) refusePath(path, `it has ${size} bytes`);
    if (at + size > buffer.length) refusePath(path, 'the archive ends in the middle of it');
    yield { header, content: buffer.subarray(at, at + size) };
    at += Math.ceil(size / BLOCK) * BLOCK;
  }
}

function addEntry(files: Map<string, UnpackedFile>, tree: PathTree, header: Header, content: Buffer): void {
  // Only leading `./` and the slash after a directory are how other tools write the same path.
  const path = header.path.replace(/^(?:\.\/)+/, '');
  switch (header.type) {
    case '0':
    case '\0':
    case '7':
      if (header.path.endsWith('/')) refusePath(header.path, 'it is a file and ends in a slash');
      tree.addFile(path);
      files.set(path, { content, executable: (header.mode & 0o100) !== 0 });
      return;
    case '5': {
      const directory = path.length > 1 ? path.replace(/\/$/, '') : path;
      if (directory !== '.' && header.path !== './') tree.addDirectory(directory);
      return;
    }
    case '1':
      return refusePath(header.path, 'it is a hard link');
    case '2':
      return refusePath(header.path, 'it is a symbolic link');
    case '3':
    case '4':
    case '6':
      return refusePath(header.path, 'it is a device or a pipe');
    default:
      return refusePath(header.path, `it is of a kind that is not known (${JSON.stringify(header.type)})`);
  }
}

/** @returns `undefined` at the two empty blocks that end an archive */
function takeBlock(buffer: Buffer, at: number): Buffer | undefined {
  if (at + BLOCK > buffer.length) throw invalid('it is cut short');
  const block = buffer.subarray(at, at + BLOCK);
  if (!isZero(block)) return block;
  const next = buffer.subarray(at + BLOCK, at + 2 * BLOCK);
  if (next.length < BLOCK || !isZero(next)) throw invalid('its end is not marked as it should be');
  return undefined;
}

function readHeader(block: Buffer): Header {
  checkSum(block);
  const name = readText(block, 0, 100);
  const ustar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = ustar ? readText(block, 345, 155) : '';
  const path = prefix === '' ? name : `${prefix}/${name}`;
  return {
    path,
    size: readNumber(block, 124, 12, path),
    mode: readNumber(block, 100, 8, path),
    type: String.fromCharCode(block[156] ?? 0),
  };
}

function checkSum(block: Buffer): void {
  let sum = 0;
  for (let at = 0; at < BLOCK; at += 1) sum += at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
  if (sum !== readNumber(block, 148, 8, 'header')) throw invalid('the checksum of a header is wrong');
}

/** Octal digits, padded with blanks or NULs; nothing else (no base-256 sizes: they are over 8 GiB). */
function readNumber(block: Buffer, at: number, length: number, path: string): number {
  const text = block.toString('latin1', at, at + length).replace(/^ +|[ \0]+$/g, '');
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) refusePath(path, 'a number in its header cannot be read');
  return Number.parseInt(text, 8);
}

function readText(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return decode(end < 0 ? field : field.subarray(0, end));
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw invalid('the name of an entry is not UTF-8', cause);
  }
}

const EXTENSIONS: ReadonlySet<string> = new Set(['x', 'g', 'L', 'K']);

/** PAX (`x`), its global form (`g`, ignored: nothing in it is used) and GNU's long names (`L`). */
function readExtension(header: Header, content: Buffer, overrides: Overrides): void {
  if (header.type === 'L') {
    const end = content.indexOf(0);
    overrides.path = decode(end < 0 ? content : content.subarray(0, end));
  }
  if (header.type !== 'x') return;
  for (const [key, value] of paxRecords(content)) {
    if (key === 'path') overrides.path = value;
    if (key.startsWith('GNU.sparse')) refusePath(overrides.path ?? header.path, 'it is a sparse file');
    if (key !== 'size') continue;
    if (!/^\d{1,15}$/.test(value)) throw invalid('an extended header has a size that is no number');
    overrides.size = Number(value);
  }
}

/** Records are `<length> <key>=<value>\n`, the length counting all of it (POSIX.1-2001 pax). */
function* paxRecords(content: Buffer): Generator<readonly [key: string, value: string]> {
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const digits = space < 0 ? '' : content.toString('latin1', at, space);
    const length = /^[1-9]\d{0,5}$/.test(digits) ? Number(digits) : 0;
    const equals = content.indexOf(0x3d, space);
    const end = at + length;
    if (length === 0 || end > content.length || content[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw invalid('an extended header cannot be read');
    }
    yield [decode(content.subarray(space + 1, equals)), decode(content.subarray(equals + 1, end - 1))];
    at = end;
  }
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

function invalid(why: string, cause?: unknown): OciError {
  return new OciError('ArchiveInvalid', `the archive cannot be read: ${why}`, { cause });
}
