import { OciError } from './errors.ts';

const MAX_PATH = 1024;

/**
 * Says why a path inside an archive is refused, or nothing when it is safe on every system.
 *
 * Stricter than Flux's untar, which refuses empty names, backslashes, a leading slash and `../`
 * anywhere (so a segment that ends in two dots too).
 */
export function unsafePath(path: string): string | undefined {
  if (path === '') return 'it is empty';
  if (path.length > MAX_PATH) return `it is longer than ${MAX_PATH} characters`;
  if (!path.isWellFormed()) return 'it is not Unicode text';
  if (path.startsWith('/')) return 'it is absolute';
  if (/^[A-Za-z]:/.test(path)) return 'it names a drive';
  if (path.includes('\\')) return 'it has a backslash';
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'it has a control character';
  for (const segment of path.split('/')) {
    if (segment === '') return 'it has an empty segment';
    if (segment === '.') return 'it has a segment "."';
    if (segment.endsWith('..')) return 'it has a segment that ends in ".."';
  }
  return undefined;
}

/** What two paths have in common that meet on a file system which ignores case or normalises Unicode. */
export function foldPath(path: string): string {
  return path.normalize('NFC').toLowerCase();
}

/**
 * Checks that paths can all be files of one tree, on any file system.
 *
 * @throws OciError `ArchiveInvalid` with the path
 */
export function checkPaths(paths: readonly string[]): void {
  const tree = new PathTree();
  for (const path of paths) tree.addFile(path);
}

/** Remembers what stands where, and refuses whatever would stand where something else does. */
export class PathTree {
  readonly #kinds = new Map<string, { readonly path: string; readonly kind: 'file' | 'directory' }>();

  /** @throws OciError `ArchiveInvalid` */
  addFile(path: string): void {
    this.#check(path);
    const before = this.#kinds.get(foldPath(path));
    if (before !== undefined) {
      refusePath(path, before.path === path ? 'it is there twice' : `it is too like ${before.path}`);
    }
    this.#addParents(path);
    this.#kinds.set(foldPath(path), { path, kind: 'file' });
  }

  /** A directory may be named more than once. @throws OciError `ArchiveInvalid` */
  addDirectory(path: string): void {
    this.#check(path);
    this.#addParents(path);
    this.#claimDirectory(path, path);
  }

  #check(path: string): void {
    const why = unsafePath(path);
    if (why !== undefined) refusePath(path, why);
  }

  #addParents(path: string): void {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      if (this.#claimDirectory(path.slice(0, at), path)) return;
    }
  }

  /** @returns whether the directory was known already, and so its parents */
  #claimDirectory(directory: string, path: string): boolean {
    const key = foldPath(directory);
    const before = this.#kinds.get(key);
    if (before === undefined) {
      this.#kinds.set(key, { path: directory, kind: 'directory' });
      return false;
    }
    if (before.kind === 'file') refusePath(path, `${before.path} is a file`);
    if (before.path !== directory) refusePath(path, `${directory} is too like ${before.path}`);
    return true;
  }
}

/** @throws OciError `ArchiveInvalid` that names the path, shortened and with what is unprintable escaped */
export function refusePath(path: string, why: string): never {
  const shown = JSON.stringify(path.slice(0, 200));
  throw new OciError('ArchiveInvalid', `the archive's entry ${shown} is refused: ${why}`, {
    facts: { path: path.slice(0, MAX_PATH) },
  });
}
