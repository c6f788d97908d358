import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type MaintenanceOptions,
  openRegistryData,
  type RegistryData,
  RegistrySetupError,
} from '@mural/registry';
import { type Command, Option } from 'commander';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { layoutOf } from '../home/layout.ts';
import { RegistryAdministration } from '../registry-administration.ts';
import { credentialFor } from '../registry-access.ts';

/** Which registry a command is about: one that runs, or the folder of one. */
export interface RegistryTarget {
  readonly data: string;
  /** The URL of a registry that runs; its folder is worked on when there is none. */
  readonly registry?: string;
  readonly creds?: string;
  readonly ca?: string;
}

/**
 * Adds the options of {@link RegistryTarget}.
 *
 * @param folder what `--data` may name
 * @param account whose credentials are needed
 */
export function addRegistryTarget(
  command: Command,
  folder = 'folder of a registry that does not run',
  account = 'an account with full rights',
): Command {
  return command
    .option('--data <dir>', folder, '.mural-registry')
    .option('--registry <url>', 'a registry that runs, such as https://127.0.0.1:5000, in place of --data')
    .option('--creds <user:password>', `of ${account}; those of docker's config.json unless given`)
    .option('--ca <file>', 'CA (PEM) to trust beside those of the system');
}

/** `-o text|json`. */
export function formatOption(): Option {
  return new Option('-o, --output <format>', 'text or json').choices(['text', 'json']).default('text');
}

/** What is done with a {@link RegistryTarget}. */
export interface RegistryWork<T> {
  readonly running: (registry: RegistryAdministration) => Promise<T>;
  readonly data: (data: RegistryData) => Promise<T>;
  readonly maintenance?: MaintenanceOptions;
}

/** Works on a registry that runs, or on the folder of one that does not. */
export async function withRegistry<T>(
  target: RegistryTarget,
  context: Context,
  work: RegistryWork<T>,
): Promise<T> {
  const { registry } = target;
  if (registry !== undefined) return await withRunning({ ...target, registry }, context, work.running);
  return await onData(target.data, context, work);
}

/** Works on a registry that runs. */
export async function withRunning<T>(
  target: RegistryTarget & { readonly registry: string },
  context: Context,
  work: (registry: RegistryAdministration) => Promise<T>,
): Promise<T> {
  const host = URL.canParse(target.registry) ? new URL(target.registry).host : '';
  const registry = new RegistryAdministration({
    url: target.registry,
    credential: await credentialFor(context, host, target.creds),
    ca: target.ca === undefined ? undefined : await readUserFile(context, target.ca),
    env: context.env,
    signal: context.signal,
  });
  try {
    return await work(registry);
  } finally {
    registry.close();
  }
}

async function onData<T>(folder: string, context: Context, work: RegistryWork<T>): Promise<T> {
  const dataDir = dataDirOf(pathOf(context, folder));
  let data: RegistryData;
  try {
    data = await openRegistryData({
      dataDir,
      ...(work.maintenance === undefined ? {} : { maintenance: work.maintenance }),
    });
  } catch (error) {
    throw folderError(error, folder);
  }
  try {
    return await work.data(data);
  } finally {
    await data.close();
  }
}

/** The folder of the registry: this one, or the one that a home has below it. */
export function dataDirOf(root: string): string {
  return existsSync(join(root, 'metadata.db')) ? root : layoutOf(root).registry;
}

function folderError(error: unknown, folder: string): unknown {
  if (!(error instanceof RegistrySetupError)) return error;
  if (error.code === 'DataDirectoryInUse') {
    return new CliError('DataDirInUse', `a registry runs on ${folder}`, {
      hint: 'name it with --registry https://host:port, or stop it first',
      cause: error,
    });
  }
  if (error.code === 'DataDirectoryMissing') {
    return new CliError('NotFound', `there is no registry in ${folder}`, {
      hint: 'name its folder with --data, or a registry that runs with --registry',
      cause: error,
    });
  }
  return error;
}
