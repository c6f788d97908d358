import { type Command, Option } from 'commander';
import { type Context, readUserFile } from '../context.ts';

/** `mural values lint`. */
export function addValues(program: Command, context: Context): void {
  program
    .command('values')
    .description('the values.yaml of the chart')
    .command('lint')
    .description('check a values.yaml; exits with 1 when there is an error')
    .argument('<file>')
    .addOption(
      new Option('--format <format>', 'how findings are printed').choices(['text', 'json']).default('text'),
    )
    .action(async (file: string, options: { readonly format: 'text' | 'json' }) => {
      const { formatFinding, hasErrors, lintValues } = await import('@mural/values');
      const findings = lintValues(await readUserFile(context, file), file);
      if (options.format === 'json') context.out(`${JSON.stringify(findings, null, 2)}\n`);
      else for (const finding of findings) context.out(`${formatFinding(finding)}\n`);
      if (hasErrors(findings)) context.exitWith(1);
    });
}
