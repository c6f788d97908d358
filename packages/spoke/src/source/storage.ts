import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MuralError, systemCode, writeFileAtomic } from '@mural/core';
import { digestOfLarge, parseDigest } from '@mural/oci';

/** Whose artifact it is. Both are names that the API has validated, and are checked again here. */
export interface SourceRef {
  readonly namespace: string;
  readonly name: string;
}

/** An artifact as it lies on the disk. */
export interface StoredArtifact {
  readonly digest: string;
  /** Relative to the data folder: what `status.artifact.path` says. */
  readonly path: string;
  readonly url: string;
  readonly size: number;
}

/** Why a stored artifact cannot be used. */
export type StorageErrorCode = 'ArtifactMissing' | 'ArtifactAltered' | 'ArtifactTooLarge' | 'InvalidPath';

/** A stored artifact that cannot be used. */
export class StorageError extends MuralError<StorageErrorCode> {}

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * The last good artifacts of each source: `ocirepository/<namespace>/<name>/<hex>.tar.gz` under
 * the data folder. Content is checked against its digest whenever it is read, so a torn or altered
 * file counts as missing and nothing is ever applied from it.
 */
export class ArtifactStorage {
  readonly #root: string;

  /** @param dataDir the folder that all artifacts lie under */
  constructor(dataDir: string) {
    this.#root = dataDir;
  }

  /** Stores `content` under its digest, whole or not at all. Content that is there already is left alone. */
  async write(source: SourceRef, content: Uint8Array): Promise<StoredArtifact> {
    const digest = await digestOfLarge(content);
    const stored = this.describe(source, digest, content.byteLength);
    if (!(await this.has(source, digest))) await writeFileAtomic(this.#file(source, digest), content);
    return stored;
  }

  /** What `write` would answer for content of this digest and size. */
  describe(source: SourceRef, digest: string, size: number): StoredArtifact {
    return {
      digest,
      size,
      path: relativePath(source, digest),
      url: pathToFileURL(this.#file(source, digest)).href,
    };
  }

  /** Whether the artifact is there and its content still has its digest. */
  async has(source: SourceRef, digest: string): Promise<boolean> {
    try {
      await this.read(source, digest);
      return true;
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
  }

  /**
   * The content of an artifact, checked.
   *
   * @throws StorageError `ArtifactMissing`, `ArtifactAltered`, `ArtifactTooLarge`, `InvalidPath`
   */
  async read(source: SourceRef, digest: string): Promise<Uint8Array> {
    const content = await readBounded(this.#file(source, digest));
    const actual = await digestOfLarge(content, parseDigest(digest).algorithm);
    if (actual === digest) return content;
    throw new StorageError('ArtifactAltered', 'the stored artifact does not have its digest any more', {
      facts: { digest, actual },
    });
  }

  /** Removes artifacts beyond the `records` last stored, and never one of `keep`; returns how many. */
  async collect(source: SourceRef, keep: readonly string[], records: number): Promise<number> {
    const folder = join(this.#root, folderOf(source));
    const kept = new Set(keep.map((digest) => fileName(digest)));
    const files = await Promise.all(
      (await readdir(folder)).map(async (name) => ({ name, time: (await stat(join(folder, name))).mtimeMs })),
    );
    const stale = files
      .sort((a, b) => b.time - a.time)
      .filter(({ name }) => !kept.has(name))
      .slice(Math.max(0, records - kept.size));
    await Promise.all(stale.map(async ({ name }) => rm(join(folder, name), { force: true })));
    return stale.length;
  }

  /** Forgets all artifacts of a source. */
  async remove(source: SourceRef): Promise<void> {
    await rm(join(this.#root, folderOf(source)), { recursive: true, force: true });
  }

  /** Makes the root folder, so that a wrong data folder is found at the start and not at the first artifact. */
  async prepare(): Promise<void> {
    await mkdir(this.#root, { recursive: true });
  }

  #file(source: SourceRef, digest: string): string {
    return join(this.#root, relativePath(source, digest));
  }
}

function relativePath(source: SourceRef, digest: string): string {
  return `${folderOf(source)}/${fileName(digest)}`;
}

function folderOf({ namespace, name }: SourceRef): string {
  if (!NAME.test(namespace) || !NAME.test(name) || `${namespace}${name}`.includes('..')) {
    throw new StorageError('InvalidPath', 'the name of the source cannot be a path', {
      facts: { namespace, name },
    });
  }
  return `ocirepository/${namespace}/${name}`;
}

function fileName(digest: string): string {
  return `${parseDigest(digest).hex}.tar.gz`;
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > MAX_BYTES) {
        throw new StorageError('ArtifactTooLarge', 'the stored artifact is too large', { facts: { size } });
      }
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new StorageError('ArtifactMissing', 'the artifact is not in the storage', { cause: error });
  }
}
