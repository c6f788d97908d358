import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { addressOption, pairsOption, portOption } from '../options.ts';
import { LOG_LEVELS } from './run.ts';

/** Options of `mural spoke bootstrap`. */
export interface BootstrapOptions {
  readonly create?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly registry?: string;
  readonly registryCa?: string;
  readonly creds?: string;
  readonly kubeconfig?: string;
}

/** Options of `mural spoke run`. */
export interface RunOptions {
  readonly data: string;
  readonly bootstrap: string;
  readonly kubeconfig?: string;
  readonly listen: string;
  readonly apiPort: number;
  readonly readyFile?: string;
  readonly logLevel: string;
}

/** `mural spoke bootstrap` and `mural spoke run`. */
export function addSpoke(program: Command, context: Context): void {
  const spoke = program.command('spoke').description('members of the fleet');
  spoke
    .command('bootstrap')
    .description('print the manifests that make a cluster a spoke; they hold its credentials')
    .argument('<name>', 'name of the spoke')
    .option('--create', 'create the Spoke object if there is none')
    .option('--labels <key=value,…>', 'labels of the Spoke, with --create', pairsOption)
    .option('--registry <oci-url>', "repository that it reads in place of the hub's: the mirror of its site")
    .option('--registry-ca <file>', 'CA (PEM) of that registry')
    .option('--creds <user:password>', 'its account there; printed, and not kept by the hub')
    .option('--kubeconfig <file>', 'kubeconfig of the hub; $KUBECONFIG or .mural/kubeconfig unless given')
    .action(async (name: string, options: BootstrapOptions) => {
      const { bootstrapSpoke } = await import('./spoke-actions.ts');
      await bootstrapSpoke(name, options, context);
    });
  spoke
    .command('run')
    .description('run a spoke: its controllers and, unless it is given one, its own embedded API')
    .requiredOption('--data <dir>', 'folder of all state')
    .requiredOption('--bootstrap <file>', 'what "mural spoke bootstrap" printed')
    .option('--kubeconfig <file>', 'cluster to work in, in place of an embedded API')
    .option('--listen <address>', 'address of the embedded API', addressOption, '127.0.0.1')
    .option('--api-port <port>', 'port of the embedded API; 0 for any', portOption, 0)
    .option('--ready-file <file>', 'written as JSON when everything serves, removed at stop')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: RunOptions) => {
      const { runSpoke } = await import('./spoke-actions.ts');
      await runSpoke(options, context);
    });
}
