import { gunzipBounded, isGzip } from './gzip.ts';
import { type ArchiveLimits, DEFAULT_LIMITS, readTar, type UnpackedFile } from './tar-read.ts';
import { OciError } from './errors.ts';

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
