import { rm } from 'node:fs/promises';
import { isRecord } from '@mural/core';
import { checkMirrors } from '@mural/registry';
import { CliError } from '../errors.ts';
import type { RegistryConfig } from '../registry-config/read.ts';
import type { LoadedConfig } from './follow-config.ts';
import type { Layout } from './layout.ts';
import { readIfPresent, writePrivate } from './secrets.ts';

/** The settings of a hub's registry, and the file that they are in. */
export interface RegistrySettings {
  /** Absolute. */
  readonly file: string;
  readonly loaded: LoadedConfig;
  /** Reads all of it again. @param tell takes each finding */
  readonly reload: (tell: (line: string) => void) => Promise<LoadedConfig>;
}

/** The file of the settings that the last start had; undefined when it had none. */
export async function rememberedSettings(layout: Layout): Promise<string | undefined> {
  const text = await readIfPresent(layout.registryConfig);
  if (text === undefined) return undefined;
  const stored = parsed(text);
  if (isRecord(stored) && typeof stored['file'] === 'string') return stored['file'];
  throw new CliError(
    'FileInvalid',
    `${layout.registryConfig} does not name the file of the registry's settings`,
    {
      hint: 'name it with --registry-config FILE, or give --no-registry-config to do without',
    },
  );
}

/** Keeps the name of the file for the next start. */
export async function rememberSettings(layout: Layout, file: string | undefined): Promise<void> {
  if (file === undefined) await rm(layout.registryConfig, { force: true });
  else await writePrivate(layout.registryConfig, `${JSON.stringify({ file })}\n`);
}

/**
 * Refuses settings that would make a mirror of a repository which the hub writes: a mirror takes no pushes.
 *
 * @throws CliError `FileInvalid`: where it stands, and what would be right
 */
export function requireWritable(config: RegistryConfig | undefined, repositories: readonly string[]): void {
  const mirrors = config?.mirrors ?? [];
  const compiled = checkMirrors(mirrors);
  for (const repository of repositories) {
    const index = compiled.findIndex(({ upstreamName }) => upstreamName(repository) !== undefined);
    if (index < 0) continue;
    const key = mirrors[index]?.prefix === undefined ? 'repositories' : 'prefix';
    const wrong = `covers ${repository}, which the hub writes, and a mirror takes no pushes; choose names that leave it out`;
    const found = config?.errorAt?.(['mirrors', index, key], wrong);
    throw new CliError(
      'FileInvalid',
      found === undefined
        ? `mirrors[${index}].${key}: ${wrong}`
        : `${found.file}:${found.line}:${found.column}: ${found.message}`,
    );
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
