import { type Command, InvalidArgumentError } from 'commander';
import type { Context } from '../context.ts';
import { durationOption } from '../options.ts';
import { addRegistryTarget, formatOption, type RegistryTarget } from './registry-target.ts';

/** Options of the commands that look after what a registry stores. */
export interface MaintenanceCommandOptions extends RegistryTarget {
  readonly output: 'text' | 'json';
}

/** Options of `mural registry gc`. */
export interface CollectCommandOptions extends MaintenanceCommandOptions {
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly repository?: string;
  /** In milliseconds. */
  readonly grace?: number;
}

/** Options of `mural registry scrub`. */
export interface ScrubCommandOptions extends MaintenanceCommandOptions {
  /** Bytes per second. */
  readonly rate?: number;
  readonly restart?: boolean;
}

/** Options of `mural registry backup`. */
export interface BackupCommandOptions extends MaintenanceCommandOptions {
  readonly to: string;
}

/** Options of `mural registry restore`. */
export interface RestoreCommandOptions {
  readonly data: string;
  readonly from: string;
  readonly output: 'text' | 'json';
}

/** `mural registry stats|gc|scrub|verify|backup|restore`. */
export function addRegistryMaintenance(registry: Command, context: Context): void {
  const verb = (name: string, description: string): Command =>
    addRegistryTarget(registry.command(name).description(description)).addOption(formatOption());
  verb('stats', 'count what is stored').action(async (options: MaintenanceCommandOptions) => {
    const { statsCommand } = await actions();
    await statsCommand(options, context);
  });
  verb('gc', 'remove what nothing needs any more, and tags that no rule keeps')
    .option('--dry-run', 'remove nothing; list what would go, when, and why')
    .option('--repository <name>', 'this one alone')
    .option('--config <file>', 'with --data: the configuration with the retention rules')
    .option(
      '--grace <duration>',
      'with --data: how long what is not needed stays, such as 1h',
      durationOption,
    )
    .action(async (options: CollectCommandOptions) => {
      const { collectCommand } = await actions();
      await collectCommand(options, context);
    });
  verb('scrub', 'hash everything and take what is damaged out of service')
    .option('--rate <bytes>', 'read no faster than this in a second, such as 50Mi', rateOption)
    .option('--restart', 'begin anew where an earlier one was interrupted')
    .action(async (options: ScrubCommandOptions) => {
      const { scrubCommand } = await actions();
      await scrubCommand(options, context);
    });
  verb('verify', 'compare metadata and files, and change nothing').action(
    async (options: MaintenanceCommandOptions) => {
      const { verifyCommand } = await actions();
      await verifyCommand(options, context);
    },
  );
  verb('backup', 'write a backup to a folder, or bring the one that is there up to date')
    .requiredOption('--to <dir>', 'folder of the backup')
    .action(async (options: BackupCommandOptions) => {
      const { backupCommand } = await actions();
      await backupCommand(options, context);
    });
  registry
    .command('restore')
    .description('make the data of a registry from a backup, each blob verified')
    .requiredOption('--from <dir>', 'folder of the backup')
    .option('--data <dir>', 'folder to restore to, which has no registry yet', '.mural-registry')
    .addOption(formatOption())
    .action(async (options: RestoreCommandOptions) => {
      const { restoreCommand } = await actions();
      await restoreCommand(options, context);
    });
}

/** Loaded when they are needed. */
async function actions() {
  return import('./registry-maintenance-actions.ts');
}

const UNITS: Readonly<Record<string, number>> = { '': 1, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 };

function rateOption(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,12})(|Ki|Mi|Gi)$/.exec(text) ?? [];
  const rate = Number(number) * (UNITS[unit] ?? 0);
  if (rate < 1) throw new InvalidArgumentError('It must be a number of bytes, such as 50Mi.');
  return rate;
}
