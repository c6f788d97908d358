import { type Clock, jsonEqual, type Logger } from '@mural/core';
import type { MaintenanceRules } from '@mural/registry';
import type { RegistryConfig } from '../registry-config/read.ts';
import type { KeyPair } from './certificates.ts';
import { watchFiles } from './watch-files.ts';

/** A configuration with everything that it names. */
export interface LoadedConfig {
  readonly config: RegistryConfig;
  /** The certificate from files, where it comes from there. */
  readonly pair?: KeyPair | undefined;
  /** Everything that was read. */
  readonly files: readonly string[];
}

/** A configuration that is followed while the registry serves. */
export interface FollowOptions {
  /** What is in use. */
  readonly loaded: LoadedConfig;
  /** Reads all of it again. @param tell takes each finding */
  readonly reload: (tell: (line: string) => void) => Promise<LoadedConfig>;
  /** Puts to use what can be changed while the registry serves. When it throws, what was in use stays. */
  readonly use: (next: LoadedConfig) => Promise<void> | void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Puts changed files to use while the registry serves, and says in the log what holds from the next
 * start only.
 *
 * @returns how it is stopped
 */
export async function followConfig(options: FollowOptions): Promise<() => void> {
  const { reload, use, clock, log } = options;
  let current = options.loaded;
  const changed = async (): Promise<void> => {
    const next = await reload((finding) =>
      log.error({ finding: finding.trim() }, 'a changed file is not valid'),
    );
    await use(next);
    const sections = changedSections(current.config, next.config);
    if (sections.length > 0) {
      log.warn({ sections }, 'what changed in these sections of the configuration holds from the next start');
    }
    current = next;
  };
  return await watchFiles({ files: () => current.files, changed, clock, log });
}

/** What a registry can be told of its maintenance while it serves. */
export function rulesOf({ maintenance: { graceMs, retention, quotas } }: RegistryConfig): MaintenanceRules {
  return {
    ...(graceMs === undefined ? {} : { graceMs }),
    ...(retention === undefined ? {} : { retention }),
    ...(quotas === undefined ? {} : { quotas }),
  };
}

/** Where two configurations differ in what cannot be changed while a registry serves. */
function changedSections(before: RegistryConfig, next: RegistryConfig): string[] {
  const [old, now] = [fixedOf(before), fixedOf(next)];
  return Object.keys(now).filter((section) => !jsonEqual(old[section], now[section]));
}

/** What cannot be changed while a registry serves, by section. */
function fixedOf(config: RegistryConfig): Readonly<Record<string, unknown>> {
  const { access, metrics, events, namesUsers } = config;
  const { graceMs: _grace, retention: _retention, quotas: _quotas, ...maintenance } = config.maintenance;
  const { ca: _ca, ...clients } = access.clientCertificates ?? {};
  return {
    users: namesUsers,
    anonymous: access.anonymous,
    token: access.token,
    oidc: access.oidc,
    tls: clients,
    ...{ maintenance, metrics, events },
    // Mirrors read the files of their credentials themselves.
    mirrors: config.mirrors.map(({ credentials: _credentials, ...mirror }) => mirror),
  };
}
