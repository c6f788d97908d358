import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Where things lie in a data folder. */
export interface Layout {
  readonly root: string;
  readonly lock: string;
  /** CA and server certificate with their keys. */
  readonly tls: string;
  /** Generated tokens, passwords and keys. */
  readonly secrets: string;
  /** State of the embedded API. */
  readonly api: string;
  /** State of the embedded registry. */
  readonly registry: string;
  /** Names the file of the registry's settings that the last start had. */
  readonly registryConfig: string;
  /** What the source controller stored last. */
  readonly spoke: string;
  readonly logs: string;
  readonly kubeconfig: string;
  readonly dockerConfig: string;
  readonly ca: string;
}

/** The layout below `root`. */
export function layoutOf(root: string): Layout {
  return {
    root,
    lock: join(root, 'lock.db'),
    tls: join(root, 'tls'),
    secrets: join(root, 'secrets'),
    api: join(root, 'api'),
    registry: join(root, 'registry'),
    registryConfig: join(root, 'registry-config.json'),
    spoke: join(root, 'spoke'),
    logs: join(root, 'logs'),
    kubeconfig: join(root, 'kubeconfig'),
    dockerConfig: join(root, 'docker', 'config.json'),
    ca: join(root, 'ca.crt'),
  };
}

/** Makes the folders, closed to everybody else. */
export async function createFolders(layout: Layout, names: readonly (keyof Layout)[]): Promise<void> {
  for (const folder of [layout.root, ...names.map((name) => layout[name])]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await chmod(layout.root, 0o700);
}
