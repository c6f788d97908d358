import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';

/** Options of `mural status`. */
export interface StatusOptions {
  readonly kubeconfig?: string;
  readonly output: 'table' | 'json';
  readonly watch?: boolean;
}

/** `mural status`. */
export function addStatus(program: Command, context: Context): void {
  program
    .command('status')
    .description('the fleet at a glance: what each spoke runs')
    .option('--kubeconfig <file>', 'kubeconfig of the hub; $KUBECONFIG or .mural/kubeconfig unless given')
    .addOption(
      new Option('-o, --output <format>', 'table or json').choices(['table', 'json']).default('table'),
    )
    .option('-w, --watch', 'print it again whenever it changes, until Ctrl-C')
    .action(async (options: StatusOptions) => {
      const { showStatus } = await import('./status-action.ts');
      await showStatus(options, context);
    });
}
