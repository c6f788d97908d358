import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { durationOption } from '../options.ts';
import { addRegistryTarget, formatOption, type RegistryTarget } from './registry-target.ts';

/** Options of `mural registry lease …`. */
export interface LeaseOptions extends RegistryTarget {
  /** The account that asks unless given. */
  readonly holder?: string;
  readonly output: 'text' | 'json';
}

/** Options of `mural registry lease add`. */
export interface LeaseAddOptions extends LeaseOptions {
  /** In milliseconds. */
  readonly for: number;
}

/** Options of `mural registry lease list`. */
export interface LeaseListOptions extends LeaseOptions {
  readonly repository?: string;
}

const DAY_MS = 24 * 3_600_000;

/** `mural registry lease add|list|remove`. */
export function addRegistryLeases(registry: Command, context: Context): void {
  const lease = registry
    .command('lease')
    .description('content that collections and retention leave alone for a time');
  const verb = (name: string, description: string): Command =>
    addRegistryTarget(
      lease.command(name).description(description),
      undefined,
      'an account that may read the repository',
    ).addOption(formatOption());
  verb('add', 'hold content, for as long as is told from now')
    .argument('<repository@digest>', 'such as team/app@sha256:…: a manifest, with what it names, or a blob')
    .option('--for <duration>', 'at most 24h, or 8784h for an administrator', durationOption, DAY_MS)
    .option('--holder <name>', 'for administrators: in this name, in place of the own one')
    .action(async (content: string, options: LeaseAddOptions) => {
      const { addLease } = await actions();
      await addLease(content, options, context);
    });
  verb('list', 'list what one holds; for administrators, what everybody holds')
    .option('--repository <name>', 'in this one alone')
    .option('--holder <name>', 'for administrators: of this one alone')
    .action(async (options: LeaseListOptions) => {
      const { listLeases } = await actions();
      await listLeases(options, context);
    });
  verb('remove', 'hold content no longer')
    .argument('<repository[@digest]>', 'all that is held in the repository unless a digest is given')
    .option('--holder <name>', 'for administrators: what this one holds')
    .action(async (content: string, options: LeaseOptions) => {
      const { removeLease } = await actions();
      await removeLease(content, options, context);
    });
}

async function actions() {
  return import('./registry-lease-actions.ts');
}
