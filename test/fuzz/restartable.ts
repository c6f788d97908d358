import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningRegistry, startRegistry } from '@mural/registry';

/** A registry that collects nothing and can be stopped and started on its folder. */
export async function startRestartable() {
  const dataDir = await mkdtemp(join(tmpdir(), 'mural-fuzz-'));
  const start = (): Promise<RunningRegistry> => startRegistry({ port: 0, dataDir, anonymous: 'push' });
  let registry = await start();
  return {
    url: (): string => registry.url,
    restart: async (): Promise<void> => {
      await registry.close();
      registry = await start();
    },
    stop: async (): Promise<void> => {
      await registry.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
