import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';

/** Options of `mural ecr preflight`. */
export interface PreflightCommandOptions {
  readonly values: string;
  readonly role: 'push' | 'pull' | 'push-and-pull';
  readonly format: 'text' | 'json';
  readonly registryCa?: string;
}

/** `mural ecr preflight`. */
export function addEcrPreflight(ecr: Command, context: Context): void {
  ecr
    .command('preflight')
    .description(
      'try everything that the values need of their registries, as the identity of this machine, and leave nothing behind; exits with 1 when something needed fails',
    )
    .requiredOption('--values <file>', 'values.yaml of the chart')
    .addOption(
      new Option(
        '--role <role>',
        'push tries what hue does, pull what source-controller does, push-and-pull both as one identity',
      )
        .choices(['push', 'pull', 'push-and-pull'])
        .default('push-and-pull'),
    )
    .addOption(
      new Option('--format <format>', 'how checks are printed').choices(['text', 'json']).default('text'),
    )
    .option('--registry-ca <file>', 'CA (PEM) of a registry of the provider generic')
    .action(async (options: PreflightCommandOptions) => {
      const { runPreflight } = await import('./ecr-preflight-action.ts');
      await runPreflight(options, context);
    });
}
