import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '@mural/core';
import { OciError } from './errors.ts';
import { packArtifact, type PackedArtifact, type PackMetadata } from './pack.ts';
import { refusePath } from './paths.ts';
import { type Ignore, parseIgnore } from './source-ignore.ts';
import type { PackFile } from './tar-write.ts';

/** How a directory is packed. */
export interface PackDirectoryOptions extends PackMetadata {
  /** Patterns in `.gitignore` syntax, beside those of `.sourceignore`. */
  readonly ignore?: string | undefined;
  /** Bytes of all files together, 256 MiB unless given. */
  readonly maxBytes?: number | undefined;
}

const MAX_BYTES = 256 * 1024 * 1024;
const MAX_FILES = 100_000;

/**
 * Packs what is in a directory, without VCS files and what a `.sourceignore` at its root leaves out.
 * Of the modes only the owner's executable bit counts, so that a umask is not in the digest.
 *
 * @throws OciError `ArchiveInvalid` for a symbolic link or special file, `TooLarge` beyond the limit
 */
export async function packDirectory(
  directory: string,
  options: PackDirectoryOptions = {},
): Promise<PackedArtifact> {
  const patterns = `${await readIgnoreFile(directory)}\n${options.ignore ?? ''}`;
  const files: PackFile[] = [];
  let left = options.maxBytes ?? MAX_BYTES;
  for await (const path of walk(directory, '', parseIgnore(patterns))) {
    const file = await readPlain(directory, path, left);
    left -= file.content.length;
    files.push(file);
    if (files.length > MAX_FILES)
      throw new OciError('TooLarge', `${directory} holds over ${MAX_FILES} files`);
  }
  return await packArtifact({ ...options, files });
}

async function readIgnoreFile(directory: string): Promise<string> {
  try {
    const { content } = await readPlain(directory, '.sourceignore', 1024 * 1024);
    return Buffer.from(content).toString('utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  }
}

async function* walk(root: string, within: string, ignore: Ignore): AsyncGenerator<string> {
  const entries = await readdir(join(root, within), { withFileTypes: true });
  for (const entry of entries) {
    const path = within === '' ? entry.name : `${within}/${entry.name}`;
    if (ignore(path, entry.isDirectory())) continue;
    if (entry.isDirectory()) yield* walk(root, path, ignore);
    else if (entry.isFile()) yield path;
    else refusePath(path, entry.isSymbolicLink() ? 'it is a symbolic link' : 'it is not a plain file');
  }
}

/** Opened so that a file that has become a link or a pipe since it was listed is not followed. */
async function readPlain(
  root: string,
  path: string,
  limit: number,
): Promise<{ path: string; content: Uint8Array; executable: boolean }> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(join(root, path), flags).catch((error: unknown) => {
    if (systemCode(error) === 'ELOOP') refusePath(path, 'it is a symbolic link');
    throw error;
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) refusePath(path, 'it is not a plain file');
    if (stat.size > limit) {
      throw new OciError('TooLarge', `${path} takes what is packed over the limit`, { facts: { path } });
    }
    return { path, content: await file.readFile(), executable: (stat.mode & 0o100) !== 0 };
  } finally {
    await file.close();
  }
}
