import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RegistryOptions, startRegistry } from '@mural/registry';

/** A registry of ours in a folder of its own. Everybody may do everything unless `options` say otherwise. */
export async function startOurs(options: Partial<RegistryOptions> = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'mural-conformance-'));
  const registry = await startRegistry({ port: 0, dataDir, anonymous: 'push', ...options });
  return {
    url: registry.url,
    stop: async (): Promise<void> => {
      await registry.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
