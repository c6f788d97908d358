import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { syncDirectory, systemCode } from '@mural/core';
import { OciError } from './errors.ts';
import { gunzipBounded, isGzip } from './gzip.ts';
import { type ArchiveLimits, DEFAULT_LIMITS, readTar, type UnpackedFile } from './tar-read.ts';

/**
 * Unpacks a layer in memory: a tar, compressed with gzip or not. It is decompressed in the thread pool
 * and to no more than the limit, and nothing touches the disk.
 *
 * @returns files by path; directories that hold none are left out
 * @throws OciError `ArchiveInvalid` for what is damaged, beyond the limits or hostile, with the entry's name
 */
export async function unpackLayer(
  bytes: Uint8Array,
  limits: ArchiveLimits = {},
): Promise<Map<string, UnpackedFile>> {
  const maxBytes = limits.maxBytes ?? DEFAULT_LIMITS.maxBytes;
  const tar = isGzip(bytes) ? await gunzipBounded(bytes, maxBytes) : bytes;
  if (tar.length > maxBytes) {
    throw new OciError(
      'ArchiveInvalid',
      `the archive has ${tar.length} bytes, over the limit of ${maxBytes}`,
    );
  }
  return readTar(tar, limits);
}

/**
 * Unpacks a layer into a directory that is absent or empty. It appears whole, by a rename: an archive
 * that is refused leaves nothing behind. Files are the owner's alone (0600 and 0700), for manifests may
 * hold secrets.
 *
 * @returns the paths that were written
 * @throws OciError as {@link unpackLayer}; the file system's error when the directory has something in it
 */
export async function extractLayer(
  bytes: Uint8Array,
  directory: string,
  limits: ArchiveLimits = {},
): Promise<string[]> {
  const files = await unpackLayer(bytes, limits);
  const target = resolve(directory);
  const staging = `${target}.${randomBytes(6).toString('hex')}.tmp`;
  await mkdir(dirname(target), { recursive: true });
  await mkdir(staging, { mode: 0o700 });
  try {
    const made = new Set<string>();
    for (const [path, file] of files) {
      const parent = dirname(join(staging, path));
      if (!made.has(parent)) await mkdir(parent, { recursive: true, mode: 0o700 });
      made.add(parent);
      await writeFile(join(staging, path), file.content, {
        flag: 'wx',
        mode: file.executable ? 0o700 : 0o600,
      });
    }
    await rename(staging, target);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
  await syncDirectory(dirname(target)).catch((error: unknown) => {
    // Some file systems have no fsync for directories.
    if (systemCode(error) !== 'EINVAL') throw error;
  });
  return [...files.keys()];
}
