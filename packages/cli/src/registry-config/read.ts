import { resolve } from 'node:path';
import {
  type AccessOptions,
  type EventOptions,
  type MaintenanceOptions,
  type MetricsOptions,
  type MirrorOptions,
  parseHtpasswd,
  type RegistryPolicy,
} from '@mural/registry';
import type { Finding } from '@mural/values';
import type { Path } from './document.ts';

/** What a configuration file, and the files that it names, come to. */
export interface RegistryConfig {
  readonly access: AccessOptions;
  readonly maintenance: MaintenanceOptions;
  readonly metrics: MetricsOptions;
  readonly events: EventOptions;
  readonly mirrors: readonly MirrorOptions[];
  /** Whether anybody was named who may sign in with a password. */
  readonly namesUsers: boolean;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** Everything that was read, so that it can be watched. */
  readonly files: readonly string[];
  /** An error at what `path` leads to in the file; absent without a file. */
  readonly errorAt?: (path: Path, message: string) => Finding;
}

/** Where a configuration comes from. */
export interface ConfigSource {
  /** The configuration file. */
  readonly file?: string | undefined;
  /** An htpasswd file beside it, all of whose users may do everything unless the configuration says otherwise. */
  readonly htpasswd?: string | undefined;
  /** It is for the registry of a hub, which decides some of the keys itself and refuses them. */
  readonly ofHub?: boolean | undefined;
  readonly cwd: string;
  /** @throws CliError `FileUnreadable` */
  readonly read: (path: string) => Promise<string>;
  /** Takes each finding, a line at a time. */
  readonly tell: (line: string) => void;
}

/** What those may do who are named by an htpasswd file alone. */
export const EVERYTHING: readonly RegistryPolicy[] = [
  { repositories: '**', actions: ['read', 'create', 'update', 'delete'] },
];

/**
 * Reads a configuration and everything that it names, and checks all of it. What reads and checks
 * YAML is loaded only for a file: it takes more memory than the registry does.
 *
 * @throws CliError `FileInvalid` once every finding was told, `FileUnreadable`, `Usage`
 */
export async function readRegistryConfig(source: ConfigSource): Promise<RegistryConfig> {
  if (source.file === undefined) return await withoutFile(source);
  const { readConfigFile } = await import('./reader.ts');
  return await readConfigFile(source, source.file);
}

async function withoutFile(source: ConfigSource): Promise<RegistryConfig> {
  const rest = {
    certFile: undefined,
    keyFile: undefined,
    maintenance: {},
    metrics: {},
    events: {},
    mirrors: [],
  };
  if (source.htpasswd === undefined) return { ...rest, access: {}, namesUsers: false, files: [] };
  const path = resolve(source.cwd, source.htpasswd);
  const users = parseHtpasswd(await source.read(path), EVERYTHING);
  return { ...rest, access: { users }, namesUsers: true, files: [path] };
}
