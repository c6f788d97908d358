import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { addressOption, portOption } from '../options.ts';
import { LOG_LEVELS } from './run.ts';

/** Options of `mural up`. */
export interface UpOptions {
  readonly data: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly apiPort: number;
  readonly registryPort: number;
  readonly consolePort: number;
  readonly values?: string;
  readonly registryCa?: string;
  /** False for none. */
  readonly registryConfig?: string | false;
  readonly readyFile?: string;
  readonly helm?: string;
  readonly kustomize?: string;
  readonly logLevel: string;
}

/** `mural up`: the whole hub in one process. */
export function addUp(program: Command, context: Context): void {
  program
    .command('up')
    .description('run the whole hub in one process: API, registry, controllers and console')
    .option('--data <dir>', 'folder of all state', '.mural')
    .option('--listen <address>', 'address to listen on', addressOption, '127.0.0.1')
    .option('--advertise <host>', 'name or address that clients and spokes are told, if it is another')
    .option('--api-port <port>', 'port of the Kubernetes API; 0 for any', portOption, 7443)
    .option('--registry-port <port>', 'port of the OCI registry; 0 for any', portOption, 5000)
    .option('--console-port <port>', 'port of the web console; 0 for any', portOption, 8080)
    .option('--values <file>', 'values.yaml of the chart')
    .option('--registry-ca <file>', 'CA (PEM) of a registry other than the embedded one')
    .option(
      '--registry-config <file>',
      'settings of the embedded registry, as "mural registry serve --config" takes them; stays in force',
    )
    .option('--no-registry-config', 'no settings of the embedded registry any more')
    .option('--ready-file <file>', 'written as JSON when everything serves, removed at stop')
    .option('--helm <path>', 'the helm binary; found on PATH unless given')
    .option('--kustomize <path>', 'the kustomize binary; found on PATH unless given')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: UpOptions) => {
      const { runUp } = await import('./up-action.ts');
      await runUp(options, context);
    });
}
