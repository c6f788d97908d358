import { access, mkdir, open, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { syncDirectory } from '@mural/core';

/** What the store does with the file system, so that a test can let it fail. */
export interface Disk {
  readonly access: typeof access;
  readonly mkdir: typeof mkdir;
  readonly open: typeof open;
  readonly readdir: typeof readdir;
  readonly rename: typeof rename;
  readonly rm: typeof rm;
  readonly stat: typeof stat;
  readonly statfs: typeof statfs;
  readonly writeFile: typeof writeFile;
  readonly syncDirectory: typeof syncDirectory;
}

/** The file system of the machine. */
export const machineDisk: Disk = {
  ...{ access, mkdir, open, readdir, rename, rm, stat, statfs, writeFile },
  syncDirectory,
};
