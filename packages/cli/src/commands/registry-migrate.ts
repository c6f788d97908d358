import type { WaveSize } from '@mural/hub';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Context } from '../context.ts';
import { durationOption } from '../options.ts';

/** Options of `mural registry migrate`. */
export interface MigrateOptions {
  readonly values: string;
  readonly to: string;
  readonly dryRun?: boolean;
  readonly rollback?: boolean;
  readonly waveSize: WaveSize;
  /** Milliseconds. */
  readonly timeout: number;
  readonly assumeSwitched?: readonly string[];
  readonly yes?: boolean;
  readonly printSecrets?: string;
  readonly kubeconfig?: string;
  readonly registryCa?: string;
  readonly embeddedRegistry?: string;
  readonly format: 'text' | 'json';
}

const WAYS = `
What happens, each step of which can be killed and is gone on with when the command is run again:
  1. both files, both registries and the spokes' credentials are checked
  2. what the fleet uses is copied to the new registry, and each digest is read back there
  3. the hub takes the values of --to; spokes still read the old registry
  4. spokes move: one, then wave by wave, each until it reports the same digests from the new registry
  5. only then does the command say that the old registry can go

Examples:
  mural registry migrate --values values.yaml --to values-ecr.yaml --dry-run
  mural registry migrate --values values.yaml --to values-ecr.yaml
  mural registry migrate --values values.yaml --to values-ecr.yaml --rollback
  mural registry migrate --values values.yaml --to values-new.yaml --print-secrets edge-1 | kubectl --context edge-1 apply -f -
`;

/** `mural registry migrate`. */
export function addRegistryMigrate(registry: Command, context: Context): void {
  registry
    .command('migrate')
    .description('move the fleet to another registry; no spoke is ever without a readable artifact')
    .requiredOption('--values <old>', 'values.yaml with the registry that is in force')
    .requiredOption('--to <new>', 'values.yaml with the registry to move to')
    .option('--dry-run', 'print what would be done, and change nothing')
    .option('--rollback', 'go back to the registry of --values, from wherever the migration is')
    .addOption(
      new Option('--wave-size <n|percent>', 'spokes of a wave after the first')
        .argParser(waveSizeOption)
        .default({ percent: 10 }, '10%'),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long the hub, and then each wave, may take')
        .argParser(durationOption)
        .default(600_000, '10m'),
    )
    .option('--assume-switched <name>', 'a spoke that counts as moved unseen; can be repeated', collect)
    .option('--yes', 'the clusters of the spokes have their credentials for the new registry')
    .option(
      '--print-secrets <spoke>',
      "print a spoke's Secrets for both registries, for kubectl apply; they are secret",
    )
    .option('--kubeconfig <file>', 'kubeconfig of the hub; $KUBECONFIG or .mural/kubeconfig unless given')
    .option('--registry-ca <file>', 'CA (PEM) of either registry, beside those of the system and the hub')
    .option('--embedded-registry <host:port>', 'the embedded registry, where it cannot be found out')
    .addOption(
      new Option('--format <format>', 'how progress is printed: text, or a line of JSON for each step')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText('after', WAYS)
    .action(async (options: MigrateOptions) => {
      const { migrateRegistry } = await import('./registry-migrate-action.ts');
      await migrateRegistry(options, context);
    });
}

/** `5`, or `10%`. */
export function waveSizeOption(text: string): WaveSize {
  const [, digits = '', percent] = /^(\d{1,6})(%?)$/.exec(text) ?? [];
  const number = Number(digits);
  if (digits === '' || number < 1 || (percent === '%' && number > 100)) {
    throw new InvalidArgumentError('It must be a number of spokes, such as 5, or a percentage, such as 10%.');
  }
  return percent === '%' ? { percent: number } : { spokes: number };
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
