import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';

/** Options of `mural values lint`. */
export interface LintOptions {
  readonly fix?: boolean;
  readonly format: 'text' | 'json';
}

/** `mural values lint|schema`. */
export function addValues(program: Command, context: Context): void {
  const values = program.command('values').description('the values.yaml of the chart');
  values
    .command('lint')
    .description('check a values.yaml; exits with 1 when there is an error')
    .argument('<file>')
    .option('--fix', 'write what is certain into the file, and check what is left')
    .addOption(
      new Option('--format <format>', 'how findings are printed').choices(['text', 'json']).default('text'),
    )
    .action(async (file: string, options: LintOptions) => {
      const { lint } = await import('./values-actions.ts');
      await lint(file, options, context);
    });
  values
    .command('schema')
    .description('print the JSON Schema of a values.yaml, for editors')
    .action(async () => {
      const { valuesSchema } = await import('@mural/values');
      context.out(`${JSON.stringify(valuesSchema(), null, 2)}\n`);
    });
}
